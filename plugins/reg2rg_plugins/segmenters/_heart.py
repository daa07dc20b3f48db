"""Heart and mediastinum by anatomy: the soft tissue between the lungs, above the diaphragm's domes, before the spine."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from ._bone import Spine
from ._grid import Grid, Mask, Spacing, largest, open_
from ._hull import hull_slices

DOME_SHARE = 0.12  # the part of a lung's footprint that must have a gentle floor: fissures and vessels have less
SAG_MM = 10.0  # the heart's floor hangs so far below the line between the domes' tops
HALF_MM = 65.0  # the mediastinum's half width
BESIDE_MM = 20.0  # the descending aorta may lie so far behind the spine's front, beside it
TOP_MM = 26.0  # the heart ends so far below the carina
HEART_MM = 105.0  # where no carina is seen: the heart's height above its floor
BEHIND_MM = 14.0  # oesophagus and aorta lie in this gap between spine and heart


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """What the rules know of a chest, on the coarse grid: `hull` is the lungs' convex hull, slice by slice."""

    grid: Grid
    body: Mask
    right: Mask
    left: Mask
    airway: Mask
    bone: Mask
    hull: Mask
    spine: Spine | None

    @property
    def lungs(self) -> Mask:
        """Both lungs."""
        return self.right | self.left


def between_lungs(right: Mask, left: Mask, grid: Grid) -> Mask:
    """What lies between the lungs' inner faces in its row, or between one lung and the edge of a half chest."""
    x = np.arange(right.shape[0])[:, None, None]
    right_seen, left_seen = right.any(axis=0), left.any(axis=0)
    inner = np.where(right_seen, right.argmax(axis=0), 0 if right.any() else right.shape[0])  # x grows to the right
    outer = np.where(left_seen, right.shape[0] - 1 - left[::-1].argmax(axis=0), right.shape[0] if left.any() else -1)
    size = (grid.blocks(24, 1), grid.blocks(24, 2))
    return (x < ndimage.median_filter(inner, size, mode="nearest")) & (x > ndimage.median_filter(outer, size, mode="nearest"))


def chest_hull(right: Mask, left: Mask, spacing: Spacing) -> Mask:
    """The convex hull of the lungs in each axial slice; in a half chest it reaches the edge of the volume."""
    lungs = right | left
    for present, missing, edge in ((right, left, 0), (left, right, -1)):
        if present.any() and not missing.any():
            lungs[edge] |= present.any(axis=0)
    return hull_slices(lungs, spacing)


def dome_tops(chest: Chest) -> dict[str, tuple[float, float]]:
    """(x, z) of the diaphragm's tops in coarse voxels by side; a side whose base isn't in view is left out.

    They are read where a lung's floor is gently sloped, at the outer half of each lung: on the right in front (behind lie
    effusions and collapsed lung), on the left behind (in front lies the heart).
    """
    out = {}
    for side, lung in (("right", chest.right), ("left", chest.left)):
        if not lung.any():
            continue
        x, y = _middle(lung, 0), _middle(lung, 1)
        floor = _gentle_floor(lung, chest.grid.spacing)
        part = np.s_[int(x) :, int(y) :] if side == "right" else np.s_[: int(x) + 1, : int(y)]
        heights = floor[part][floor[part] > 0]
        if heights.size >= max(20.0, DOME_SHARE * np.asarray(lung.any(axis=2))[part].sum()):
            out[side] = (x, float(np.percentile(heights, 88)))
    return out


def _gentle_floor(lung: Mask, spacing: Spacing) -> np.ndarray:
    """z of the lowest lung voxel of each column (x, y) where this floor is less steep than 40°, else nan."""
    floor = np.where(lung.any(axis=2), lung.argmax(axis=2).astype(np.float32), np.nan)
    slope = np.hypot(*np.gradient(floor * spacing[2], *spacing[:2]))
    return np.where(slope < 0.8, floor, np.nan)


def _middle(mask: Mask, axis: int) -> float:
    """The centre of a mask along an axis."""
    weight = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return float((weight * np.arange(weight.size)).sum() / weight.sum())


def heart_floor(chest: Chest) -> np.ndarray | None:
    """z of the heart's floor for each x (coarse voxels): a line through the domes' tops, or None where none is in view."""
    tops = dome_tops(chest)
    if not tops:
        return None
    x = np.arange(chest.grid.hu.shape[0])
    sag = SAG_MM / chest.grid.spacing[2]
    if len(tops) == 1:
        return np.full(x.size, next(iter(tops.values()))[1] - sag)
    (xr, zr), (xl, zl) = tops["right"], tops["left"]
    return np.interp(x, [xl, xr], [zl, zr]) - sag


def find_heart(chest: Chest, floor: np.ndarray | None, carina: float | None) -> Mask:
    """The bulk of soft tissue between floor and carina, before the spine; empty where it isn't in view.

    `carina` is its z in coarse voxels, None where no airway was found.
    """
    grid = chest.grid
    z = np.arange(grid.hu.shape[2])
    space = chest.hull & chest.body & ~chest.lungs & ~chest.airway & ~chest.bone & (grid.hu > -60)
    if floor is not None:
        space &= z >= floor[:, None, None]
    space &= z <= _heart_top(chest, floor, carina)
    if chest.spine is not None:
        y = np.arange(grid.hu.shape[1])[None, :, None]
        space &= y >= chest.spine.front + BEHIND_MM / grid.spacing[1]
    heart = largest(open_(space, 14.0, grid.spacing))
    return heart if heart.sum() * grid.ml > 60.0 else np.zeros_like(heart)


def _heart_top(chest: Chest, floor: np.ndarray | None, carina: float | None) -> float:
    """The last slice of the heart."""
    if carina is not None:
        return carina - TOP_MM / chest.grid.spacing[2]
    if floor is not None:
        return float(np.median(floor)) + HEART_MM / chest.grid.spacing[2]
    return float(chest.grid.hu.shape[2])


def find_mediastinum(chest: Chest, floor: np.ndarray | None, heart: Mask) -> Mask:
    """Vessels, nodes, oesophagus and fat between the lungs, before the spine and above the diaphragm, without the heart."""
    grid = chest.grid
    space = between_lungs(chest.right, chest.left, grid) & chest.hull & chest.body
    space &= ~(chest.lungs | chest.airway | chest.bone | heart)
    if floor is not None:
        space &= np.arange(grid.hu.shape[2]) >= floor[:, None, None] + SAG_MM / grid.spacing[2]
    if chest.spine is not None:
        x, y = np.ogrid[: grid.hu.shape[0], : grid.hu.shape[1]]
        behind = (chest.spine.front - y[..., None]) * grid.spacing[1]
        left = (chest.spine.x - x[..., None]) * grid.spacing[0] > 15.0  # where the aorta descends
        space &= (behind <= 0) | (left & (behind <= BESIDE_MM))
        space &= np.abs(x[..., None] - chest.spine.x) * grid.spacing[0] <= HALF_MM
    return largest(open_(space, 3.5, grid.spacing))
