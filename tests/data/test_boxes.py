"""Boxes: the facts of a study are those that plain counting gives, and a box is read as if cut from the whole."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg.anatomy import REGIONS
from reg2rg.data import chunks
from reg2rg.data.boxes import Box, around, blocks, bounding_box, extent, holds, measure, overlap, voxels_of, whole
from reg2rg.data.chunks import read_blocks, read_box, write_array


def random_box(rng: np.random.Generator, shape: tuple[int, ...]) -> Box:
    low = [int(rng.integers(0, n)) for n in shape]
    return tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, shape, strict=True))  # type: ignore[return-value]


def painted(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A volume of air with a few blocks of tissue, and boxes as masks that overlap and may lie over air."""
    hu, bits = np.full(shape, -1024, np.int16), np.zeros(shape, np.uint16)
    for _ in range(3):
        part = random_box(rng, shape)
        hu[part] = rng.integers(-1100, 900, hu[part].shape)
    for i in rng.choice(len(REGIONS), 5, replace=False):
        part = random_box(rng, shape)
        bits[part] |= (rng.random(bits[part].shape) < 0.5).astype(np.uint16) << np.uint16(i)
    return hu, bits


shapes = st.tuples(*[st.integers(1, 80)] * 3)


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=st.integers(0, 10**6), order=st.permutations(range(3)))
def test_facts_are_those_of_plain_counting(shape: tuple[int, int, int], seed: int, order: list[int]) -> None:
    """However the arrays lie in memory."""
    hu, bits = painted(np.random.default_rng(seed), shape)
    lying = np.ascontiguousarray(hu.transpose(order)).transpose(np.argsort(order))
    facts = measure(lying[::-1][::-1], bits)
    assert facts.shape == shape and facts.frame == bounding_box(hu > -1000)
    for i, region in enumerate(REGIONS):
        mask = bits >> i & 1 != 0
        assert facts.voxels.get(region, 0) == mask.sum()
        assert facts.boxes.get(region) == bounding_box(mask)
        assert facts.contents.get(region) == bounding_box(mask & (hu > -1000))


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=st.integers(0, 10**6), fast=st.booleans(), threads=st.sampled_from([1, 2]))
def test_a_box_is_read_as_if_cut_from_the_whole(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], seed: int, fast: bool, threads: int
) -> None:
    rng = np.random.default_rng(seed)
    array, _ = painted(rng, shape)
    array[array == -1024] = 0  # chunks that aren't stored
    boxes = [random_box(rng, shape) for _ in range(3)]
    kept = chunks._zlib, chunks.TARGET
    try:
        chunks.TARGET = tuple(map(int, rng.integers(3, 40, 3)))
        chunks._zlib = kept[0] if fast else None
        with h5py.File(tmp_path_factory.mktemp("box") / "a.h5", "w") as file:
            write_array(file, "a", array)
            for box in (*boxes, whole(shape)):
                assert np.array_equal(read_box(file["a"], box, threads), array[box])
            together = read_blocks(file["a"], [*boxes, boxes[0]], threads)
            assert all(np.array_equal(together[box], array[box]) for box in boxes)
            assert sum(part.size for _, part in together.parts) <= sum(map(voxels_of, boxes))
    finally:
        chunks._zlib, chunks.TARGET = kept


def test_only_the_chunks_that_a_box_touches_are_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("isal")
    array = np.arange(64 * 128 * 64, dtype=np.int64).reshape(64, 128, 64).astype(np.int16)
    inflated: list[Box] = []
    plain = chunks._chunk
    monkeypatch.setattr(chunks, "_chunk", lambda dataset, chunk, part: (inflated.append(chunk), plain(dataset, chunk, part))[1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_array(file, "a", array)
        box = (slice(30, 40), slice(70, 80), slice(3, 5))
        assert np.array_equal(read_box(file["a"], box), array[box])
    assert inflated == [(slice(x, x + 32), slice(64, 128), slice(0, 64)) for x in (0, 32)]


def test_what_is_stored_unpacked_is_read_too(tmp_path: Path) -> None:
    """HDF5 leaves out a filter that gains nothing, and says so beside the chunk."""
    array = np.arange(2 * 8**3, dtype=np.int16).reshape(16, 8, 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", array.shape, "<i2", chunks=(8, 8, 8), compression="gzip", shuffle=True)
        data[:8] = array[:8]
        data.id.write_direct_chunk((8, 0, 0), array[8:].tobytes(), filter_mask=0b11)
        assert np.array_equal(read_box(data, (slice(1, 12), slice(0, 8), slice(3, 4))), array[1:12, :, 3:4])


@given(shape=shapes, seed=st.integers(0, 10**6))
def test_boxes_meet_and_hold_each_other(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_box(rng, shape), random_box(rng, shape)
    both = np.zeros(shape, bool)
    both[b] = True
    assert overlap(a, b) == overlap(b, a)
    assert voxels_of(overlap(a, b) or (slice(0, 0),) * 3) == both[a].sum()
    assert holds(around([a, b]), a) and holds(around([a, b]), b) and holds(whole(shape), a)
    assert holds(a, b) == (overlap(a, b) == b)


def test_blocks_fill_a_shape_once() -> None:
    seen = np.zeros((70, 5, 64), int)
    for box in blocks(seen.shape):
        seen[box] += 1
        assert max(extent(box)) <= 64
    assert (seen == 1).all()
