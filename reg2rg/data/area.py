"""Area resizing of whole numbers, as torch's adaptive average pooling does it to the last bit, for a volume that is empty
outside a box.

Cell i of N along an axis of n voxels averages voxels ⌊i·n/N⌋ … ⌈(i+1)·n/N⌉, also when enlarging. Windows are summed axis by
axis, a few planes at a time, and divided last: sums of whole numbers are exact, no float copy of the volume is made, and the
work is that of the box alone. It stays in the calling thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from .boxes import Box, whole

PLANES = 4  # of the output at a time: their sums stay in the processor's cache

Rows = Callable[[int, int], np.ndarray]  # planes start … stop of the box, (x, Y, Z), of a type that holds a window's sum
After = Callable[[np.ndarray], object]  # changes finished cells in place


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """The windows of n → size that touch a part: the first's index, their ends within the part, and their whole lengths."""

    first: int
    start: np.ndarray
    stop: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, n: int, size: int, part: slice) -> _Windows:
        cell = np.arange(size)
        start, stop = cell * n // size, -((-(cell + 1) * n) // size)
        length = (stop - start).astype(np.float32)
        touch = np.flatnonzero((stop > part.start) & (start < part.stop))
        start, stop = np.maximum(start[touch], part.start), np.minimum(stop[touch], part.stop)
        return cls(int(touch[0]), start - part.start, stop - part.start, length[touch])

    @property
    def cells(self) -> slice:
        """Their place among all."""
        return slice(self.first, self.first + len(self.start))


def area_mean(rows: Rows, box: Box, shape: Sequence[int], out: np.ndarray, after: After | None = None) -> None:
    """Resizes a volume of `shape` that is zero outside `box` to the float32 cells `out`, writing those that the box touches.

    `rows(a, b)` gives planes a … b of the box, whose voxels are whole numbers. `after` is called with each finished group of
    cells before it is written.
    """
    x, y, z = (_Windows.of(n, size, part) for n, size, part in zip(shape, out.shape, box, strict=True))
    cells = out[x.cells, y.cells, z.cells]
    lines = np.zeros((PLANES, len(y.start), shape[2]), dtype=np.float32)
    for i in range(0, len(x.start), PLANES):
        group = slice(i, min(i + PLANES, len(x.start)))
        some = lines[: group.stop - i]
        some[..., box[2]] = _along_y(_along_x(rows, x.start[group], x.stop[group]), y)
        means = _mean_along_z(some, out.shape[2])[..., z.cells]
        np.rint(means * z.length, out=means)  # the sums again: division comes in torch's order
        means /= x.length[group, None, None]
        means /= y.length[:, None]
        means /= z.length
        if after:
            after(means)
        cells[group] = means


def _along_x(rows: Rows, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    first = int(start[0])
    planes = rows(first, int(stop[-1]))
    sums = np.empty((len(start), *planes.shape[1:]), dtype=planes.dtype)
    for i, (a, b) in enumerate(zip(start - first, stop - first, strict=True)):
        np.add.reduce(planes[a:b], axis=0, out=sums[i])
    return sums


def _along_y(planes: np.ndarray, y: _Windows) -> np.ndarray:
    sums = np.take(planes, y.start, axis=1)
    for k in range(1, int((y.stop - y.start).max())):
        longer = np.flatnonzero(y.stop - y.start > k)
        if len(longer) == len(y.start):
            sums += np.take(planes, y.start + k, axis=1)
        else:
            sums[:, longer] += np.take(planes, y.start[longer] + k, axis=1)
    return sums


def _mean_along_z(lines: np.ndarray, size: int) -> np.ndarray:
    """By torch, since windows along contiguous memory are slow in numpy; one channel keeps it in this thread."""
    return F.adaptive_avg_pool3d(torch.from_numpy(lines)[None], (*lines.shape[:2], size))[0].numpy()


def resize(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Area resize of whole numbers (X, Y, Z) to float32 `size`."""
    out = np.empty(tuple(size), dtype=np.float32)
    area_mean(lambda a, b: array[a:b].astype(np.float32), whole(array.shape), array.shape, out)
    return out
