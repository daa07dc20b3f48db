"""CT-RATE and RadGenome-ChestCT as they come from the hub: names, tables, and what the headers have wrong."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, write_nifti

from reg2rg.anatomy import FINDINGS
from reg2rg.ct import read_scan
from reg2rg.data import ctrate
from reg2rg.data.layouts import detect, discover
from reg2rg.errors import UserError

HU = hu_array()
META = [
    "VolumeName",
    "Manufacturer",
    "RescaleIntercept",
    "RescaleSlope",
    "NumberofSlices",
    "XYSpacing",
    "ZSpacing",
    "Rows",
    "Columns",
]


def table(path: Path, columns: list[str], rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def volume_of(root: Path, name: str, array: np.ndarray = HU, part: str = "") -> Path:
    split, patient, letter, _ = name.split("_")
    place = f"{part or split}/{split}_{patient}/{split}_{patient}_{letter}/{name}.nii.gz"
    return write_nifti(root / place, array, np.eye(4))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A small CT-RATE: one raw volume, one in HU, one without a row."""
    root = tmp_path / "dataset"
    volume_of(root, "train_1_a_1", HU + 1024)
    volume_of(root, "train_2_a_2", HU)
    volume_of(root, "valid_1_a_1", HU)
    row = ["Maker", -1024, 1, 12, "[3.0, 2.5]", 4.0, 24, 20]
    table(root / "metadata/train_metadata.csv", META, [["train_1_a_1.nii.gz", *row], ["train_2_a_2.nii.gz", *row]])
    table(root / "metadata/validation_metadata.csv", META, [["valid_9_a_1.nii.gz", *row]])
    reports = ["VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN"]
    table(root / "radiology_text_reports/train_reports.csv", reports, [["train_1_a_1.nii.gz", "-", "-", "Clear lungs.", "-"],
          ["train_2_a_2.nii.gz", "-", "-", "Not given.", "Not given."]])  # fmt: skip
    table(root / "radiology_text_reports/validation_reports.csv", reports, [["valid_1_a_1.nii.gz", "-", "-", "A node.", "-"]])
    for part in ("train", "valid"):
        rows = [[f"{part}_1_a_1.nii.gz", 1, *[0] * 17]]
        table(root / f"multi_abnormality_labels/{part}_predicted_labels.csv", ["VolumeName", *FINDINGS], rows)
    return tmp_path


def test_ct_rate_as_it_is_published(hub: Path) -> None:
    for root in (hub, hub / "dataset"):
        assert detect(root) == "radgenome"
        first, second, third = discover(root)
        assert [s.id for s in (first, second, third)] == ["train_1_a_1", "train_2_a_2", "valid_1_a_1"]
        assert [s.report for s in (first, second, third)] == ["Clear lungs.", "", "A node."]
        assert [s.split for s in (first, second, third)] == ["train", "train", "valid"]
        assert first.labels[FINDINGS[0]] == third.labels[FINDINGS[0]] == 1 and not second.labels


def test_its_headers_are_put_right_from_its_metadata(hub: Path) -> None:
    first, second, third = (read_scan(s.scan, whole=False) for s in discover(hub))
    for volume, words in ((first, "rescale (slope 1, intercept -1024) was applied"), (second, "was not applied again")):
        # XYSpacing is DICOM's pair: of rows (y) first
        assert np.array_equal(volume.hu, HU) and volume.spacing == pytest.approx((2.5, 3.0, 4.0))
        assert words in " ".join(volume.notes) and "the table was used" in " ".join(volume.notes)
    assert third.spacing == (1.0, 1.0, 1.0) and "no row for it" in " ".join(third.notes)


def test_the_store_says_what_was_done(hub: Path) -> None:
    from reg2rg.data.store import Store
    from reg2rg.preprocess import preprocess

    summary = preprocess(hub, hub / "store", segmenter="threshold")
    failures = {row["study"]: row for row in summary.failures}
    for study in ("train_1_a_1", "train_2_a_2"):
        if study in failures:
            # the made-up scan shows no chest; it was read
            assert failures[study]["stage"] != "read"
        else:
            notes = Store(hub / "store").study(study).provenance["notes"]
            assert any("metadata table" in note for note in notes)
    assert failures["valid_1_a_1"]["stage"] == "read" and "20×24×12 mm" in failures["valid_1_a_1"]["error"]


def test_the_re_release_wins_over_the_first(tmp_path: Path) -> None:
    volume_of(tmp_path, "train_1_a_1", HU + 1024)
    volume_of(tmp_path, "train_1_a_1", HU, part="train_fixed")
    table(tmp_path / "train_metadata.csv", META, [["train_1_a_1.nii.gz", "", -1024, 1, 12, "[3, 2.5]", 4, 24, 20]])
    (source,) = discover(tmp_path)
    assert source.id == "train_1_a_1" and source.split == "train" and "train_fixed" in str(source.scan.files[0])


def test_radgenome_beside_ct_rate_s_tables(hub: Path) -> None:
    """RadGenome's volumes are resampled, under the names that CT-RATE's metadata describes."""
    root = hub / "dataset"
    write_nifti(root / "train_preprocessed/train_1/train_1a/train_1_a_1.nii.gz", HU)
    touch(root / "train_region_mask/seg_train_1_a_1/lung.nii.gz")
    touch(root / "train_anatomy_mask/seg_train_1_a_1/liver.nii.gz")
    rows = [["train_1_a_1.nii.gz", "lung", "Lungs of RadGenome."], ["train_1_a_1.nii.gz", "", "Whole of RadGenome."]]
    table(root / "radgenome_files/train_region_report.csv", ["Volumename", "Anatomy", "Sentence"], rows)
    (source,) = discover(hub)
    assert source.masks == root / "train_region_mask/seg_train_1_a_1" and source.split == "train"
    assert source.report == "Whole of RadGenome." and source.region_reports == {"lung": "Lungs of RadGenome."}
    volume = read_scan(source.scan)
    assert volume.spacing == pytest.approx((3.0, 2.5, 4.0)) and volume.notes == ()


def test_a_split_table_wins_over_folder_names(hub: Path) -> None:
    table(hub / "split.csv", ["Volumename", "Split"], [["train_1_a_1", "test"]])
    assert [s.split for s in discover(hub)] == ["test", "", ""]


BAD = {
    "no slope": (["", -1024, "", 12, "[3, 2.5]", 4, 24, 20], "rescale makes no sense", (2.5, 3.0, 4.0)),
    "slope 0": (["", -1024, 0, 12, "[3, 2.5]", 4, 24, 20], "rescale makes no sense", (2.5, 3.0, 4.0)),
    "spacing in words": (["", 0, 1, 12, "unknown", 4, 24, 20], "spacing makes no sense", None),
    "one number": (["", 0, 1, 12, "[3]", 4, 24, 20], "spacing makes no sense", None),
    "no height": (["", 0, 1, 12, "[3, 3]", "", 24, 20], "spacing makes no sense", None),
    "a spacing of metres": (["", 0, 1, 12, "[3000, 3000]", 4, 24, 20], "spacing makes no sense", None),
    "not a number": (["", 0, 1, 12, "[NaN, 3]", 4, 24, 20], "spacing makes no sense", None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_makes_no_sense_is_noted(tmp_path: Path, name: str) -> None:
    row, words, spacing = BAD[name]
    facts = ctrate.read_facts(table(tmp_path / "t.csv", META, [["train_1_a_1.nii.gz", *row]]))["train_1_a_1"]
    assert words in " ".join(facts.notes) and facts.spacing == spacing


def test_rows_that_differ_leave_none_and_tables_without_columns_are_named(tmp_path: Path) -> None:
    rows = [["train_1_a_1.nii.gz", "", i, 1, 12, "[3, 3]", 4, 24, 20] for i in (0, -1024)]
    facts = ctrate.read_facts(table(tmp_path / "t.csv", META, rows))["train_1_a_1"]
    assert facts.slope is None and facts.spacing is None and "differ" in facts.notes[0]
    volume_of(tmp_path / "in", "train_1_a_1")
    table(tmp_path / "in/metadata/train_metadata.csv", ["name", "age"], [["train_1_a_1", 3]])
    with pytest.raises(UserError, match="lacks its columns"):
        discover(tmp_path / "in")
    # a table of that name outside metadata/ may be anything
    (tmp_path / "in/metadata/train_metadata.csv").rename(tmp_path / "in/my_metadata.csv")
    assert detect(tmp_path / "in") == "folder" and len(discover(tmp_path / "in")) == 1


def test_a_wide_table_of_many_rows_needs_little_memory(tmp_path: Path) -> None:
    """CT-RATE's has some forty columns and 47,149 rows."""
    wide = [*META, *(f"Other{i}" for i in range(35))]
    rows = [[f"train_{i}_a_1.nii.gz", "", -1024, 1, 12, "[0.7, 0.7]", 1.5, 512, 512, *["value"] * 35] for i in range(3000)]
    path = table(tmp_path / "t.csv", wide, rows)
    tracemalloc.start()
    facts = ctrate.read_facts(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(facts) == 3000 and peak < 3000 * 3000 + 8 * path.stat().st_size


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.text(max_size=20), min_size=8, max_size=8))
def test_any_cells_give_facts(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    path = table(tmp_path_factory.mktemp("t") / "t.csv", META, [["a.nii.gz", *cells]])
    for facts in ctrate.read_facts(path).values():
        assert facts.spacing is None or all(0 < s < 100 for s in facts.spacing)
