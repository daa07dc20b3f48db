"""The picture of a study: which side is where, one scale for both slices, region colours, and a small file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples_body import Masks, chest, study

from reg2rg.anatomy import PALETTE, REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.data.boxes import measure
from reg2rg.preprocess.qc_picture import GAP, HEIGHT, WIDTH, draw


def pixels(hu: np.ndarray, masks: Masks, spacing: tuple[float, float, float] = (4.0, 4.0, 5.0)) -> np.ndarray:
    volume, mask = study(hu, masks, spacing)
    return np.asarray(Image.open(io.BytesIO(draw(volume, mask, measure(volume.hu, mask.bits)))).convert("RGB"))


def rim(picture: np.ndarray, region: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels in a region's own colour."""
    colour = [int(PALETTE[region][i : i + 2], 16) for i in (1, 3, 5)]
    return np.nonzero((picture == colour).all(axis=2))


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coronal and the axial slice."""
    width = (picture.shape[1] - GAP) // 2
    return picture[:, :width], picture[:, width + GAP :]


def test_the_patients_right_is_left_head_and_front_are_up() -> None:
    coronal, axial = halves(pixels(*chest()))
    middle = coronal.shape[1] / 2
    for view in (coronal, axial):
        assert rim(view, "heart")[1].mean() > middle  # the heart lies left, so it's drawn right
    assert rim(coronal, "abdomen")[0].mean() > rim(coronal, "lung")[0].mean()
    assert rim(axial, "heart")[0].mean() < rim(axial, "bone")[0][rim(axial, "bone")[0] > axial.shape[0] / 2].mean()
    marks = np.nonzero((pixels(*chest())[:18] == (255, 224, 138)).all(axis=2))[1]
    assert marks.min() < 12 and marks.max() > pixels(*chest()).shape[1] - 14


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 2.0), (1.0, 2.0, 5.0)])
def test_a_ball_is_round_in_both_slices(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(200 / s) for s in spacing)
    place = [(np.arange(n) + 0.5) * s - 100 for n, s in zip(shape, spacing, strict=True)]
    ball = sum(p**2 for p in np.meshgrid(*place, indexing="ij")) < 60**2
    for view in halves(pixels(np.zeros(shape, np.int16), {"heart": ball}, spacing)):
        rows, columns = rim(view, "heart")
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.08)


def test_every_region_has_its_colour() -> None:
    hu, masks = chest()
    for region, mask in masks.items():
        assert rim(pixels(hu, {region: mask}), region)[0].size, region


def test_it_fits_its_frame_and_is_small_and_the_same_each_time() -> None:
    hu, masks = chest()
    noisy = (hu + np.random.default_rng(0).normal(0, 25, hu.shape)).astype(np.int16)
    volume, mask = study(noisy, masks)
    facts = measure(volume.hu, mask.bits)
    data = draw(volume, mask, facts)
    height, width = np.asarray(Image.open(io.BytesIO(data))).shape
    assert (height, WIDTH - 100 < width <= WIDTH) == (HEIGHT, True) and 2_000 < len(data) < 15_000
    assert data == draw(volume, mask, facts)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.sampled_from([0.3, 1.0, 30.0])] * 3), st.integers(0, 1023))
@settings(max_examples=60)
def test_any_study_has_a_picture(shape: tuple[int, int, int], spacing: tuple[float, float, float], value: int) -> None:
    volume = Volume(np.zeros(shape, np.int16), np.diag([*spacing, 1.0]))
    mask = RegionMask(np.full(shape, value, np.uint16), frozenset(REGIONS))
    image = Image.open(io.BytesIO(draw(volume, mask, measure(volume.hu, mask.bits))))
    assert image.size[0] <= WIDTH + 2 and image.size[1] <= HEIGHT + 1
