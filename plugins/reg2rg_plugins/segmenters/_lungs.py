"""Right and left lung from the air of the chest: airway removed, sides parted, vessels taken in, edges refined."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ._grid import Grid, Mask, bounds, close, dilate, erode, fill_slices, grow, keep_larger

WIDTH_MM = (150.0, 220.0)  # one lung alone is less wide than this: where both sides are cut, where one is
APART_MM = 60.0  # two lungs' centres are at least so far apart
VESSEL_MM = 7.5  # vessels up to twice this width belong to the lung


def part_lungs(air: Mask, airway: Mask, body: Mask, grid: Grid) -> tuple[Mask, Mask]:
    """(right, left) on the coarse grid, vessels taken in; one is empty where only one lung is in view."""
    rim = max(2.0, 1.01 * max(grid.spacing[:2]))  # at least a block: the wall's blocks are as dark as lung
    lung = keep_larger(air & ~dilate(airway, rim, grid.spacing), 8.0 / grid.ml)
    right, left = _sides(lung, body, grid)
    right, left = _whole(right, grid), _whole(left, grid)
    return right & ~airway, left & ~right & ~airway


def _sides(lung: Mask, body: Mask, grid: Grid) -> tuple[Mask, Mask]:
    """Parts the lungs at their thinnest joint: erosion until two large parts lie side by side, then nearest part."""
    for mm in (0.0, 2.5, 5.0, 7.5, 10.0, 12.5):
        core = erode(lung, mm, grid.spacing) if mm else lung
        labels, n = ndimage.label(core)
        if n and (pair := _pair(labels, n, grid)):
            return _nearest(lung, labels, pair, grid)
    return _one_side(lung, body, grid)


def _pair(labels: np.ndarray, n: int, grid: Grid) -> tuple[int, int] | None:
    """(right, left) labels of the two largest parts, where they are alike in size and lie side by side."""
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    if n < 2:
        return None
    first, second = (int(i) + 1 for i in np.argsort(-sizes, kind="stable")[:2])
    if sizes[second - 1] < 0.12 * sizes[first - 1]:
        return None
    a, b = (ndimage.center_of_mass(labels == i)[0] * grid.spacing[0] for i in (first, second))
    if abs(a - b) < APART_MM:
        return None
    return (first, second) if a > b else (second, first)


def _nearest(lung: Mask, labels: np.ndarray, pair: tuple[int, int], grid: Grid) -> tuple[Mask, Mask]:
    """Each lung voxel to the nearer of the two parts."""
    box = bounds(lung)
    to_right, to_left = (ndimage.distance_transform_edt(labels[box] != i, sampling=grid.spacing) for i in pair)
    right = np.zeros_like(lung)
    right[box] = lung[box] & (to_right <= to_left)
    return right, lung & ~right


def _one_side(lung: Mask, body: Mask, grid: Grid) -> tuple[Mask, Mask]:
    """Lungs that can't be parted: one lung where the volume cuts the chest, else two parted at the middle."""
    box = bounds(lung)
    if box is None or (side := _side(lung, body, box, grid)) == "right":
        return lung, np.zeros_like(lung)
    if side == "left":
        return np.zeros_like(lung), lung
    right = lung.copy()
    right[: (box[0].start + box[0].stop) // 2] = False
    return right, lung & ~right


def _side(lung: Mask, body: Mask, box: tuple[slice, ...], grid: Grid) -> str:
    """Which lung a single one is, "" where it may be both. x grows to the right, so a right lung's middle is cut at x = 0."""
    width = (box[0].stop - box[0].start) * grid.spacing[0]
    low, high = (bool(body[edge, box[1], box[2]].mean() > 0.5) for edge in (0, -1))
    if width < WIDTH_MM[1] and low != high:
        return "right" if low else "left"
    if width < WIDTH_MM[0] and low and high:
        return "left" if lung[0].sum() > lung[-1].sum() else "right"
    return ""


def _whole(lung: Mask, grid: Grid) -> Mask:
    """Vessels, fissures and enclosed lesions taken in."""
    box = bounds(lung)
    if box is None:
        return lung
    wide = grow(box, VESSEL_MM + 3, grid.spacing, lung.shape)
    out = np.zeros_like(lung)
    out[wide] = fill_slices(close(lung[wide], VESSEL_MM, grid.spacing))
    return out


def set_apart(lungs: Mask, right: Mask, left: Mask, grid: Grid) -> None:
    """Takes the voxels between the sides out of `lungs` (the volume's grid, changed in place), so that the two never touch.

    Behind the sternum and before the spine no more than a fold of pleura parts them, which no voxel shows.
    """
    reach = 2.01 * max(grid.spacing)
    box = bounds(dilate(right, reach, grid.spacing) & dilate(left, reach, grid.spacing))
    if box is None:
        return
    wide = grow(box, 0.0, grid.spacing, right.shape)
    to_right, to_left = (ndimage.distance_transform_edt(~side[wide], sampling=grid.spacing) for side in (right, left))
    nearer = to_left < to_right
    place = []
    for axis, (w, k, n, m) in enumerate(zip(wide, grid.step, right.shape, grid.shape, strict=True)):
        place.append(slice(w.start * k, m if w.stop == n else w.stop * k))  # the last block's rest lies in no block
        blocks = np.minimum(np.arange(place[-1].stop - place[-1].start) // k, w.stop - w.start - 1)
        nearer = nearer.take(blocks, axis=axis)
    lungs[tuple(place)] &= ~(nearer & ndimage.binary_dilation(~nearer))
