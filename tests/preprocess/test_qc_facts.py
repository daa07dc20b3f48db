"""What quality control measures: the drawn answers, exact where that is promised, whatever the grid and the memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_body import LUNG_VOXELS, SHAPE, VOXEL_ML, Masks, chest, put, study

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.data.boxes import measure
from reg2rg.preprocess.qc import Quality, measure_quality


def quality(hu: np.ndarray, masks: Masks, spacing: tuple[float, float, float] = (4.0, 4.0, 5.0)) -> Quality:
    volume, mask = study(hu, masks, spacing)
    return measure_quality(volume, mask, measure(volume.hu, mask.bits))


def test_the_drawn_chest_is_measured_as_drawn() -> None:
    hu, masks = chest()
    found = quality(hu, masks)
    assert {r: p.ml for r, p in found.regions.items()} == {r: pytest.approx(m.sum() * VOXEL_ML) for r, m in masks.items()}
    assert found.lungs == tuple(pytest.approx(n * VOXEL_ML, abs=0.01) for n in LUNG_VOXELS)
    assert found.spine == (160.0, 40.0)
    heart = found.regions["heart"]
    assert heart.centre == (144.0, 148.0, 180.0) and heart.hu == 45 and heart.pieces == (1.0,) and heart.cut == ()
    assert found.regions["bone"].cut == ("foot", "head") and found.regions["lung"].hu == -850
    assert (found.dice, found.inside) == (0.0, 0.0)
    assert found.liver == pytest.approx((57 - 20) * 4, abs=6)  # the spine and the heart's edge are no liver


def test_a_mirrored_study_has_mirrored_facts() -> None:
    hu, masks = chest()
    plain, turned = quality(hu, masks), quality(hu[::-1], {r: m[::-1] for r, m in masks.items()})
    assert plain.lungs and plain.spine and turned.spine and plain.liver and turned.liver
    assert turned.lungs == tuple(reversed(plain.lungs))
    assert turned.liver == pytest.approx(-plain.liver)
    for region, part in plain.regions.items():
        twin = turned.regions[region]
        assert (twin.ml, twin.hu, twin.pieces) == (part.ml, part.hu, part.pieces)
        assert part.centre and twin.centre and twin.centre[0] == pytest.approx(320 - part.centre[0], abs=0.2)


@given(st.lists(st.integers(1, 9), min_size=6, max_size=6), st.tuples(*[st.sampled_from([0.7, 1.3, 2.5, 5.0])] * 3))
@settings(max_examples=30)
def test_volumes_are_exact_at_any_spacing(sides: list[int], spacing: tuple[float, float, float]) -> None:
    lung, pleura = (np.zeros((20, 20, 20), bool) for _ in range(2))
    put(lung, tuple((5, 5 + n) for n in sides[:3]), True)
    put(pleura, tuple((6, 6 + n) for n in sides[3:]), True)
    found = quality(np.full(lung.shape, -800, np.int16), {"lung": lung, "pleura": pleura}, spacing)
    ml = np.prod(spacing) / 1000
    assert found.regions["lung"].ml == pytest.approx(np.prod(sides[:3]) * ml, abs=0.005)
    both = int((lung & pleura).sum())
    assert found.dice == pytest.approx(2 * both / (lung.sum() + pleura.sum()), abs=5e-5)
    assert found.inside == pytest.approx(both / pleura.sum(), abs=5e-5)


@given(st.integers(8, 30), st.integers(8, 30), st.booleans())
@settings(max_examples=20)
def test_lungs_are_told_apart_with_and_without_a_spine(left: int, right: int, touching: bool) -> None:
    lung, bone = (np.zeros((90, 20, 30), bool) for _ in range(2))
    put(lung, ((40 - left, 40), (4, 18), (3, 28)), True)
    put(lung, ((50, 50 + right), (4, 18), (3, 28)), True)
    if touching:
        put(lung, ((40, 50), (16, 18), (20, 21)), True)
    put(bone, ((43, 47), (0, 3), (0, 30)), True)
    hu = np.full(lung.shape, -800, np.int16)
    for masks in ({"lung": lung, "bone": bone}, {"lung": lung}):
        found = quality(hu, masks, (4.0, 4.0, 4.0)).lungs
        assert found and found[0] / found[1] == pytest.approx(left / right, rel=0.02)
        assert sum(found) == pytest.approx(lung.sum() * 0.064, abs=0.02)


def test_one_lung_alone_is_parted_by_the_spine_or_not_at_all() -> None:
    hu, masks = chest()
    masks["lung"][:40] = False
    assert quality(hu, masks).lungs == (0.0, pytest.approx(LUNG_VOXELS[1] * VOXEL_ML, abs=0.01))
    assert quality(hu, {"lung": masks["lung"]}).lungs is None


def test_not_given_differs_from_not_in_view() -> None:
    hu, masks = chest()
    masks["thyroid"][:] = False
    del masks["esophagus"]
    found = quality(hu, masks)
    assert found.regions["thyroid"].ml == 0 and found.regions["thyroid"].centre is None
    assert "esophagus" not in found.regions


def test_pieces_are_counted_by_what_they_hold() -> None:
    hu, masks = chest()
    put(masks["heart"], ((2, 6), (50, 59), (60, 70)), True)
    first, second = quality(hu, masks).regions["heart"].pieces
    assert first == pytest.approx(16 * 18 * 20 / (16 * 18 * 20 + 4 * 9 * 10), abs=1e-4) and first + second == pytest.approx(1)


def test_empty_slices_at_the_ends_are_no_field_of_view() -> None:
    hu, masks = chest()
    hu[:, :, 68:] = -1024
    for mask in masks.values():
        mask[:, :, 68:] = False
    assert "head" in quality(hu, masks).regions["lung"].cut


def test_the_order_in_memory_changes_nothing() -> None:
    hu, masks = chest()
    volume, mask = study(hu, masks)
    turned = Volume(np.asfortranarray(hu), volume.affine), RegionMask(np.asfortranarray(mask.bits), mask.given)
    facts = measure(volume.hu, mask.bits)
    assert measure_quality(volume, mask, facts) == measure_quality(*turned, facts)


@given(st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=60)
def test_any_study_has_facts_that_survive_json(shape: tuple[int, int, int], seed: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << len(REGIONS), shape).astype(np.uint16) * (rng.random(shape) < 0.5)
    volume = Volume(rng.integers(-1024, 900, shape).astype(np.int16), np.diag([spacing, 1.0, spacing, 1.0]))
    found = measure_quality(volume, RegionMask(bits, frozenset(REGIONS)), measure(volume.hu, bits))
    assert set(found.regions) == set(REGIONS)
    assert Quality.from_json(json.loads(json.dumps(found.to_json()))) == found
    for part in found.regions.values():
        assert sum(part.pieces) <= 1.001 and (part.centre is None or all(c >= 0 for c in part.centre))


@pytest.mark.parametrize("data", [None, {}, {"version": 0, "regions": {}}, "words"], ids=["none", "empty", "older", "words"])
def test_what_another_version_measured_is_nothing(data: object) -> None:
    assert Quality.from_json(data) is None


def test_the_shape_of_the_drawing_is_what_the_numbers_assume() -> None:
    assert chest()[0].shape == SHAPE and not (chest()[1]["lung"] & chest()[1]["heart"]).any()
