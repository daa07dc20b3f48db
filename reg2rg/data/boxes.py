"""Boxes: where in a volume something lies, and the facts about a study from which crops are cut without reading the whole.

In: the voxels of a study. Out: `Facts`, which `data.store` keeps beside them: the frame (what isn't air), and for each region
its voxels, the box of its mask and the box of what isn't air in it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..anatomy import REGIONS

FOREGROUND = -1000  # HU; voxels above it count as content when cropping
BLOCK = (64, 64, 64)
_NOT_AIR = len(REGIONS)  # while measuring: a bit of its own for what isn't air

Box = tuple[slice, slice, slice]


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole array."""
    x, y, z = shape
    return slice(0, x), slice(0, y), slice(0, z)


def extent(box: Box) -> tuple[int, int, int]:
    """Voxels along (X, Y, Z)."""
    x, y, z = box
    return x.stop - x.start, y.stop - y.start, z.stop - z.start


def voxels_of(box: Box) -> int:
    """Voxels in a box."""
    x, y, z = extent(box)
    return x * y * z


def overlap(a: Box, b: Box) -> Box | None:
    """What two boxes share, or None."""
    both = tuple(slice(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return both if all(part.start < part.stop for part in both) else None  # type: ignore[return-value]


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of `boxes`, of which there is at least one."""
    axes = zip(*boxes, strict=True)
    return tuple(slice(min(p.start for p in axis), max(p.stop for p in axis)) for axis in axes)  # type: ignore[return-value]


def inside(box: Box, outer: Box) -> Box:
    """`box` as counted from the first voxel of `outer`."""
    return tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))  # type: ignore[return-value]


def holds(outer: Box, box: Box) -> bool:
    """Whether `box` lies within `outer`."""
    return all(o.start <= b.start and b.stop <= o.stop for b, o in zip(box, outer, strict=True))


def bounding_box(inside: np.ndarray) -> Box | None:
    """The smallest box of True voxels of (X, Y, Z), or None where there is none."""
    along_x = np.flatnonzero(inside.any(axis=(1, 2)))
    if not along_x.size:
        return None
    inside = inside[along_x[0] : along_x[-1] + 1]
    along_y, along_z = np.flatnonzero(inside.any(axis=(0, 2))), np.flatnonzero(inside.any(axis=(0, 1)))
    return tuple(slice(int(a[0]), int(a[-1]) + 1) for a in (along_x, along_y, along_z))  # type: ignore[return-value]


def blocks(shape: Sequence[int], size: Sequence[int] = BLOCK) -> Iterator[Box]:
    """Boxes of `size` that fill `shape`, cut off at its ends."""
    axes = ([slice(start, min(start + step, n)) for start in range(0, n, step)] for n, step in zip(shape, size, strict=True))
    yield from itertools.product(*axes)


def c_order(array: np.ndarray) -> np.ndarray:
    """A copy of (X, Y, Z) in which Z lies together; block by block, since across memory that is several times faster."""
    out = np.empty(array.shape, dtype=array.dtype)
    for box in blocks(array.shape):
        out[box] = array[box]
    return out


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """Where the content of a study of `shape` lies.

    `frame`: the box of its voxels above -1000 HU, None where all is air. For regions with a voxel, `voxels` counts them and
    `boxes` holds the box of the mask; `contents` the box of the region's voxels above -1000 HU, where it has one.
    """

    shape: tuple[int, int, int]
    frame: Box | None
    boxes: Mapping[str, Box]
    contents: Mapping[str, Box]
    voxels: Mapping[str, int]


class _Shadow:
    """For each axis, which bits occur in each of its planes."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.axes = [np.zeros(n, dtype=np.uint16) for n in shape]

    def add(self, bits: np.ndarray, box: Box) -> None:
        """Adds the bits of a block that lies at `box`."""
        face = np.bitwise_or.reduce(bits, axis=0)
        parts = np.bitwise_or.reduce(bits.reshape(len(bits), -1), axis=1), *(np.bitwise_or.reduce(face, axis=a) for a in (1, 0))
        for axis, place, part in zip(self.axes, box, parts, strict=True):
            axis[place] |= part

    def box(self, bit: int, order: Sequence[int]) -> Box | None:
        """The box of the voxels that have `bit`; `order[i]` says which axis of the study axis i is."""
        planes = [np.flatnonzero(self.axes[i] >> np.uint16(bit) & 1) for i in np.argsort(order)]
        found = all(p.size for p in planes)
        return tuple(slice(int(p[0]), int(p[-1]) + 1) for p in planes) if found else None  # type: ignore[return-value]


def measure(hu: np.ndarray, bits: np.ndarray) -> Facts:
    """The facts of a study, for all regions at once, in one pass of small blocks. `hu` int16, `bits` uint16, both (X, Y, Z)."""
    order = sorted(range(3), key=lambda axis: -abs(hu.strides[axis]))  # as it lies in memory: much faster
    masks, contents, counts = _survey(hu.transpose(order), bits.transpose(order))
    values = np.arange(counts.size)
    voxels = {r: int(counts[values >> i & 1 == 1].sum()) for i, r in enumerate(REGIONS)}

    def boxes(shadow: _Shadow) -> dict[str, Box]:
        found = {r: shadow.box(i, order) for i, r in enumerate(REGIONS)}
        return {r: box for r, box in found.items() if box}

    frame = contents.box(_NOT_AIR, order)
    return Facts(tuple(hu.shape), frame, boxes(masks), boxes(contents), {r: n for r, n in voxels.items() if n})  # type: ignore[arg-type]


def _survey(hu: np.ndarray, bits: np.ndarray) -> tuple[_Shadow, _Shadow, np.ndarray]:
    """The shadows of the masks and of what isn't air in them, and how often each combination of bits occurs."""
    masks, contents = _Shadow(hu.shape), _Shadow(hu.shape)
    counts = np.zeros(1 << len(REGIONS), dtype=np.int64)
    for box in blocks(hu.shape):
        block = np.ascontiguousarray(bits[box])
        if block.any():
            masks.add(block, box)
            counts += np.bincount(block.ravel(), minlength=counts.size)
        content = np.ascontiguousarray(hu[box]) > FOREGROUND
        if content.any():
            contents.add((block | np.uint16(1 << _NOT_AIR)) * content, box)
    return masks, contents, counts
