"""From a volume to the grid that SAT was trained on, and the way back to every voxel.

Forth: linear interpolation along each of the volume's own axes to 1 × 1 × 3 mm, the first voxel's centre staying where it is
and the last one's within half a voxel; cut to the box of what is brighter than 0 HU (the published facts say "> 0" at this
step, before clipping, so Hounsfield units are meant); clipped to [-500, 1000]; less its own mean, over its own (population)
standard deviation. A volume without a voxel above 0 HU isn't cut. Back: every voxel takes the nearest voxel of the model's
grid, half ways up; what lies outside of the cut is empty.
"""

from __future__ import annotations

import dataclasses

import numpy as np

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """Where a cut of the model's grid lies: the volume's `shape`, the model's voxels per voxel (`scale`), the cut's `start`
    and `size` on the model's whole grid, `whole`.
    """

    shape: Triple
    scale: Spacing
    whole: Triple
    start: Triple
    size: Triple

    def affine(self, affine: np.ndarray) -> np.ndarray:
        """Voxel → mm of the cut, (4, 4), from the volume's."""
        step = np.eye(4)
        step[:3, :3] = np.diag(1.0 / np.asarray(self.scale))
        step[:3, 3] = np.asarray(self.start) / np.asarray(self.scale)
        out: np.ndarray = affine @ step
        return out


def to_model(hu: np.ndarray, spacing: Spacing, target: Spacing, clip: tuple[float, float]) -> tuple[np.ndarray, Frame]:
    """HU (X, Y, Z), any spacing in mm → the network's input, float32 (x, y, z) of `target` mm, and where it lies."""
    scale = tuple(s / t for s, t in zip(spacing, target, strict=True))
    whole = tuple(int(np.rint((n - 1) * s)) + 1 for n, s in zip(hu.shape, scale, strict=True))
    grid = resample(hu, scale, whole)  # type: ignore[arg-type]
    box = _foreground(grid)
    image = np.clip(grid[box], *clip)
    mean, deviation = float(image.mean(dtype=np.float64)), float(image.std(dtype=np.float64))
    image -= np.float32(mean)
    image /= np.float32(deviation or 1.0)
    start, size = tuple(b.start for b in box), image.shape
    return image, Frame(hu.shape, scale, whole, start, size)  # type: ignore[arg-type]


def resample(hu: np.ndarray, scale: Spacing, whole: Triple) -> np.ndarray:
    """Linear interpolation, axis by axis, float32: voxel i of the new grid lies at i / scale of the old one."""
    out = hu
    for axis in (2, 0, 1):  # slices first, of which most are dropped
        out = _along(out, axis, scale[axis], whole[axis])
    return out.astype(np.float32, copy=False)


def _along(values: np.ndarray, axis: int, scale: float, length: int) -> np.ndarray:
    if scale == 1.0 and length == values.shape[axis]:
        return values
    place = np.arange(length) / scale
    last = values.shape[axis] - 1
    low = np.clip(np.floor(place).astype(np.intp), 0, last)
    weight = np.clip(place - low, 0.0, 1.0).astype(np.float32)
    shape = [1, 1, 1]
    shape[axis] = length
    weight = weight.reshape(shape)
    below = values.take(low, axis=axis).astype(np.float32)
    above = values.take(np.minimum(low + 1, last), axis=axis).astype(np.float32)
    above -= below
    above *= weight
    below += above
    return below


def _foreground(grid: np.ndarray) -> tuple[slice, slice, slice]:
    """The box of what is brighter than 0 HU; the whole grid where nothing is."""
    bright = grid > 0
    out = []
    for axis in range(3):
        line = np.flatnonzero(bright.any(axis=tuple(a for a in range(3) if a != axis)))
        out.append(slice(int(line[0]), int(line[-1]) + 1) if line.size else slice(0, grid.shape[axis]))
    return out[0], out[1], out[2]


def to_volume(bits: np.ndarray, frame: Frame) -> np.ndarray:
    """Bits on the cut, uint16 (x, y, z), on the volume's voxels, uint16 (X, Y, Z)."""
    out = np.zeros(frame.shape, dtype=bits.dtype)
    targets, sources = [], []
    for axis in range(3):
        near = np.floor(np.arange(frame.shape[axis]) * frame.scale[axis] + 0.5).astype(np.intp)
        place = np.minimum(near, frame.whole[axis] - 1) - frame.start[axis]
        inside = np.flatnonzero((place >= 0) & (place < frame.size[axis]))
        targets.append(inside)
        sources.append(place[inside])
    if all(t.size for t in targets):
        box = tuple(slice(int(t[0]), int(t[-1]) + 1) for t in targets)
        out[box] = bits[np.ix_(*sources)]
    return out
