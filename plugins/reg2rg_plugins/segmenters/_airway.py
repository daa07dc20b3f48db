"""Trachea and main bronchi: a dark column of round sections as seed, then region growing with leak control."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from ._grid import Grid, Mask, Spacing, bounds, coarse, dilate, largest, open_, refine

LEVELS = (-950, -925, -900, -875, -850, -825, -800, -775, -750, -725, -700)  # HU, growing thresholds
LARGEST_ML = 110.0  # trachea and main bronchi of a large adult hold about 60–90 ml
WALL_MM, RIM = 1.6, -480  # the wall's thickness; HU halfway from the lumen to the wall
SIDE_MM, BELOW_MM = 75.0, 60.0  # the main bronchi end within this reach of the seed
NEAR_MM, BRONCHI_ML = 30.0, 20.0  # both main bronchi lie so near the trachea and hold no more


def find_airway(hu: np.ndarray, spacing: Spacing, grid: Grid, body: Mask, lungs: Mask) -> Mask | None:
    """Trachea and main bronchi (lumen and wall) on the volume's grid, or None where no trachea is found."""
    seed = find_seed(grid, body, lungs)
    if seed is None:
        return None
    box = _search_box(seed, grid)
    fine = coarse(hu[box], spacing, 1.5)
    start = coarse(refine(seed, grid)[box].astype(np.int16) * 100, spacing, 1.5).hu > 50
    trunk = largest(open_(_trunk(fine, start), 2.6, fine.spacing))  # what is narrower than 5 mm, and leaks through it, fall off
    out = np.zeros(hu.shape, dtype=bool)
    out[box] = refine(_with_wall(trunk, fine), fine)
    return out if trunk.any() else None


def _with_wall(trunk: Mask, fine: Grid) -> Mask:
    """The lumen with its wall; where a voxel is wider than the wall, with the voxels at its edge that are mostly air."""
    wide = max(fine.spacing[:2])
    if wide <= WALL_MM:
        return dilate(trunk, WALL_MM, fine.spacing)
    return trunk | (dilate(trunk, 1.01 * wide, fine.spacing) & (fine.hu < RIM))


def find_seed(grid: Grid, body: Mask, lungs: Mask) -> Mask | None:
    """The largest column of round dark sections that is at least 12 mm high, in the upper half of the lungs or above."""
    labels, _ = ndimage.label(_round_sections(grid, body))
    z = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (z[0] + z[-1]) / 2
    sizes = np.bincount(labels.ravel())
    best = 0
    for label, (_, _, sz) in enumerate(ndimage.find_objects(labels), start=1):
        tall = (sz.stop - sz.start) * grid.spacing[2] >= 12.0 and sz.stop - sz.start > 1
        if tall and (sz.start + sz.stop) / 2 > middle and (best == 0 or sizes[label] > sizes[best]):
            best = label
    return labels == best if best else None


def _round_sections(grid: Grid, body: Mask) -> Mask:
    """The axial sections of dark air within the body that are compact and of 50–800 mm²."""
    pixel = grid.spacing[0] * grid.spacing[1]
    dark = (grid.hu < -700) & body
    keep = np.zeros_like(dark)
    for k in range(dark.shape[2]):
        labels, _ = ndimage.label(dark[:, :, k])
        sizes = np.bincount(labels.ravel())
        for label, (sx, sy) in enumerate(ndimage.find_objects(labels), start=1):
            if not 50 <= sizes[label] * pixel <= 800:
                continue
            wide, deep = (sx.stop - sx.start) * grid.spacing[0], (sy.stop - sy.start) * grid.spacing[1]
            section = labels[sx, sy] == label
            values = grid.hu[sx, sy, k][section]
            compact = max(wide, deep) <= 2.5 * min(wide, deep) and section.mean() >= 0.5
            if compact and values.min() < -880 and values.mean() < -840:
                keep[sx, sy, k] |= section
    return keep


def _search_box(seed: Mask, grid: Grid) -> tuple[slice, slice, slice]:
    """The part of the volume that main bronchi can reach from the seed."""
    box = bounds(seed)
    assert box is not None
    reach = ((SIDE_MM, SIDE_MM), (SIDE_MM, SIDE_MM), (BELOW_MM, 9.0))
    x, y, z = (
        slice(max(0, b.start - round(lo / s)) * k, min(b.stop + round(hi / s), n // k) * k)
        for b, (lo, hi), s, k, n in zip(box, reach, grid.spacing, grid.step, grid.shape, strict=True)
    )
    return x, y, z


def _trunk(fine: Grid, start: Mask) -> Mask:
    """The seed grown into the bronchi; only near the trachea, or not at all, where emphysema or a bulla opens into them."""
    if (grown := _grow(fine, start, LARGEST_ML)) is not None:
        return grown
    near = dilate(start, NEAR_MM, fine.spacing)
    close_by = dataclasses.replace(fine, hu=np.where(near, fine.hu, np.float32(0)))
    grown = _grow(close_by, start, float(start.sum() * fine.ml) + BRONCHI_ML)
    return start & (fine.hu < LEVELS[-1]) if grown is None else grown


def _grow(fine: Grid, start: Mask, most: float) -> Mask | None:
    """Grows from the darkest part of the seed at rising thresholds; takes the last before a leap into the lung.

    None where the first holds more than `most` ml already.
    """
    core = start & (fine.hu < max(LEVELS[0], float(np.percentile(fine.hu[start], 25))))
    best: Mask | None = None
    ml = 0.0
    for level in LEVELS:
        labels, _ = ndimage.label(fine.hu < level)
        region = np.isin(labels, np.setdiff1d(np.unique(labels[core]), 0))
        now = float(region.sum() * fine.ml)
        if now > most or (best is not None and now > 1.5 * ml + 8.0):
            break
        best, ml = region, now
    return best


def find_carina(airway: Mask) -> float | None:
    """The highest slice (z) in which two sections of the airway lie side by side, or None where it isn't in view."""
    for k in np.flatnonzero(airway.any(axis=(0, 1)))[::-1]:
        labels, n = ndimage.label(airway[:, :, k])
        sizes = np.sort(np.bincount(labels.ravel())[1:])
        if n >= 2 and sizes[-2] >= 0.3 * sizes[-1]:
            return float(k)
    return None
