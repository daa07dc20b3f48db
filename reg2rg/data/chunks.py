"""Voxel arrays in HDF5: chunked, byte-shuffled, gzip level 1: any HDF5 reader opens them.

Where igzip (package isal) is installed, chunks are packed and unpacked by it, about five times faster than through HDF5's
own zlib and in the same format; chunks of zeros aren't stored at all.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..shares import side_by_side
from .boxes import Box, around, extent, holds, inside, overlap, voxels_of, whole

_zlib: Any = None
with contextlib.suppress(ImportError):
    from isal import isal_zlib as _zlib

TARGET = (32, 64, 64)
LEVEL = 1


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of about 32×64×64 voxels that divide the array as evenly as possible."""
    return tuple(-(-n // max(1, -(-n // target))) for n, target in zip(shape, TARGET, strict=True))


def _corners(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(0, n, c) for n, c in zip(shape, chunk, strict=True)))


def write_array(file: Any, name: str, array: np.ndarray) -> None:
    """Writes a two-byte integer array (X, Y, Z) as dataset `name` of an open HDF5 file."""
    chunk = chunk_shape(array.shape)
    settings = {"chunks": chunk, "compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
    if _zlib is None:
        file.create_dataset(name, data=array, **settings)
        return
    dataset = file.create_dataset(name, shape=array.shape, dtype=array.dtype.newbyteorder("<"), **settings)
    for corner in _corners(array.shape, chunk):
        part = array[tuple(slice(c, c + n) for c, n in zip(corner, chunk, strict=True))]
        block = np.zeros(chunk, dtype=dataset.dtype)  # a chunk at an end is stored whole
        block[tuple(slice(0, n) for n in part.shape)] = part
        if block.any():
            dataset.id.write_direct_chunk(corner, _zlib.compress(_shuffled(block), LEVEL))


def _shuffled(block: np.ndarray) -> np.ndarray:
    """HDF5's shuffle of two-byte integers: all low bytes, then all high bytes."""
    words = block.ravel().view(np.uint16)
    out = np.empty((2, words.size), dtype=np.uint8)
    np.bitwise_and(words, 0xFF, out=out[0], casting="unsafe")
    np.right_shift(words, 8, out=out[1], casting="unsafe")
    return out


def _unshuffled(data: bytes, dtype: np.dtype[Any]) -> np.ndarray:
    low, high = np.frombuffer(data, dtype=np.uint8).reshape(2, -1)
    words = high.astype(np.uint16)
    words <<= 8
    words |= low
    return words.view(dtype)


def read_array(dataset: Any, threads: int = 1) -> np.ndarray:
    """Reads a whole dataset written by `write_array`."""
    return read_box(dataset, whole(dataset.shape), threads)


def read_box(dataset: Any, box: Box, threads: int = 1) -> np.ndarray:
    """Reads a box of a dataset (X, Y, Z): only the chunks that it touches, inflated in `threads` threads."""
    packed = dataset.shuffle and dataset.compression == "gzip" and dataset.dtype.itemsize == 2
    if _zlib is None or not packed or not hasattr(dataset.id, "chunk_iter"):
        return dataset[box]  # type: ignore[no-any-return]
    touched = _touched(dataset, box)
    if touched is None:
        return dataset[box]  # type: ignore[no-any-return]
    out = np.zeros(extent(box), dtype=dataset.dtype)

    def load(chunk: Box) -> None:
        shared = overlap(chunk, box)
        if shared:
            out[inside(shared, box)] = _chunk(dataset, chunk, shared)

    side_by_side(load, touched, threads)
    return out


def _touched(dataset: Any, box: Box) -> list[Box] | None:
    """The stored chunks that `box` touches, or None where HDF5 stored one of them unpacked, since that gained nothing."""
    stored: list[Any] = []
    dataset.id.chunk_iter(stored.append)
    size, touched = dataset.chunks, []
    for info in stored:
        x, y, z = (slice(c, c + n) for c, n in zip(info.chunk_offset, size, strict=True))
        if overlap((x, y, z), box):
            touched.append((x, y, z))
            if info.filter_mask:
                return None
    return touched


def _chunk(dataset: Any, chunk: Box, part: Box) -> np.ndarray:
    """The `part` of one chunk; both are places in the dataset."""
    _, raw = dataset.id.read_direct_chunk([along.start for along in chunk])
    values = _unshuffled(_zlib.decompress(raw, bufsize=voxels_of(chunk) * 2), dataset.dtype)
    return values.reshape(extent(chunk))[inside(part, chunk)]


class Blocks:
    """Parts of a volume that are in memory; `blocks[box]` is a view of that box, which lies in one of them."""

    def __init__(self, parts: Iterable[tuple[Box, np.ndarray]]) -> None:
        self.parts = list(parts)

    def __getitem__(self, box: Box) -> np.ndarray:
        place, part = next(p for p in self.parts if holds(p[0], box))
        return part[inside(box, place)]


def read_blocks(dataset: Any, boxes: Sequence[Box], threads: int = 1) -> Blocks:
    """Reads several boxes: each alone, or all at once where that reads no more voxels."""
    if not boxes:
        return Blocks(())
    alone = [box for i, box in enumerate(boxes) if box not in boxes[:i]]
    together = around(alone)
    if voxels_of(together) <= sum(map(voxels_of, alone)):
        alone = [together]
    return Blocks((box, read_box(dataset, box, threads)) for box in alone)
