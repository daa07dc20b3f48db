"""Views: parity with the official preprocessing, and what Local Feature Decoupling promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden import cases, failures
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.data.views import bounding_box, make_views, resize, resize_sparse
from reg2rg.errors import UserError
from reg2rg.recipe import Views


def study(hu: np.ndarray, masks: dict[str, np.ndarray]) -> tuple[Volume, RegionMask]:
    return Volume(hu, np.eye(4)), RegionMask.from_masks(masks)


def test_views_equal_the_official_preprocessing(shared: Path) -> None:
    found = cases(shared, "preprocess")
    assert len(found) >= 2 and not failures(found)


def body(shape: tuple[int, int, int] = (24, 20, 12)) -> tuple[np.ndarray, np.ndarray]:
    hu = np.full(shape, -1024, np.int16)
    hu[2:-2, 2:-2, :] = 40
    heart = np.zeros(shape, bool)
    heart[8:14, 6:12, 3:7] = True
    hu[heart] = 100
    return hu, heart


def test_texture_is_cropped_and_geometry_is_not() -> None:
    hu, heart = body()
    views = make_views(*study(hu, {"heart": heart}), Views(size=(8, 8, 4)), REGIONS)
    assert views.regions == ("heart",)
    assert torch.allclose(views.textures[0], torch.tensor((100 + 400) / 600), atol=1e-6)  # only heart in the crop
    assert 0 < views.masks[0].mean() < 0.2  # the mask keeps its place in the whole


def test_masked_texture_keeps_the_frame() -> None:
    hu, heart = body()
    views = make_views(*study(hu, {"heart": heart}), Views(size=(8, 8, 4), texture="masked"), REGIONS)
    assert views.textures.min() == -1 and views.textures.max() > -1
    assert (views.textures[0] > -1).float().mean() < 0.5


@pytest.mark.parametrize("regions", [{}, {"lung": np.zeros((24, 20, 12), bool)}])
def test_regions_without_content_are_left_out(regions: dict[str, np.ndarray]) -> None:
    hu, heart = body()
    air = np.zeros_like(heart)
    air[0, 0, 0] = True
    views = make_views(*study(hu, {"heart": heart, "pleura": air, **regions}), Views(size=(4, 4, 2)), REGIONS)
    assert views.regions == ("heart",)


def test_air_alone_is_refused() -> None:
    hu = np.full((8, 8, 8), -1024, np.int16)
    with pytest.raises(UserError, match="nothing but air"):
        make_views(*study(hu, {"heart": np.ones(hu.shape, bool)}), Views(size=(4, 4, 2)), REGIONS)


sizes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(deadline=None, max_examples=50)
@given(shape=st.tuples(*[st.integers(2, 14)] * 3), size=sizes, seed=st.integers(0, 10**6))
def test_sparse_resize_equals_area_resize(shape: tuple[int, int, int], size: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.float32)
    low = [rng.integers(0, n) for n in shape]
    part = tuple(slice(a, rng.integers(a + 1, n + 1)) for a, n in zip(low, shape, strict=True))
    array[part] = rng.random(array[part].shape, dtype=np.float32)
    box = bounding_box(array > 0)
    assert box is not None
    assert torch.allclose(resize_sparse(array[box], box, shape, size), resize(array, size), atol=1e-6)
