"""Bone without contrast-filled blood and organs, and the spine's place as the landmark of the back."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from ._grid import Grid, Mask, bounds, coarse, dilate, erode, grow, keep_larger, open_
from ._hull import hull_slices

BRIGHT = 170  # HU, mean of a block: bone, calcium, contrast, metal
CORTEX = 200  # HU, single voxels: a quarter of a block of them is a thin rib
MARROW = 100, 55  # HU: marrow has more than the first, and more than the blood of the same CT by the second
MUSCLE, EDGE = 55.0, 0.4  # HU of muscle; a coarse voxel on bone's edge has so much of the way to bone's own
MARROW_MM2 = 900.0  # holes up to this area are marrow
BODY_MM = (24.0, 36.0)  # a vertebral body's half width and depth


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spine:
    """Each slice's vertebral body: `x` its middle, `front` its anterior face (y), in coarse voxels; nan-free."""

    x: np.ndarray
    front: np.ndarray


def find_skeleton(hu: np.ndarray, grid: Grid, body: Mask, lungs: Mask, hull: Mask, between: Mask) -> tuple[Mask, Spine | None]:
    """All bone in view, and the spine's place. `between` is the tissue between the lungs, `hull` their convex hull."""
    z = np.flatnonzero(lungs.any(axis=(0, 1)))
    bottom, middle = int(z[0]), int(z[0] + z[-1]) // 2
    front = between.copy()
    front[:, : int(np.flatnonzero(lungs.any(axis=(0, 2))).mean())] = False
    bright = bright_blocks(hu, grid)
    pool = blood_pool(grid, bright, front)
    marrow = marrow_blocks(grid, front, pool)
    bone = find_bone(grid, bright & ~pool, body, lungs, front)
    spine = find_spine(grid, bone, marrow, lungs, bool(pool.any()))
    if spine is not None and pool.any():
        bone = without_vessels(grid, bone, spine, between, bottom, middle)
    bone = without_organs(grid, bone, spine, np.asarray(hull[:, :, : middle + 1].any(axis=2)), bottom, middle)
    bone = with_edges(grid, bone, bright) & body & ~lungs
    if spine is not None:
        bone |= vertebral_bodies(grid, bone, spine, marrow) & ~lungs & ~pool
    return bone, spine


def bright_blocks(hu: np.ndarray, grid: Grid) -> Mask:
    """Blocks that are bright on the whole or hold thin cortex."""
    if grid.hu.shape == grid.shape:
        return grid.hu > BRIGHT
    share = coarse((hu > CORTEX).view(np.int8), grid.voxel, blocks=grid.step).hu
    return (grid.hu > BRIGHT) | (share > 0.25)


def blood_pool(grid: Grid, bright: Mask, front: Mask) -> Mask:
    """Heart and vessels filled with contrast: what is bright, thick and linked to the bright part of `front`.

    `front` is the soft tissue between the lungs' anterior halves, where no bone lies; without contrast the pool is empty.
    """
    hot = front & (grid.hu > BRIGHT)
    if hot.sum() < 0.1 * front.sum() or hot.sum() * grid.ml < 30:
        return np.zeros_like(front)
    level = float(np.median(grid.hu[hot]))
    lumen = grid.hu > max(BRIGHT, 0.6 * level)
    thin = max(3.5, 1.01 * max(grid.spacing[:2]))  # at least a block, or heart, ribs and spine hang together on coarse grids
    labels, _ = ndimage.label(erode(lumen, thin, grid.spacing))
    sizes = np.bincount(labels[hot], minlength=int(labels.max()) + 1)
    sizes[0] = 0
    core = np.isin(labels, np.flatnonzero(sizes * grid.ml > 5.0))
    return dilate(core, 2 * thin, grid.spacing) & bright


def marrow_blocks(grid: Grid, front: Mask, pool: Mask) -> Mask:
    """Clumps as bright as old people's vertebrae are within, brighter than the blood in `front`; none where that is hot."""
    if pool.any():
        return np.zeros_like(pool)
    blood = grid.hu[front & (grid.hu > 0)]
    level = max(MARROW[0], float(np.median(blood)) + MARROW[1]) if blood.size else MARROW[0]
    return open_(grid.hu > level, 3.1, grid.spacing)


def find_bone(grid: Grid, bright: Mask, body: Mask, lungs: Mask, front: Mask) -> Mask:
    """Bright parts that aren't calcium or contrast in the middle of the chest, marrow filled; `bright` without blood."""
    # thin ribs touch at corners only
    labels, n = ndimage.label(keep_larger(bright & body & ~lungs, 0.3 / grid.ml, corners=True))
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    central = np.bincount(labels[front], minlength=n + 1)
    keep = (central < 0.5 * sizes) | (sizes * grid.ml > 60.0)  # calcified vessels, leads and stents go
    keep[0] = False
    return _marrow(keep[labels], grid) & body & ~lungs


def _marrow(bone: Mask, grid: Grid) -> Mask:
    """Fills the small holes of each axial slice."""
    out = bone.copy()
    pixels = MARROW_MM2 / (grid.spacing[0] * grid.spacing[1])
    for k in np.flatnonzero(bone.any(axis=(0, 1))):
        labels, n = ndimage.label(~bone[:, :, k])
        small = np.bincount(labels.ravel(), minlength=n + 1) <= pixels
        small[0] = False
        out[:, :, k] |= small[labels]
    return out


def with_edges(grid: Grid, bone: Mask, bright: Mask) -> Mask:
    """Bone with the blocks beside it that hold enough of it: `EDGE` of the way from muscle to the brightest bone next to them.

    Only on volumes that come on the coarse grid themselves, where thin ribs fill no voxel; elsewhere `bright_blocks` sees them.
    What is `bright` without being bone was taken out for a reason.
    """
    box = bounds(bone)
    if box is None or grid.hu.shape != grid.shape:
        return bone
    wide = grow(box, 0.0, grid.spacing, bone.shape)
    hu = grid.hu[wide]
    near = ndimage.maximum_filter(np.where(bone[wide], hu, MUSCLE), footprint=ndimage.generate_binary_structure(3, 1))
    out = bone.copy()
    out[wide] |= (near > BRIGHT) & (hu > np.maximum(MARROW[0], MUSCLE + EDGE * (near - MUSCLE))) & ~bright[wide]
    return out


def find_spine(grid: Grid, bone: Mask, marrow: Mask, lungs: Mask, contrast: bool) -> Spine | None:
    """The spine as the thickest bone of the back half; None where too little bone is in view.

    With `contrast` the aorta is bright as well, so that less is bridged between a vertebra's parts.
    """
    y, z = np.flatnonzero(lungs.any(axis=(0, 2))), np.flatnonzero(lungs.any(axis=(0, 1)))
    back = bone[:, : int((y[0] + y[-1]) / 2) + grid.blocks(15, 1)]
    thick = ndimage.uniform_filter1d(back.sum(axis=1).astype(np.float32), grid.blocks(27, 0), axis=0)  # (x, z)
    thick = ndimage.uniform_filter1d(thick, 2 * grid.blocks(30, 2) + 1, axis=1, mode="nearest")
    middle, reach = int(thick[:, z[0] : z[-1] + 1].sum(axis=1).argmax()), grid.blocks(35, 0)
    near = thick[max(middle - reach, 0) : middle + reach + 1]
    good = near.max(axis=0) * grid.spacing[1] > 12.0
    if good.sum() * grid.spacing[2] < 20.0:
        return None
    slices = np.arange(thick.shape[1])
    weight = np.maximum(near - 0.6 * near.max(axis=0), 0)[:, good]  # the middle of the plateau that a vertebra makes
    centre = (weight * np.arange(len(near))[:, None]).sum(axis=0) / weight.sum(axis=0) + max(middle - reach, 0)
    x = ndimage.median_filter(np.interp(slices, slices[good], centre), 2 * grid.blocks(50, 2) + 1, mode="nearest")
    front = _front(back | marrow[:, : back.shape[1]], x, grid, 36.0 if contrast else 60.0)
    known = ~np.isnan(front)
    return Spine(x, _smooth(slices, front, known, grid.spacing[1])) if known.any() else None


def _smooth(slices: np.ndarray, front: np.ndarray, known: np.ndarray, voxel: float) -> np.ndarray:
    """A parabola through the faces, without the outliers: contrast or calcium before the spine moves a face forward."""
    seen = np.flatnonzero(known)
    low, high = np.percentile(seen, [20, 80])  # from the middle outwards: the ends are where the aorta lies close
    use = known & (slices >= low) & (slices <= high)
    line = front
    for _ in range(8):
        line = np.polynomial.Polynomial.fit(slices[use], front[use], 2 if use.sum() > 12 else 0)(slices)
        off = (front - line) * voxel
        low, high = low - 0.05 * len(slices), high + 0.05 * len(slices)
        fits = known & (slices >= low) & (slices <= high) & (off < 6.0) & (off > -12.0)
        if fits.sum() < 5:
            break
        use = fits
    seen = np.flatnonzero(use)
    return np.interp(slices, slices[seen[0] : seen[-1] + 1], line[seen[0] : seen[-1] + 1])


def _front(back: Mask, x: np.ndarray, grid: Grid, canal: float) -> np.ndarray:
    """Where the bone of a vertebra's height ends to the front at the middle (y in voxels), nan where none is seen."""
    half = grid.blocks(9, 0)
    line = np.stack([back[max(c - half, 0) : c + half + 1, :, k].mean(axis=0) for k, c in enumerate(np.rint(x).astype(int))])
    line = ndimage.uniform_filter1d(line, 2 * grid.blocks(16, 2) + 1, axis=0, mode="nearest")
    front = np.full(len(line), np.nan)
    for k, solid in enumerate(line > 0.25):
        edges = np.diff(np.r_[0, solid, 0].astype(np.int8))
        runs = list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
        if runs:
            front[k] = _chain(runs, grid.spacing[1], canal)
    return front


def _chain(runs: list[tuple[int, int]], voxel: float, canal: float) -> float:
    """The end of a chain of runs from the back, which the canal (21 mm) may part before `canal` mm, little (4 mm) later."""
    start, stop = runs[0]
    for first, last in runs[1:]:
        allowed = 21.0 if (stop - start) * voxel < canal else 4.0
        if (first - stop) * voxel > allowed and (stop - start) * voxel > 9.0:
            break
        stop = last
    return float(stop)


def without_vessels(grid: Grid, bone: Mask, spine: Spine, between: Mask, bottom: int, middle: int) -> Mask:
    """Bone without the contrast-filled aorta before and beside the spine.

    Above slice `middle` (the first ribs and the breastbone lie close there) only between the lungs, beside it above `bottom`.
    """
    aside, ahead = _around(bone, spine, grid)
    before = (ahead > 3.0) & (ahead < 45.0) & (aside < 60.0)
    beside = (ahead > -30.0) & (ahead < 45.0) & (aside > 24.0) & (aside < 65.0)
    for zone, above in ((before, middle), (beside, bottom)):
        zone[:, :, above:] &= between[:, :, above:]
    out = bone & ~before
    return out & ~(dilate(erode(out, 5.0, grid.spacing) & beside, 8.0, grid.spacing) & beside)


def without_organs(grid: Grid, bone: Mask, spine: Spine | None, footprint: np.ndarray, bottom: int, middle: int) -> Mask:
    """Bone without the parts that lie inside the rib cage (`footprint`, x by y), such as bright kidneys and spleen."""
    zone = np.zeros_like(bone)
    inner = erode(footprint[..., None], 12.0, grid.spacing)
    zone[:, :, max(bottom - grid.blocks(130, 2), 0) : middle] = inner
    if spine is not None:
        aside, ahead = _around(bone, spine, grid)
        zone &= (ahead > 2.0) | (aside > 40.0)
    labels, n = ndimage.label(bone)
    sizes, inside = np.bincount(labels.ravel(), minlength=n + 1), np.bincount(labels[zone], minlength=n + 1)
    keep = inside < 0.5 * sizes
    if spine is not None:
        keep[np.unique(labels[(ahead < -3.0) & (aside < 9.0)])] = True
    keep[0] = False
    return keep[labels]


def vertebral_bodies(grid: Grid, bone: Mask, spine: Spine, marrow: Mask) -> Mask:
    """The convex hull of each slice's bone and marrow in the box of the vertebral body."""
    aside, ahead = _around(bone, spine, grid)
    box = (aside <= BODY_MM[0]) & (ahead >= -BODY_MM[1]) & (ahead <= 2.0)
    shell = (bone | marrow) & box
    enough = shell.sum(axis=(0, 1)) * grid.spacing[0] * grid.spacing[1] > 150.0
    return hull_slices(shell & enough, grid.spacing)


def _around(bone: Mask, spine: Spine, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm from the vertebral bodies: to the side (x, 1, z) and to the front (1, y, z)."""
    x, y = np.ogrid[: bone.shape[0], : bone.shape[1]]
    aside = np.abs(x[..., None] - spine.x) * grid.spacing[0]
    return aside.astype(np.float32), ((y[..., None] - spine.front) * grid.spacing[1]).astype(np.float32)
