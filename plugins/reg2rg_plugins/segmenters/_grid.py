"""A coarse grid to think on, and the way back: block means, morphology in millimetres, components, smooth refinement.

The classical rules need shapes of a centimetre, not voxels of half a millimetre: they run on a grid of about 3 mm.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy import ndimage

Mask = np.ndarray
Spacing = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Block means of a volume: `hu` float32 (x, y, z), `spacing` in mm, `step` voxels a block, `shape` of the volume."""

    hu: np.ndarray
    spacing: Spacing
    step: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def ml(self) -> float:
        """Millilitres in one block."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def voxel(self) -> Spacing:
        """Spacing of the volume's own voxels in mm."""
        x, y, z = (s / k for s, k in zip(self.spacing, self.step, strict=True))
        return x, y, z

    def blocks(self, mm: float, axis: int) -> int:
        """The number of blocks nearest to a length along an axis, at least one."""
        return max(1, round(mm / self.spacing[axis]))


def coarse(hu: np.ndarray, spacing: Spacing, target: float = 3.0, blocks: tuple[int, int, int] | None = None) -> Grid:
    """Block means (float32) with blocks of about `target` mm (or of so many voxels); a coarser axis stays as it is."""
    step = blocks or tuple(min(max(1, int(target / s + 0.4)), n) for s, n in zip(spacing, hu.shape, strict=True))
    size = [n // k for n, k in zip(hu.shape, step, strict=True)]
    total = np.zeros(size, dtype=np.int32)
    for offset in np.ndindex(*step):
        total += hu[tuple(slice(o, o + k * n, k) for o, k, n in zip(offset, step, size, strict=True))]
    mean = total.astype(np.float32) / np.float32(np.prod(step))
    x, y, z = (s * k for s, k in zip(spacing, step, strict=True))
    return Grid(mean, (x, y, z), step, hu.shape)  # type: ignore[arg-type]


def refine(mask: Mask, grid: Grid) -> Mask:
    """A coarse mask on the volume's grid, its surface interpolated linearly."""
    if mask.shape == grid.shape:
        return mask.copy()
    box = bounds(mask)
    out = np.zeros(grid.shape, dtype=bool)
    if box is None:
        return out
    wide = tuple(slice(max(b.start - 1, 0), min(b.stop + 1, n)) for b, n in zip(box, mask.shape, strict=True))
    target = tuple(
        slice(w.start * k, n if w.stop == m else w.stop * k)
        for w, k, n, m in zip(wide, grid.step, grid.shape, mask.shape, strict=True)
    )
    values = mask[wide].astype(np.int16)
    for axis, (k, t) in enumerate(zip(grid.step, target, strict=True)):
        values = _stretch(values, axis, k, t.stop - t.start)
    out[target] = values * 2 > np.prod([2 * k if k > 1 else 1 for k in grid.step])
    return out


def _stretch(values: np.ndarray, axis: int, k: int, length: int) -> np.ndarray:
    """Linear interpolation along one axis in whole numbers: the result is 2k times the value."""
    if k == 1:
        return values
    place = 2 * np.arange(length) + 1 - k  # in half voxels from the first block's centre
    low, weight = np.divmod(place, 2 * k)
    last = values.shape[axis] - 1
    shape = [1, 1, 1]
    shape[axis] = length
    weight = weight.astype(np.int16).reshape(shape)
    below = values.take(np.clip(low, 0, last), axis=axis)
    above = values.take(np.clip(low + 1, 0, last), axis=axis)
    return below * (np.int16(2 * k) - weight) + above * weight


def bounds(mask: Mask) -> tuple[slice, slice, slice] | None:
    """The bounding box of a mask, or None where it is empty."""
    out = []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if line.size == 0:
            return None
        out.append(slice(int(line[0]), int(line[-1]) + 1))
    return out[0], out[1], out[2]


def dilate(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """All within `mm` of the mask."""
    box = bounds(mask)
    if box is None:
        return mask.copy()
    wide = grow(box, mm, spacing, mask.shape)
    out = np.zeros_like(mask)
    out[wide] = _spread(mask[wide], mm, spacing)
    return out


def erode(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """What lies deeper than `mm`; the volume's border doesn't count as a surface."""
    box = bounds(mask)
    if box is None:
        return mask.copy()
    wide = grow(box, 0.0, spacing, mask.shape)
    out = np.zeros_like(mask)
    out[wide] = ~_spread(~mask[wide], mm, spacing)
    return out


def _spread(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """The mask moved to every place of a ball, joined: faster than a distance map for balls of a few voxels."""
    out = np.zeros_like(mask)
    run = mask.copy()
    for reach, moves in enumerate(_ball(mm, spacing)):
        if 0 < reach < mask.shape[2]:
            run[:, :, reach:] |= mask[:, :, :-reach]
            run[:, :, :-reach] |= mask[:, :, reach:]
        for dx, dy in moves:
            (to_x, from_x), (to_y, from_y) = (_overlap(d, n) for d, n in zip((dx, dy), mask.shape, strict=False))
            out[to_x, to_y] |= run[from_x, from_y]
    return out


def _overlap(move: int, length: int) -> tuple[slice, slice]:
    """Where a row moved by `move` lands, and from where."""
    kept = max(length - abs(move), 0)
    ahead, still = slice(length - kept, length), slice(0, kept)
    return (ahead, still) if move > 0 else (still, ahead)


@functools.lru_cache(maxsize=64)
def _ball(mm: float, spacing: Spacing) -> list[list[tuple[int, int]]]:
    """A ball's columns (moves in x and y), listed by their half length in z."""
    sx, sy, sz = spacing
    half: dict[int, list[tuple[int, int]]] = {}
    for dx in range(-int(mm / sx), int(mm / sx) + 1):
        for dy in range(-int(mm / sy), int(mm / sy) + 1):
            rest = mm * mm - (dx * sx) ** 2 - (dy * sy) ** 2
            if rest >= 0:
                half.setdefault(int(rest**0.5 / sz), []).append((dx, dy))
    return [half.get(reach, []) for reach in range(max(half) + 1)]


def close(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """Fills gaps narrower than 2·`mm`."""
    return erode(dilate(mask, mm, spacing), mm, spacing) | mask


def open_(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """Removes parts thinner than 2·`mm`."""
    return dilate(erode(mask, mm, spacing), mm, spacing) & mask


def grow(box: tuple[slice, ...], mm: float, spacing: Spacing, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """A bounding box widened by `mm` and one voxel, within the volume."""
    pads = [int(np.ceil(mm / s)) + 1 for s in spacing]
    x, y, z = (slice(max(b.start - p, 0), min(b.stop + p, n)) for b, p, n in zip(box, pads, shape, strict=True))
    return x, y, z


def fill_slices(mask: Mask) -> Mask:
    """Fills the holes of each axial slice."""
    out = mask.copy()
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        out[:, :, k] = ndimage.binary_fill_holes(mask[:, :, k])
    return out


def largest(mask: Mask) -> Mask:
    """The largest connected part (faces)."""
    labels, n = ndimage.label(mask)
    if n < 2:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def keep_larger(mask: Mask, voxels: float, corners: bool = False) -> Mask:
    """The connected parts (faces; with `corners` any touch) with at least so many voxels."""
    labels, n = ndimage.label(mask, np.ones((3, 3, 3)) if corners else None)
    if n == 0:
        return mask.copy()
    big = np.bincount(labels.ravel(), minlength=n + 1) >= voxels
    big[0] = False
    return big[labels]
