"""What the page says of a report: names judged, missing regions, remarks, settings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from page_studies import make_mask, make_report, make_volume

from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.page.study import flat_settings, reference_report, split_sentences, view_study


def test_names_are_judged_against_the_masks_area() -> None:
    study = view_study(make_report(), make_volume(), make_mask())
    assert [s.state for s in study.sections] == ["match", "other", "unnamed"]
    assert (study.named_right, study.mistakes) == (1, 2)
    assert [s.same for s in study.sections] == [False, True, False]
    assert all(s.grounded for s in study.sections)


def test_regions_without_a_mask_come_with_their_reason() -> None:
    missing = dict(view_study(make_report(), make_volume(), make_mask()).missing)
    assert missing["thyroid"] == "not in the field of view"
    assert missing["bone"] == "this segmenter can't give it"
    assert set(missing) == {"abdomen", "bone", "breast", "esophagus", "mediastinum", "thyroid", "trachea and bronchie"}


def test_a_mask_that_no_section_tells_of_is_still_listed() -> None:
    report = GroundedReport("a", (RegionSection(0, "lung", "lung", None, "Clear."),), "Clear.")
    study = view_study(report, make_volume(), make_mask())
    assert [s.region for s in study.silent] == ["heart", "pleura"]


def test_without_voxels_nothing_is_grounded_and_nothing_called_missing() -> None:
    study = view_study(make_report())
    assert not study.pictured and not study.missing and not any(s.grounded for s in study.sections)


def test_remarks_leave_out_what_the_banner_says() -> None:
    study = view_study(make_report(), make_volume(), make_mask(), banner=["Trained on phantoms."])
    assert study.remarks == ("Turned from LPS.", "The heart is rough.")
    assert view_study(make_report()).remarks == ("Trained on phantoms.",)


def test_only_the_files_name_of_the_source_is_shown() -> None:
    assert view_study(make_report(), make_volume(), make_mask()).source == "scan.nii.gz"


def test_settings_are_flat_rows() -> None:
    rows = dict(flat_settings({"run": "r", "decoding": {"sample": False, "stop": [1, 2]}, "none": None, "warnings": ["x"]}))
    assert rows == {"run": "r", "decoding.sample": "no", "decoding.stop": "1, 2"}


def test_a_reference_is_shown_without_judging_names() -> None:
    report = reference_report("a", {"lung": "Clear.", "heart": "Normal."}, "")
    assert [s.region for s in report.sections] == ["heart", "lung"]
    study = view_study(report)
    assert study.is_reference and {s.state for s in study.sections} == {"reference"} and not study.mistakes


@given(st.text())
def test_sentences_keep_every_word(text: str) -> None:
    assert " ".join(split_sentences(text)).split() == text.split()


def test_a_measure_does_not_end_a_sentence() -> None:
    text = "A nodule of 4.5 mm is seen. No effusion. 2 cysts in the liver."
    assert split_sentences(text) == ["A nodule of 4.5 mm is seen.", "No effusion. 2 cysts in the liver."]
