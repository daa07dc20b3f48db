"""Views: parity with the official preprocessing, what Local Feature Decoupling promises, and the recipe's other ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden import cases, failures
from torch.nn import functional as F

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.data.views import BACKGROUND, bounding_box, make_views
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


def area(array: np.ndarray, size: tuple[int, int, int]) -> torch.Tensor:
    return F.adaptive_avg_pool3d(torch.from_numpy(array.astype(np.float32))[None], size)[0]


def noisy(shape: tuple[int, int, int] = (45, 38, 29), seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A noisy body in air, with a heart inside and a pleura that reaches out of the body."""
    rng = np.random.default_rng(seed)
    index = np.indices(shape)
    hu = np.full(shape, -1024)
    inner = tuple(slice(3, n - 4) for n in shape)
    hu[inner] = rng.integers(-1024, 300, hu[inner].shape)
    centre = np.array(shape).reshape(3, 1, 1, 1) / 2
    heart = (((index - centre) / np.array([9, 8, 7]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1
    pleura = np.zeros(shape, bool)
    pleura[1:20, 10:30, 2:20] = rng.random((19, 20, 18)) < 0.5
    return hu.astype(np.int16), {"heart": heart, "pleura": pleura}


@pytest.mark.parametrize("size", [(16, 16, 8), (64, 50, 40), (45, 38, 29)])
def test_defaults_are_the_plain_way_to_the_last_bit(size: tuple[int, int, int]) -> None:
    """Mask, crop to what isn't air, area-resize with torch, window: nothing else, however it is done here."""
    hu, masks = noisy()
    views = make_views(*study(hu, masks), Views(size=size), REGIONS)
    frame = bounding_box(hu > -1000)
    assert frame is not None and views.image is not None
    assert torch.equal(views.image[0], (area(hu[frame], size).clamp(-1000, 200) + 400) / 600)
    for region, texture, soft in zip(views.regions, views.textures, views.masks, strict=True):
        alone = np.where(masks[region], hu, BACKGROUND)
        crop = bounding_box(alone > -1000)
        assert crop is not None
        assert torch.equal(texture[0], (area(alone[crop], size).clamp(-1000, 200) + 400) / 600)
        assert torch.equal(soft[0], area(masks[region][frame], size))


def test_memory_order_changes_nothing() -> None:
    hu, masks = noisy()
    expected = make_views(*study(hu, masks), Views(size=(9, 8, 7)), REGIONS)
    lying = np.asfortranarray(hu[::-1])[::-1]
    views = make_views(*study(lying, masks), Views(size=(9, 8, 7)), REGIONS)
    assert torch.equal(views.textures, expected.textures) and torch.equal(views.masks, expected.masks)


def test_crop_by_mask_takes_the_whole_box_of_the_mask() -> None:
    hu, masks = noisy()
    hu[masks["heart"] & (np.indices(hu.shape)[0] < 20)] = -1010  # dark, so that the two crops differ
    size = (12, 10, 8)
    by_mask, by_intensity = (make_views(*study(hu, masks), Views(size=size, crop=c), ["heart"]) for c in ("mask", "intensity"))
    box = bounding_box(masks["heart"])
    assert box is not None
    expected = (area(np.where(masks["heart"], hu, BACKGROUND)[box], size).clamp(-1000, 200) + 400) / 600
    assert torch.equal(by_mask.textures[0, 0], expected) and not torch.equal(by_intensity.textures[0, 0], expected)
    assert torch.equal(by_mask.masks, by_intensity.masks)


def test_crop_by_mask_keeps_a_region_over_air() -> None:
    hu, heart = body()
    airway = np.zeros_like(heart)
    airway[12:15, 12:15] = True
    hu[airway] = -1024
    for crop, expected in (("intensity", ("heart",)), ("mask", ("heart", "trachea and bronchie"))):
        parts = study(hu, {"heart": heart, "trachea and bronchie": airway})
        views = make_views(*parts, Views(size=(6, 6, 4), crop=crop), REGIONS)
        assert views.regions == expected
    assert (views.textures[1] == -1).all() and views.masks[1].max() > 0


def test_binary_masks_are_rounded_soft_ones() -> None:
    hu, masks = noisy()
    soft, binary = (make_views(*study(hu, masks), Views(size=(9, 8, 7), masks=m), REGIONS).masks for m in ("soft", "binary"))
    assert ((soft > 0) & (soft < 1)).any() and torch.equal(binary, (soft >= 0.5).float())


def test_few_voxels_count_as_absent() -> None:
    hu, masks = noisy()
    count = int(masks["heart"].sum())
    for least, expected in ((count, {"heart", "pleura"}), (count + 1, {"pleura"})):
        few = Views(size=(4, 4, 4), min_voxels=least)
        assert set(make_views(*study(hu, masks), few, REGIONS).regions) == expected


def widths_mm(view: torch.Tensor, room: tuple[float, float, float] = (256, 256, 192)) -> np.ndarray:
    """Along each axis, how far a soft shape reaches, in units in which the grid is `room`."""
    inside = view.numpy() > 0.5
    return np.array([inside.any(axis=other).sum() * r / n for other, r, n in zip(((1, 2), (0, 2), (0, 1)), room, view.shape)])  # noqa: B905


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (1.4, 0.9, 0.8)])
@pytest.mark.parametrize("size", [(64, 64, 16), (64, 64, 48), (32, 32, 32)])
def test_a_sphere_stays_a_sphere_where_the_aspect_is_kept(
    spacing: tuple[float, float, float], size: tuple[int, int, int]
) -> None:
    """In mm, whatever the voxels, the grid and the frame around it."""
    shape = tuple(int(n / s) for n, s in zip((100, 70, 60), spacing, strict=True))
    at = np.indices(shape) * np.array(spacing).reshape(3, 1, 1, 1) - np.array([55, 35, 30]).reshape(3, 1, 1, 1)
    ball = (at**2).sum(0) < 25**2
    hu = np.where(ball, 100, -500).astype(np.int16)
    volume, mask = Volume(hu, np.diag([*spacing, 1.0])), RegionMask.from_masks({"heart": ball})
    kept, stretched = (make_views(volume, mask, Views(size=size, aspect=a), ["heart"]) for a in ("keep", "stretch"))
    cell = max(r / n for r, n in zip((256, 256, 192), size, strict=True))
    for view, scale in ((kept.masks[0, 0], 256 / 100), ((kept.textures[0, 0] + 1) / 2, 192 / 50)):
        assert np.ptp(widths_mm(view)) <= 2 * cell + max(spacing) * scale
    assert np.ptp(widths_mm((stretched.textures[0, 0] + 1) / 2)) >= 64 - 2 * cell
    # the frame is 100×70×60 mm: along X it fills the room, elsewhere there is air on both sides alike
    shown = kept.image[0] > -0.999  # type: ignore[index]
    first, last = (int(np.flatnonzero(shown.any(2).any(0))[k]) for k in (0, -1))
    assert shown.any(2).any(1).all() and abs(first - (size[1] - 1 - last)) <= 1
    assert last + 1 - first == pytest.approx(0.7 * size[1], abs=1)


def test_masks_stay_in_register_with_the_global_view_where_the_aspect_is_kept() -> None:
    hu, heart = body()
    hu[heart], hu[~heart & (hu > -1000)] = 200, -900
    volume, mask = Volume(hu, np.diag([1.0, 1.5, 4.0, 1.0])), RegionMask.from_masks({"heart": heart})
    views = make_views(volume, mask, Views(size=(24, 24, 18), aspect="keep"), ["heart"])
    assert views.image is not None
    bright = views.image[0] > 0.5
    assert (
        torch.equal(bright, views.masks[0, 0] > 0.5 + 0.25 * 0.75) or (bright ^ (views.masks[0, 0] > 0.5)).float().mean() < 0.01
    )


@pytest.mark.parametrize("texture", ["masked", "none"])
def test_other_textures_go_with_every_way(texture: str) -> None:
    hu, masks = noisy()
    for aspect in ("keep", "stretch"):
        views = make_views(*study(hu, masks), Views(size=(12, 12, 8), texture=texture, crop="mask", aspect=aspect), REGIONS)
        assert views.regions == ("heart", "pleura") and len(views.masks) == 2
        assert len(views.textures) == (2 if texture == "masked" else 0)
        if texture == "masked":
            assert views.textures.min() == -1 and ((views.textures > -0.9) <= (views.masks > 0)).all()
