"""Area resizing: torch's adaptive average pooling to the last bit, with the work of a box alone."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from reg2rg.data.area import area_mean, resize
from reg2rg.data.boxes import bounding_box, inside

shapes = st.tuples(*[st.integers(1, 40)] * 3)


def several(size: tuple[int, int, int]) -> bool:
    return max(size) > 1  # a single cell torch takes as a mean, rounded otherwise


sizes = st.tuples(*[st.integers(1, 24)] * 3).filter(several)


def pooled(array: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    return F.adaptive_avg_pool3d(torch.from_numpy(array.astype(np.float32))[None], size)[0].numpy()


@settings(deadline=None, max_examples=60)
@given(shape=shapes, size=sizes, seed=st.integers(0, 10**6))
def test_whole_volumes_are_resized_to_the_last_bit(shape: tuple[int, int, int], size: tuple[int, int, int], seed: int) -> None:
    hu = np.random.default_rng(seed).integers(-1024, 3072, shape).astype(np.int16)
    expected = pooled(hu, size)
    assert np.array_equal(resize(hu, size), expected)
    assert np.array_equal(resize(np.asfortranarray(hu), size), expected)


@settings(deadline=None, max_examples=60)
@given(shape=shapes, size=sizes, seed=st.integers(0, 10**6), dtype=st.sampled_from([np.uint16, np.float32]))
def test_a_box_in_emptiness_is_resized_to_the_last_bit(
    shape: tuple[int, int, int], size: tuple[int, int, int], seed: int, dtype: type
) -> None:
    rng = np.random.default_rng(seed)
    low = [int(rng.integers(0, n)) for n in shape]
    box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, shape, strict=True))
    mask = np.zeros(shape, dtype)
    mask[box] = rng.integers(0, 2, mask[box].shape)
    out = np.zeros(size, np.float32)
    area_mean(lambda a, b: mask[box][a:b], box, shape, out)
    assert np.array_equal(out, pooled(mask, size))


def test_finished_cells_are_changed_in_place_and_others_left_alone() -> None:
    array = np.zeros((12, 10, 8), np.uint16)
    array[4:6, 5:7, 1:3] = 1
    box = bounding_box(array > 0)
    assert box is not None and inside(box, box) == (slice(0, 2), slice(0, 2), slice(0, 2))
    out = np.full((6, 5, 4), -7, np.float32)
    area_mean(lambda a, b: array[box][a:b], box, array.shape, out, lambda cells: np.multiply(cells, 2, out=cells))
    touched = pooled(array, out.shape) > 0
    assert np.array_equal(out, np.where(touched, 2 * pooled(array, out.shape), -7))
