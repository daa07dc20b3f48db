"""The coarse grid: morphology in millimetres equals distance maps, and the way to the coarse grid and back is smooth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from reg2rg_plugins.segmenters import _grid
from reg2rg_plugins.segmenters._hull import hull_slices
from scipy import ndimage

spacings = st.tuples(*[st.floats(0.7, 8.0)] * 3)
masks = stnp.arrays(bool, stnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=9))


@settings(max_examples=60, deadline=None)
@given(masks, spacings, st.floats(0.1, 20.0))
def test_morphology_equals_distance_maps(mask: np.ndarray, spacing: _grid.Spacing, mm: float) -> None:
    if mask.any():
        near = ndimage.distance_transform_edt(~mask, sampling=spacing)
        sure = np.abs(near - mm) > 1e-6  # rounding decides at exactly mm
        assert np.array_equal(_grid.dilate(mask, mm, spacing)[sure], (near <= mm)[sure])
    if mask.any() and not mask.all():
        deep = ndimage.distance_transform_edt(mask, sampling=spacing)
        sure = np.abs(deep - mm) > 1e-6
        assert np.array_equal(_grid.erode(mask, mm, spacing)[sure], (deep > mm)[sure])


def test_the_volumes_border_is_no_surface() -> None:
    assert _grid.erode(np.ones((4, 4, 4), bool), 50.0, (1.0, 1.0, 1.0)).all()
    assert not _grid.dilate(np.zeros((4, 4, 4), bool), 5.0, (1.0, 1.0, 1.0)).any()


@pytest.mark.parametrize(
    "voxel, step", [((0.98, 0.98, 3.0), (3, 3, 1)), ((0.7, 0.7, 1.0), (4, 4, 3)), ((4.2, 4.2, 4.0), (1, 1, 1))]
)
def test_blocks_are_about_three_millimetres(voxel: _grid.Spacing, step: tuple[int, int, int]) -> None:
    grid = _grid.coarse(np.zeros((25, 25, 25), np.int16), voxel)
    assert grid.step == step and grid.spacing == tuple(v * k for v, k in zip(voxel, step, strict=True))
    assert grid.voxel == pytest.approx(voxel)


def test_block_means_are_means() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 7)).astype(np.int16)
    grid = _grid.coarse(hu, (1.0, 1.0, 1.0))
    assert grid.hu.shape == (3, 2, 2) and grid.hu.dtype == np.float32
    assert grid.hu[1, 0, 1] == pytest.approx(hu[3:6, 0:3, 3:6].mean(), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(4, 30)] * 3), st.tuples(*[st.sampled_from([0.6, 1.0, 1.5, 3.0])] * 3))
def test_refined_masks_fill_the_volume_where_all_is_set(shape: tuple[int, int, int], voxel: _grid.Spacing) -> None:
    grid = _grid.coarse(np.zeros(shape, np.int16), voxel)
    assert _grid.refine(np.ones(grid.hu.shape, bool), grid).all()
    assert not _grid.refine(np.zeros(grid.hu.shape, bool), grid).any()


def test_a_ball_survives_the_way_to_the_coarse_grid_and_back() -> None:
    x, y, z = np.ogrid[:61, :61, :61]
    ball = (x - 27) ** 2 + (y - 31) ** 2 + (z - 30) ** 2 < 20**2
    grid = _grid.coarse(ball.astype(np.int16) * 100, (1.0, 1.0, 1.0))
    back = _grid.refine(grid.hu > 50, grid)
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.96


def test_hulls_are_convex_and_stay_in_their_slice() -> None:
    mask = np.zeros((20, 20, 3), bool)
    mask[4, 4, 1] = mask[15, 4, 1] = mask[4, 15, 1] = True
    hull = hull_slices(mask, (2.0, 2.0, 5.0))
    assert hull[8, 8, 1] and not hull[14, 14, 1] and not hull[:, :, [0, 2]].any()


def test_small_parts_and_holes() -> None:
    mask = np.zeros((12, 12, 4), bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[9, 9, 1] = True
    assert _grid.keep_larger(mask, 5).sum() == mask.sum() - 1 == _grid.largest(mask).sum()
    assert _grid.fill_slices(mask)[3, 3].all() and _grid.bounds(mask) == (slice(1, 10), slice(1, 10), slice(0, 4))
