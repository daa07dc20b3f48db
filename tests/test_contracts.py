"""Contracts: what a step may hand to the next is checked where it is made, and read-only from then on."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import GroundedReport, Prompt, RegionMask, RegionSection, Span, Study, Volume
from reg2rg.errors import UserError

AFFINE = np.diag([0.8, 0.9, 2.5, 1.0])


def volume(shape: tuple[int, ...] = (4, 5, 6), affine: np.ndarray = AFFINE, dtype: Any = np.int16) -> Volume:
    return Volume(np.zeros(shape, dtype), affine)


# --- Volume --------------------------------------------------------------------------------------------------------


def test_a_volume_knows_its_geometry() -> None:
    ct = volume()
    assert ct.shape == (4, 5, 6) and ct.spacing == pytest.approx((0.8, 0.9, 2.5))
    assert ct.voxel_ml == pytest.approx(0.8 * 0.9 * 2.5 / 1000)
    assert ct.affine.dtype == np.float64


def test_an_oblique_volume_keeps_its_spacing() -> None:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.7, 1.5])
    assert volume(affine=affine).spacing == pytest.approx((0.7, 0.7, 1.5))


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        ((4, 5), np.int16, "2-D int16"),
        ((4, 5, 6, 1), np.int16, "4-D int16"),
        ((4, 5, 6), np.float32, "3-D float32"),
        ((4, 0, 6), np.int16, "has no voxel"),
    ],
)
def test_what_is_no_volume_is_refused(shape: tuple[int, ...], dtype: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        volume(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("affine", "said"),
    [
        (np.eye(3), "invertible 4×4"),
        (np.diag([1.0, 1, 0, 1]), "invertible 4×4"),
        (np.diag([1.0, np.nan, 1, 1]), "invertible 4×4"),
        (np.diag([-1.0, 1, 1, 1]), "isn't in RAS"),
        (np.eye(4)[[1, 0, 2, 3]], "isn't in RAS"),
    ],
)
def test_an_affine_that_is_not_ras_is_refused(affine: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        volume(affine=affine)


def test_nobody_downstream_can_write_into_a_volume() -> None:
    ct = volume()
    with pytest.raises(ValueError, match="read-only"):
        ct.hu[0, 0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        ct.hu = np.zeros((1, 1, 1), np.int16)  # type: ignore[misc]


def test_making_a_volume_copies_nothing_and_leaves_the_callers_array_writable() -> None:
    array = np.zeros((4, 5, 6), np.int16)
    ct = Volume(array, AFFINE)
    array[1, 1, 1] = 7
    assert ct.hu[1, 1, 1] == 7


# --- RegionMask ----------------------------------------------------------------------------------------------------

masks = st.dictionaries(
    st.sampled_from(REGIONS), arrays.arrays(bool, (3, 4, 2), elements=st.booleans()), min_size=1, max_size=len(REGIONS)
)


@given(masks)
def test_masks_come_back_out_of_the_bits(given_masks: dict[str, np.ndarray]) -> None:
    packed = RegionMask.from_masks(given_masks)
    assert packed.bits.dtype == np.uint16 and packed.given == set(given_masks)
    for region, mask in given_masks.items():
        assert (packed.mask(region) == mask).all()
    assert packed.voxels() == {r: int(given_masks[r].sum()) for r in REGIONS if r in given_masks}
    assert packed.present() == tuple(r for r in REGIONS if r in given_masks and given_masks[r].any())


@given(masks)
def test_each_region_is_present_or_missing_with_its_reason(given_masks: dict[str, np.ndarray]) -> None:
    packed = RegionMask.from_masks(given_masks)
    assert {*packed.present(), *packed.missing()} == set(REGIONS)
    assert not set(packed.present()) & set(packed.missing())
    for region, reason in packed.missing().items():
        assert ("field of view" in reason) == (region in given_masks)


def test_regions_may_overlap() -> None:
    whole = np.ones((2, 2, 2), bool)
    assert RegionMask.from_masks({"lung": whole, "pleura": whole}).present() == ("lung", "pleura")


@pytest.mark.parametrize("order", ["C", "F"])
def test_voxels_are_counted_in_any_memory_order(order: Any) -> None:
    bits = np.zeros((200, 210, 120), np.uint16, order=order)  # larger than one piece of the count
    bits[:150, 5:, :] = 1 << REGIONS.index("lung")
    assert RegionMask(bits, frozenset({"lung", "heart"})).voxels() == {"heart": 0, "lung": 150 * 205 * 120}


@pytest.mark.parametrize(
    ("bits", "given_regions", "said"),
    [
        (np.zeros((2, 2), np.uint16), (), "2-D uint16"),
        (np.zeros((2, 2, 2), np.uint8), (), "3-D uint8"),
        (np.zeros((2, 2, 2), np.uint16), ("liver",), "unknown region 'liver'"),
        (np.ones((2, 2, 2), np.uint16), ("lung",), r"bit 0 \(abdomen\)"),
        (np.full((2, 2, 2), 1 << 12, np.uint16), ("lung",), r"bit 12 \(no region\)"),
    ],
)
def test_a_mask_that_contradicts_itself_is_refused(bits: np.ndarray, given_regions: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RegionMask(bits, frozenset(given_regions))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({}, "no region mask"),
        ({"liver": np.ones((2, 2, 2), bool)}, "unknown region 'liver'"),
        ({"lung": np.ones((2, 2, 2), bool), "heart": np.ones((2, 2, 3), bool)}, "'heart' is"),
    ],
)
def test_masks_that_do_not_fit_are_refused(bad: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RegionMask.from_masks(bad)


# --- Study, Prompt -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", "a/b", "a\\b", ".", "..", "a\nb", "a\0b"])
def test_an_id_is_a_file_name(bad: str) -> None:
    with pytest.raises(UserError, match="can't be a study's id"):
        Study(bad)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"region_reports": {"liver": "Fine."}}, "unknown region 'liver'"),
        ({"labels": {"Gout": 1}}, "unknown label 'Gout'"),
        ({"labels": {"Emphysema": 2}}, "which is 0 or 1"),
    ],
)
def test_a_study_with_unknown_words_is_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Study("s1", **facts)


def prompt(**change: Any) -> Prompt:
    fields: dict[str, Any] = {
        "ids": (1, 2, 3, 4), "labels": (-100, -100, 3, 4), "weights": (0.0, 0.0, 1.0, 1.0), "spans": (Span(0, 2, -1),),
        "prompt_length": 2, "vocabulary": 10, "regions": (),
    }  # fmt: skip
    return Prompt(**{**fields, **change})


def test_a_prompts_parts_fit_together() -> None:
    assert prompt().spans[0].slot == -1
    with pytest.raises(UserError, match="differ in length"):
        prompt(labels=(1, 2))
    for span in (Span(1, 1, 0), Span(1, 3, 0), Span(-1, 1, 0)):
        with pytest.raises(UserError, match="outside the prompt"):
            prompt(spans=(span,))


# --- GroundedReport ------------------------------------------------------------------------------------------------

sections = st.builds(
    RegionSection,
    index=st.integers(0, 20),
    region=st.sampled_from(REGIONS),
    named=st.sampled_from(["", *REGIONS]),
    confidence=st.none() | st.floats(0, 1),
    report=st.text(max_size=40),
    reference=st.text(max_size=40),
)
reports = st.builds(
    GroundedReport,
    study=st.text(min_size=1, max_size=10),
    sections=st.lists(sections, max_size=4).map(tuple),
    report=st.text(max_size=60),
    reference=st.text(max_size=60),
    settings=st.dictionaries(st.text(max_size=5), st.booleans() | st.text(max_size=5), max_size=3),
)


@given(reports)
def test_a_report_comes_back_from_its_line(report: GroundedReport) -> None:
    assert GroundedReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@given(reports)
def test_sections_by_region_keep_the_first_of_each(report: GroundedReport) -> None:
    for region, section in report.by_region.items():
        assert section is next(s for s in report.sections if s.region == region)


def test_a_line_of_the_reports_file_has_the_fields_of_the_interface() -> None:
    line = GroundedReport("s1", (RegionSection(0, "lung", "lung", 0.9, "Clear.", "Clear."),), "Clear.").to_json()
    assert set(line) == {"study", "report", "reference", "regions", "settings"}
    assert set(line["regions"][0]) == {"index", "region", "named", "confidence", "report", "reference"}


def test_absent_and_null_fields_are_empty() -> None:
    report = GroundedReport.from_json(
        {"study": "s", "report": "r", "regions": [{"region": "lung", "named": None}], "settings": None}
    )
    assert report.sections == (RegionSection(0, "lung", "", None, "", ""),) and report.reference == ""


LINES: list[tuple[Any, str]] = [
    ([], "a report isn't an object"),
    ({"report": "x"}, "no text field 'study'"),
    ({"study": 3, "report": "x"}, "no text field 'study'"),
    ({"study": "s"}, "no text field 'report'"),
    ({"regions": 5}, "'regions' of study 's' isn't a list"),
    ({"regions": {"lung": "x"}}, "'regions' of study 's' isn't a list"),
    ({"settings": "greedy"}, "'settings' isn't an object"),
    ({"regions": ["lung"]}, "section 0 of study 's' isn't an object"),
    ({"regions": [{"index": "one"}]}, "'index' in section 0 of study 's' is 'one'"),
    ({"regions": [{"confidence": "high"}]}, "'confidence' in section 0 of study 's' is 'high'"),
    ({"regions": [{"confidence": 1.5}]}, "not a number in 0–1"),
    ({"regions": [{}, {"report": 3}]}, "'report' in section 1 of study 's' is 3, not a text"),
    ({"reference": ["a"]}, "'reference' in study 's'"),
]


@pytest.mark.parametrize(("line", "said"), LINES)
def test_a_faulty_line_names_its_study_section_and_field(line: Any, said: str) -> None:
    if isinstance(line, dict) and not {"study", "report"} & set(line):
        line = {"study": "s", "report": "x", **line}
    with pytest.raises(UserError) as caught:
        GroundedReport.from_json(line)
    assert said in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["study", "report", "reference", "regions", "settings"])


@given(st.dictionaries(fields, json_values) | json_values)
def test_any_json_is_a_report_or_a_users_fault(line: Any) -> None:
    try:
        GroundedReport.from_json(line)
    except UserError as error:
        assert "docs/formats.md" in str(error)
