"""What surrounds the chest's space: pleura, abdomen under the diaphragm, breasts before the ribs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ._grid import Mask, dilate, erode, largest, open_
from ._heart import SAG_MM, Chest
from ._hull import hull_slices
from ._pleura import shell

NEXT = 1.01  # voxels: the pleura reaches the next one on coarse grids too, whatever the rounding
WALL_MM = 4.0  # beneath the wall's outer face
ABDOMEN_MM = 230.0  # lower than this under the diaphragm lies the pelvis
BESIDE_MM = (62.0, 38.0)  # kidneys and spleen lie up to so far behind the vertebrae's front, so far aside
RIBS_MM = 18.0  # ribs and pectoral muscles before the lungs' hull
MUSCLE_MM = 21.0  # and what else of the pectoral muscles may lie on them
MIDDLE_MM = 18.0  # the breastbone's half width: breasts end beside it
BREAST_MM = 105.0  # from the sixth rib up to the second, where no carina is seen
FAR = 1e6  # a slice spacing that keeps slices apart
BREAST_ML = 40.0  # less than this in front of the ribs isn't called a breast


def find_pleura(chest: Chest) -> Mask:
    """A shell around each lung's surface."""
    right, left = (shell(lung, chest.grid.spacing, NEXT) for lung in (chest.right, chest.left))
    return (right | left) & chest.body & ~chest.airway & ~chest.bone


def find_abdomen(chest: Chest, floor: np.ndarray, taken: Mask) -> Mask:
    """Soft tissue and gas within the wall under the diaphragm: below `floor` (z by x) and below the lungs themselves.

    `taken` (heart and mediastinum) isn't abdomen.
    """
    grid = chest.grid
    z = np.arange(grid.hu.shape[2])
    plane = floor[:, None, None]
    lungs = chest.lungs
    above = np.maximum.accumulate(lungs[:, :, ::-1], axis=2)[:, :, ::-1]  # a lung lies higher in this column
    space = (z < plane) | (above & (z < plane + 18.0 / grid.spacing[2]))
    space &= z > float(np.median(floor)) - ABDOMEN_MM / grid.spacing[2]
    space &= erode(_within_wall(chest), WALL_MM, grid.spacing) & ~lungs & ~chest.bone & ~taken
    if chest.spine is not None:
        x, y = np.ogrid[: space.shape[0], : space.shape[1]]
        behind = (chest.spine.front - y[..., None]) * grid.spacing[1]
        aside = np.abs(x[..., None] - chest.spine.x) * grid.spacing[0]
        space &= (behind < 5.0) | ((behind < BESIDE_MM[0]) & (aside > BESIDE_MM[1]))
    return largest(open_(space, 5.0, grid.spacing))


def _within_wall(chest: Chest) -> Mask:
    """The space within the muscle wall, without the fat under the skin: each slice's convex hull of what is lean."""
    grid = chest.grid
    beneath = erode(chest.body, 5.0, grid.spacing)  # the skin is as dense as muscle
    lean = (((grid.hu > -30) & chest.body) | chest.lungs | chest.bone) & beneath
    return hull_slices(largest(open_(lean, 5.0, grid.spacing)), grid.spacing) & beneath


def find_breasts(chest: Chest, floor: np.ndarray | None, carina: float | None) -> Mask:
    """The layer before ribs and chest muscles from the second rib (the carina's height) to the sixth (the domes').

    Both sides, each where it is thick; empty where there is too little.
    """
    grid = chest.grid
    x, y, z = np.ogrid[: grid.hu.shape[0], : grid.hu.shape[1], : grid.hu.shape[2]]
    seen = np.flatnonzero(chest.lungs.any(axis=(0, 1)))
    low = float(np.median(floor)) + SAG_MM / grid.spacing[2] if floor is not None else float(seen[0])
    high = carina + 10.0 / grid.spacing[2] if carina is not None else low + BREAST_MM / grid.spacing[2]
    ys, xs = np.flatnonzero(chest.lungs.any(axis=(0, 2))), np.flatnonzero(chest.lungs.any(axis=(1, 2)))
    space = (y > (ys[0] + ys[-1]) / 2) & (x >= xs[0]) & (x <= xs[-1]) & (z > low) & (z < high)
    space = space & erode(chest.body, 2.0, grid.spacing) & ~_chest_wall(chest) & ~chest.bone
    if chest.spine is not None:
        space &= np.abs(x - chest.spine.x) * grid.spacing[0] > MIDDLE_MM
    space = open_(space, 6.0, grid.spacing)
    labels, n = ndimage.label(space)
    big = np.bincount(labels.ravel(), minlength=n + 1) * grid.ml >= BREAST_ML
    big[0] = False
    return big[labels]


def _chest_wall(chest: Chest) -> Mask:
    """The rib cage with the muscles that lie on it: what is lean within `MUSCLE_MM` of the ribs and linked with them."""
    grid = chest.grid
    cage = _ribs(chest)
    lean = (grid.hu > -30) & chest.body
    flat = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])
    return ndimage.binary_dilation(cage, flat, iterations=grid.blocks(MUSCLE_MM, 0), mask=cage | lean)


def _ribs(chest: Chest) -> Mask:
    """The lungs' hull with ribs and pectoral muscles around it, and all that lies behind it; it widens downwards."""
    spacing = chest.grid.spacing
    z = np.flatnonzero(chest.hull.any(axis=(0, 1)))
    middle = int(z[0] + z[-1]) // 2
    cage = chest.hull.copy()
    cage[:, :, : middle + 1] = np.maximum.accumulate(cage[:, :, middle::-1], axis=2)[:, :, ::-1]
    near = dilate(cage, RIBS_MM, (spacing[0], spacing[1], FAR))
    return np.maximum.accumulate(near[:, ::-1], axis=1)[:, ::-1]
