"""Rules of `threshold` on made-up chests that are each hard in one way: touching lungs, old bones, contrast, coarse voxels …"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reg2rg_plugins.segmenters.threshold import Threshold
from samples_chest import Chest, chest, crop, dice, recall
from scipy import ndimage

from reg2rg.contracts import RegionMask, Volume


def segmented(made: Chest) -> RegionMask:
    return Threshold().segment(made.volume)


def changed(made: Chest, parts: dict[str, float], where: np.ndarray | None = None) -> Chest:
    """The chest with solids painted anew, noise included; `where` is one more place, painted as lung."""
    hu = made.volume.hu.copy()
    noise = np.random.default_rng(1).normal(0, 10, hu.shape)
    for name, value in parts.items():
        hu[made.solids[name]] = (value + noise)[made.solids[name]]
    if where is not None:
        hu[where] = (-840 + noise)[where]
    return Chest(dataclasses.replace(made.volume, hu=hu), made.solids)


def big_parts(mask: np.ndarray) -> list[float]:
    """The middles (x) of the connected parts that hold more than a tenth of the mask."""
    labels, n = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    return [ndimage.center_of_mass(labels == i + 1)[0] for i in range(n) if sizes[i] > 0.1 * mask.sum()]


@pytest.mark.parametrize("voxel", [(3.0, 3.0, 3.0), (1.5, 1.5, 4.0), (4.2, 4.2, 6.0)], ids=["3 mm", "1.5 mm", "4.2 mm"])
def test_lungs_that_touch_before_the_heart_come_apart(voxel: tuple[float, float, float]) -> None:
    made = chest(voxel)
    x, y, z = (round(n / v) for n, v in zip((180, 208, 190), voxel, strict=True))
    bridge = np.zeros(made.volume.shape, dtype=bool)
    bridge[x - round(42 / voxel[0]) : x + round(42 / voxel[0]), y : y + 3, z : z + round(60 / voxel[2])] = True
    lung = segmented(changed(made, {}, bridge)).mask("lung")
    parts = big_parts(lung)
    assert len(parts) == 2 and min(parts) < made.volume.shape[0] / 2 < max(parts)
    assert dice(lung, made.solids["lung"] | bridge) > 0.95, "no more than a thin seam is lost"


def test_vertebrae_whose_marrow_is_hardly_brighter_than_muscle_are_filled() -> None:
    made = chest()
    spine = made.solids["spine"]
    marrow = ndimage.binary_erosion(spine, iterations=2)
    old = changed(made, {"spine": 260.0, "ribs": 190.0})
    hu = old.volume.hu.copy()
    hu[marrow] = 125 + np.random.default_rng(2).normal(0, 10, int(marrow.sum()))
    bone = segmented(Chest(dataclasses.replace(old.volume, hu=hu), made.solids)).mask("bone")
    assert recall(bone, marrow) > 0.95 and recall(bone, spine) > 0.9
    assert recall(bone, (made.solids["heart"] | made.solids["liver"]) & ~spine) < 0.01


def test_blood_of_the_portal_phase_is_no_marrow() -> None:
    made = chest(blood=140.0)
    bone = segmented(made).mask("bone")
    assert recall(bone, made.solids["aorta"]) < 0.05 and recall(bone, made.solids["heart"]) < 0.01
    assert recall(bone, made.solids["spine"]) > 0.95


@pytest.mark.parametrize("blood", [220.0, 350.0])
def test_contrast_on_coarse_voxels_takes_no_bone_with_it(blood: float) -> None:
    made = chest((4.5, 4.5, 8.0), blood=blood)
    bone = segmented(made).mask("bone")
    assert recall(bone, made.solids["spine"]) > 0.9 and recall(bone, made.solids["ribs"]) > 0.7
    assert recall(bone, made.solids["heart"]) < 0.02


def test_breasts_are_fat_before_the_muscle_from_the_second_rib_to_the_sixth() -> None:
    made = chest()
    breast = segmented(made).mask("breast")
    assert breast.any() and recall(made.solids["fat"] & ~made.solids["muscle"], breast) > 0.9
    x, y, z = (np.nonzero(breast)[axis] * 3.0 for axis in range(3))
    assert z.min() > 105 and z.max() < 235, "not above the carina, not below the domes"
    assert y.min() > 140 and not ((x > 165) & (x < 195)).any(), "in front, and not on the breastbone"


@pytest.mark.parametrize("voxel", [(2.25, 2.25, 4.0), (3.0, 3.0, 3.0)], ids=["2.25 mm", "3 mm"])
def test_a_dark_rim_of_the_trachea_is_no_lung_at_the_volumes_top(voxel: tuple[float, float, float]) -> None:
    made = chest(voxel)
    rim = ndimage.binary_dilation(made.solids["airway"], np.ones((3, 3, 1))) & ~made.solids["airway"]
    mask = segmented(changed(made, {}, rim))
    assert "thyroid" not in mask.given, "the apices are in view, so the thyroid isn't out of it"
    top = mask.mask("lung")[:, :, -1]
    assert top.sum() * voxel[0] * voxel[1] < 100


def test_a_bulla_that_opens_into_a_bronchus_leaves_the_trachea() -> None:
    made = chest()
    hu = made.volume.hu.copy()
    x, y, z = np.ogrid[: hu.shape[0], : hu.shape[1], : hu.shape[2]]
    bulla = ((x - 85) * 3.0) ** 2 + ((y - 42) * 3.0) ** 2 + ((z - 60) * 3.0) ** 2 < 40.0**2
    hu[bulla & (made.solids["lung"] | made.solids["airway"])] = -1000
    mask = segmented(Chest(dataclasses.replace(made.volume, hu=hu), made.solids))
    airway, upper = mask.mask("trachea and bronchie"), np.broadcast_to(z > 75, hu.shape)
    assert recall(airway, made.solids["airway"] & upper) > 0.9, "the trachea is there"
    assert recall(made.solids["airway"], airway) > 0.6 and recall(mask.mask("lung"), bulla & made.solids["lung"]) > 0.6


def test_the_pleura_reaches_beyond_the_lung_on_voxels_wider_than_itself() -> None:
    made = chest((5.2, 5.2, 5.0))
    mask = segmented(made)
    outside = mask.mask("pleura") & ~mask.mask("lung")
    assert outside.sum() > 0.3 * mask.mask("pleura").sum()


def test_kidneys_beside_the_spine_are_abdomen_and_back_muscles_are_not() -> None:
    made = chest()
    shape = made.volume.shape
    x, y = np.meshgrid(np.arange(shape[0]) * 3.0, np.arange(shape[1]) * 3.0, indexing="ij", sparse=True)
    low = np.broadcast_to(np.arange(shape[2]) < 25, shape)
    kidneys = (((np.abs(x - 180) - 62) / 22) ** 2 + ((y - 74) / 18) ** 2 < 1)[..., None] & low
    back = ((np.abs(np.abs(x - 180) - 32) < 10) & (y < 55) & (y > 46))[..., None] & low
    abdomen = segmented(made).mask("abdomen")
    assert recall(abdomen, kidneys & made.solids["liver"]) > 0.9 and recall(abdomen, back) < 0.1


def test_a_cut_through_the_apices_puts_the_thyroid_out_of_view_and_a_sliver_does_not() -> None:
    made = chest()
    top = int(np.flatnonzero(made.solids["lung"].any(axis=(0, 1)))[-1])
    assert segmented(Chest(crop(made.volume, z=slice(0, top - 8)), {})).missing()["thyroid"] == "not in the field of view"
    assert "thyroid" not in Threshold().segment(crop(made.volume, z=slice(0, top + 3))).given


def test_volumes_whose_sides_hold_no_whole_number_of_blocks_are_covered() -> None:
    made = chest((3.0, 3.0, 1.4))
    odd = Volume(made.volume.hu[:, :, : made.volume.shape[2] // 2 * 2 - 1].copy(), made.volume.affine)
    mask = Threshold().segment(odd)
    assert mask.bits.shape == odd.shape and len(big_parts(mask.mask("lung"))) == 2
