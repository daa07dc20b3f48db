"""A chest drawn with boxes: plausible in every number that quality control looks at, each of them known."""

from __future__ import annotations

import numpy as np

from reg2rg.contracts import RegionMask, Volume

SHAPE, SPACING = (80, 60, 80), (4.0, 4.0, 5.0)
VOXEL_ML = 0.08
Masks = dict[str, np.ndarray]

# region → boxes (x, y, z) from the left, the back and the foot; what comes later takes its voxels from the lung
BOXES = {
    "abdomen": [((8, 72), (8, 50), (0, 22))],
    "bone": [((37, 43), (6, 14), (0, 80)), ((38, 42), (52, 54), (30, 64))],
    "breast": [((14, 28), (50, 54), (36, 50)), ((52, 66), (50, 54), (36, 50))],
    "esophagus": [((38, 41), (15, 18), (20, 70))],
    "lung": [((12, 34), (12, 46), (24, 70)), ((46, 70), (12, 46), (24, 70))],
    "heart": [((28, 44), (28, 46), (26, 46))],
    "mediastinum": [((35, 45), (18, 44), (46, 70))],
    "thyroid": [((35, 38), (26, 29), (72, 76)), ((42, 45), (26, 29), (72, 76))],
    "trachea and bronchie": [((38, 42), (20, 24), (44, 78))],
}
HU = {"abdomen": 0, "bone": 300, "breast": -90, "esophagus": 10, "lung": -850, "heart": 45, "mediastinum": 20, "thyroid": 90}
LIVER, STOMACH = ((44, 70), (14, 46), (6, 20)), ((14, 26), (34, 46), (8, 18))
LUNG_VOXELS = (22 * 34 * 46 - 6 * 18 * 20, 24 * 34 * 46)  # left without the heart, right


def put(array: np.ndarray, box: tuple[tuple[int, int], ...], value: float | bool) -> None:
    """Fills a box."""
    array[tuple(slice(*ends) for ends in box)] = value


def chest() -> tuple[np.ndarray, Masks]:
    """HU int16 (X, Y, Z) and the ten masks."""
    hu, masks = np.full(SHAPE, -1000, np.int16), {}
    put(hu, ((6, 74), (4, 55), (0, 80)), -100)
    for region, boxes in BOXES.items():
        masks[region] = np.zeros(SHAPE, bool)
        for box in boxes:
            put(masks[region], box, True)
            put(hu, box, HU.get(region, -1000))
    put(hu, LIVER, 60)
    put(hu, STOMACH, -900)
    masks["lung"] &= ~masks["heart"]
    masks["pleura"] = shell(masks["lung"])
    return hu, dict(sorted(masks.items()))


def shell(mask: np.ndarray) -> np.ndarray:
    """The voxels just outside a mask."""
    around = mask.copy()
    for axis in range(3):
        around |= np.roll(mask, 1, axis) | np.roll(mask, -1, axis)
    return around & ~mask


def study(hu: np.ndarray, masks: Masks, spacing: tuple[float, float, float] = SPACING) -> tuple[Volume, RegionMask]:
    """The contracts of drawn arrays."""
    return Volume(hu, np.diag([*spacing, 1.0])), RegionMask.from_masks(masks)
