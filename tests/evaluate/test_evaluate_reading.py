"""Report files of every origin, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate import read_labels, read_reports, write_labels
from reg2rg.evaluate.labels import matched
from reg2rg.evaluate.reading import read_texts
from reg2rg.evaluate.rows import study_key

WHOLE = (
    "AccNum,Question,GT_whole_report,Pred_whole_report\n"
    'c1,q,"The region 0 is lung: Clear lungs. The region 1 is heart: Normal heart. ",'
    '"The region 0 is lung: Clear. The region 1 is pleura: Smooth. The region 2 is heart: Big heart. "\n'
    'c2,q,"The region 0 is heart: Normal. The other report is: {pleura: No effusion.}{other: }",'
    '"The region 0 is heart: Fine. The other report is {pleura: None.}"\n'
)


def write(folder: Path, text: str | bytes, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_json_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    section = RegionSection(0, "lung", "pleura", 0.5, "Clear.", "Clear lungs.")
    report = GroundedReport("s1", (section,), "Clear.", "Clear lungs.", {"seed": 1})
    path = write(tmp_path, "\n".join(json.dumps(report.to_json()) for _ in range(1)) + "\n\n", "r.jsonl")
    assert list(read_reports(path).reports) == [report]
    assert list(read_reports(write(tmp_path, json.dumps([report.to_json()]), "r.json")).reports) == [report]


def test_published_whole_reports_become_sections(tmp_path: Path) -> None:
    first, second = read_reports(write(tmp_path, WHOLE)).reports
    assert first.report == "Clear. Smooth. Big heart."
    assert first.reference == "Clear lungs. Normal heart."
    assert [(s.index, s.region, s.named, s.report) for s in first.sections] == [
        (0, "lung", "lung", "Clear."),
        (1, "heart", "pleura", "Smooth."),
        (2, "", "heart", "Big heart."),
    ]
    assert (second.report, second.reference) == ("Fine. None.", "Normal. No effusion.")


def test_a_repeated_slot_keeps_its_last_mention_and_a_missing_one_stays_empty(tmp_path: Path) -> None:
    text = (
        'AccNum,GT_whole_report,Pred_whole_report\na,"The region 0 is lung: L. The region 1 is bone: B.",'
        '"The region 0 is bone: one. The region 0 is lung: two."\n'
    )
    sections = read_reports(write(tmp_path, text)).reports[0].sections
    assert [(s.region, s.named, s.report) for s in sections] == [
        ("", "bone", "one."),
        ("lung", "lung", "two."),
        ("bone", "", ""),
    ]


def test_a_region_file_and_a_folder_of_them(tmp_path: Path) -> None:
    head = "AccNum,GT_combined_report,Pred_combined_report\n"
    lung = write(tmp_path, head + "a,Clear lungs.,Clear.\nb,Nodule.,Nodules.\n", "lung_reports.csv")
    write(tmp_path, head + "a,Normal heart.,Fine heart.\n", "heart_reports.csv")
    (section,) = read_reports(lung).reports[0].sections
    assert (section.region, section.named, section.report) == ("lung", "", "Clear.")
    whole = {r.study: r for r in read_reports(tmp_path).reports}
    assert whole["a"].report == "Fine heart. Clear."
    assert [s.region for s in whole["b"].sections] == ["lung"]
    assert read_reports(tmp_path).notes


def test_any_csv_by_column_names(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffscan;mine;truth\nx;A;B\n")
    (report,) = read_reports(path, "mine", "truth", "scan").reports
    assert (report.study, report.report, report.reference) == ("x", "A", "B")
    found = read_reports(write(tmp_path, "prediction,reference\nA,B\nC,D\n", "other.csv"))
    assert [r.study for r in found.reports] == ["row 1", "row 2"]
    assert "numbered" in found.notes[0]


def test_cells_that_are_missing_or_nan(tmp_path: Path) -> None:
    path = write(tmp_path, "study,prediction,reference\na,,Clear.\nb,nan,Clear.\nc,Clear.,NaN\nd,Clear.\n")
    reports = {r.study: r for r in read_reports(path).reports}
    assert reports["a"].report == reports["b"].report == ""
    assert reports["c"].reference == reports["d"].reference == ""


def test_repeated_ids_are_counted_and_left_out(tmp_path: Path) -> None:
    found = read_reports(write(tmp_path, "study,prediction,reference\na,1,2\na,3,4\nb,5,6\n"))
    assert [r.report for r in found.reports] == ["1", "5"]
    assert found.excluded == {"the id stood before": {"n": 1, "studies": ["a"]}}


def test_vlm3d_predictions_with_references_beside_them(tmp_path: Path) -> None:
    def document(*rows: tuple[str, str]) -> str:
        reports = [{"input_image_name": name, "report": text} for name, text in rows]
        return json.dumps({"name": "Generated reports", "type": "Report generation", "generated_reports": reports})

    predicted = write(tmp_path, document(("v1.mha", "Clear."), ("v2.mha", "Nodule.")), "p.json")
    truth = write(tmp_path, "VolumeName,report\nv1.nii.gz,Clear lungs.\nv3.nii.gz,Effusion.\n", "t.csv")
    found = read_reports(predicted, references=truth)
    assert [(r.study, r.report, r.reference) for r in found.reports] == [("v1.mha", "Clear.", "Clear lungs.")]
    assert {k: v["studies"] for k, v in found.excluded.items()} == {
        "the id has no partner among the references": ["v2.mha"],
        "the reference has no prediction": ["v3"],
    }
    truth = write(tmp_path, document(("v1.mha", "Clear lungs."), ("v2.mha", "A nodule.")), "t.json")
    assert [r.reference for r in read_reports(predicted, references=truth).reports] == ["Clear lungs.", "A nodule."]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (b"", "r.csv", "empty"),
        (b"study,prediction,reference\n", "r.csv", "no row"),
        (b"study,question\na,b\n", "r.csv", "predicted reports.*'question'.*--prediction-column"),
        (b"study,prediction\na,b\n", "r.csv", "reference reports.*--reference-column"),
        (b"study,prediction,prediction,reference\na,b,c,d\n", "r.csv", "'prediction' stands twice"),
        ("study,prediction,reference\na,é,b\n".encode("latin-1"), "r.csv", "isn't UTF-8.*0xe9.*iconv"),
        (b'{"study": "a", "report": "b"}\n{"study": "a", "rep', "r.jsonl", "line 2 isn't valid JSON"),
        (b'{"study": "a"}\n', "r.jsonl", "entry 1: a report has no text field 'report'"),
        (b"[1]", "r.json", "entry 1 isn't a JSON object"),
        (b'{"generated_reports": [{"report": "x"}]}', "r.json", "input_image_name"),
    ],
)
def test_bad_files_get_one_clear_sentence(tmp_path: Path, text: bytes, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_reports(write(tmp_path, text, name))


def test_missing_files_and_columns_name_their_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "study,prediction,reference\na,b,c\n", "reports.csv")
    with pytest.raises(UserError, match=r"no such file.*'reports\.csv'"):
        read_reports(tmp_path / "report.csv")
    with pytest.raises(UserError, match=r"no column 'predicton'.*'prediction'"):
        read_reports(tmp_path / "reports.csv", prediction_column="predicton")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"_reports\.csv"):
        read_reports(tmp_path / "empty")


def test_a_quoted_cell_may_hold_line_breaks_and_rare_separators(tmp_path: Path) -> None:
    path = write(tmp_path, 'study,prediction,reference\na,"one\ntwo\x85three, four",B\x0bC\n')
    (report,) = read_reports(path).reports
    assert report.report == "one\ntwo\x85three, four"
    assert report.reference == "B\x0bC"


def test_labels_are_written_and_read_back_and_match_without_endings(tmp_path: Path) -> None:
    import numpy as np

    bits = np.random.default_rng(0).integers(0, 2, (3, 18), dtype=np.uint8)
    write_labels(tmp_path / "new" / "labels.csv", ["a.nii.gz", "b", "c.mha"], bits)
    labels = read_labels(tmp_path / "new" / "labels.csv")
    assert [list(labels[key].values()) for key in ("a", "b", "c")] == bits.tolist()
    assert matched(["a.mha", "zz"], labels) == [labels["a"], None]
    assert study_key("Valid_1_a_1.NII.GZ") == "Valid_1_a_1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("Emphysema", "Emphysem"), "'Emphysema' is missing.*'Emphysem'"),
        (lambda t: t.replace("a,0", "a,2"), "holds '2', not 0 or 1"),
        (lambda t: t.replace("VolumeName", "what"), "--id-column"),
        (lambda t: t + t.splitlines()[1].replace("a,0", "a,1") + "\n", "labels 'a' again"),
    ],
)
def test_bad_labels_get_one_clear_sentence(tmp_path: Path, change: object, message: str) -> None:
    import numpy as np

    path = tmp_path / "labels.csv"
    write_labels(path, ["a"], np.zeros((1, 18), dtype=np.uint8))
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        read_labels(path)


def test_texts_of_region_rows_are_joined_by_study(tmp_path: Path) -> None:
    path = write(tmp_path, "Volumename,Anatomy,Sentence\nv.nii.gz,lung,Clear.\nv.nii.gz,heart,Normal.\n")
    assert read_texts(path) == (["v.nii.gz"], ["Clear. Normal."], "Volumename")
    line = GroundedReport("s", (), "mine", "truth").to_json()
    reports = write(tmp_path, json.dumps(line) + "\n", "r.jsonl")
    assert read_texts(reports)[1] == ["mine"]
    assert read_texts(reports, "reference")[1] == ["truth"]
