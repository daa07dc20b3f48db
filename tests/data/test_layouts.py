"""Layouts: which studies a folder holds, with which masks, texts, splits and labels, and what a bad table says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg.anatomy import FINDINGS, REGIONS
from reg2rg.data import tables
from reg2rg.data.layouts import detect, discover
from reg2rg.errors import UserError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def table(path: Path, columns: list[str], rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def radgenome(tmp_path: Path) -> Path:
    for i in (1, 2, 3):
        touch(tmp_path / f"volumes/train_{i}/train_{i}a/train_{i}_a_1.nii.gz")
    touch(tmp_path / "masks/seg_train_1_a_1/lung.nii.gz")
    touch(tmp_path / "masks/seg_train_2_a_1.nii.gz")
    rows = [
        ["train_1_a_1.nii.gz", "lung", "Clear lungs."],
        ["train_1_a_1.nii.gz", "heart", "A heart, with a comma."],
        ["train_1_a_1.nii.gz", "trachea and bronchi", "Open airways."],
        ["train_2_a_1.nii.gz", "", "The whole report."],
        ["train_2_a_1.nii.gz", "lung", "One."],
        ["train_2_a_1.nii.gz", "lung", "Two."],
        ["train_2_a_1.nii.gz", "others", "Something else."],
        ["train_2_a_1.nii.gz", "bone", "  "],
        ["elsewhere.nii.gz", "lung", "Not here."],
    ]
    table(tmp_path / "region_report.csv", ["Volumename", "Anatomy", "Sentence"], rows)
    table(tmp_path / "labels.csv", ["VolumeName", *FINDINGS], [["train_1_a_1.nii.gz", 1, *[0] * 16, ""]])
    table(tmp_path / "split.csv", ["Volumename", "Split"], [["train_1_a_1.nii.gz", "train"], ["train_2_a_1.nii.gz", "test"]])
    return tmp_path


def test_radgenome(radgenome: Path) -> None:
    assert detect(radgenome) == "radgenome"
    first, second, third = discover(radgenome)
    assert [s.id for s in (first, second, third)] == ["train_1_a_1", "train_2_a_1", "train_3_a_1"]
    assert first.masks == radgenome / "masks/seg_train_1_a_1" and second.masks == radgenome / "masks/seg_train_2_a_1.nii.gz"
    assert third.masks is None
    assert list(first.region_reports) == ["heart", "lung", "trachea and bronchie"]
    assert first.report == "A heart, with a comma. Clear lungs. Open airways."
    assert second.report == "The whole report."
    assert (first.split, second.split, third.split) == ("train", "test", "")
    assert first.labels[FINDINGS[0]] == 1 and first.labels[FINDINGS[1]] == 0 and FINDINGS[17] not in first.labels
    assert third.report == "" and not third.labels


def test_the_later_row_wins_and_it_is_said(radgenome: Path) -> None:
    second = discover(radgenome)[1]
    assert second.region_reports == {"lung": "Two."}
    assert any("'lung'" in n and "replaced" in n for n in second.notes) and any("'others'" in n for n in second.notes)


def test_the_published_folder_names(tmp_path: Path) -> None:
    touch(tmp_path / "train_preprocessed/train_1/train_1a/train_1_a_1.nii.gz")
    touch(tmp_path / "valid_preprocessed/valid_1/valid_1a/valid_1_a_1.nii.gz")
    touch(tmp_path / "train_region_mask/seg_train_1_a_1/lung.nii.gz")
    for part in ("train", "validation"):
        name = f"{part[:5]}_1_a_1.nii.gz"
        table(
            tmp_path / f"radgenome_files/{part}_region_report.csv",
            ["Volumename", "Anatomy", "Sentence"],
            [[name, "lung", part]],
        )
    first, second = discover(tmp_path)
    assert first.report == "train" and second.report == "validation"
    assert first.masks is not None and second.masks is None


def test_options_win_over_the_layout(radgenome: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    touch(other / "train_3_a_1/lung.nii.gz")
    reports = table(other / "r.csv", ["volumename", "ANATOMY", "Sentence"], [["train_3_a_1", "lung", "New."]])
    split = table(other / "s.csv", ["Volumename", "Split"], [["train_3_a_1", "Validation"]])
    sources = discover(radgenome, masks=other, reports=reports, split=split)
    assert [s.report for s in sources] == ["", "", "New."]
    assert [s.split for s in sources] == ["", "", "valid"]
    assert [s.masks for s in sources] == [None, None, other / "train_3_a_1"]


def test_folder_takes_every_image_but_not_the_masks(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "deep/b.nrrd", "c.mha", "notes.txt", "seg/a/lung.nii.gz"):
        touch(tmp_path / name)
    sources = discover(tmp_path, masks=tmp_path / "seg")
    assert [s.id for s in sources] == ["a", "b", "c"]
    assert sources[0].masks == tmp_path / "seg/a"
    alone = discover(tmp_path / "a.nii.gz", masks=tmp_path / "seg/a")
    assert [s.id for s in alone] == ["a"] and alone[0].masks == tmp_path / "seg/a"


def test_one_scan_with_one_label_map(tmp_path: Path) -> None:
    (source,) = discover(touch(tmp_path / "a.nii.gz"), masks=touch(tmp_path / "anything.nii.gz"))
    assert source.masks == tmp_path / "anything.nii.gz"


def test_ctrg_reads_csv_and_json_with_a_column_map(tmp_path: Path) -> None:
    for i in (0, 7):
        touch(tmp_path / f"images/{i}.nii.gz")
    rows = [{"id": 0, "finding": "None."}, {"id": 7, "finding": "Seven."}]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": rows[:1], "test": rows[1:]}))
    assert detect(tmp_path) == "ctrg"
    assert [(s.id, s.report, s.split) for s in discover(tmp_path)] == [("0", "None.", "train"), ("7", "Seven.", "test")]
    other = table(tmp_path / "x/t.csv", ["scan no", "words"], [["7.nii.gz", "Other."]])
    sources = discover(tmp_path, "ctrg", reports=other, columns={"id": "scan no", "report": "words"})
    assert [s.report for s in sources] == ["", "Other."]
    with pytest.raises(UserError, match="no column for the study") as caught:
        discover(tmp_path, "ctrg", reports=other)
    assert "scan no, words" in str(caught.value) and "--columns id=NAME" in str(caught.value)


BAD_TABLES = {
    "a column missing": ("Volumename,Anatomy,Sentense\nx,lung,y\n", ["'Sentence'", "Volumename, Anatomy, Sentense"]),
    "no header": ("train_1_a_1.nii.gz,lung,Clear.\n" * 2, ["column", "Volumename"]),
    "empty": ("", ["no rows"]),
    "header only": ("Volumename,Anatomy,Sentence\n", ["no rows"]),
    "no study fits": ("Volumename,Anatomy,Sentence\nother,lung,y\n", ["none of the table's studies", "'other'"]),
    "several rows a study": ("Volumename,report\ntrain_1_a_1,x\ntrain_1_a_1,y\n", ["several rows"]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_report_table_says_what_is_wanted(radgenome: Path, name: str) -> None:
    text, words = BAD_TABLES[name]
    path = radgenome / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        discover(radgenome, reports=path)
    assert all(word in str(caught.value) for word in words) and "bad.csv" in str(caught.value)


def test_bad_encoding_split_and_label(radgenome: Path) -> None:
    path = radgenome / "bad.csv"
    path.write_bytes("Volumename,Anatomy,Sentence\nä,lung,ß\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        discover(radgenome, reports=path)
    table(path, ["Volumename", "Split"], [["train_1_a_1", "holdout"]])
    with pytest.raises(UserError, match="'holdout' is no split"):
        discover(radgenome, split=path)
    table(radgenome / "labels.csv", ["VolumeName", *FINDINGS[:-1]], [["a", *[0] * 17]])
    with pytest.raises(UserError, match="Interlobular septal thickening"):
        discover(radgenome)
    table(radgenome / "labels.csv", ["VolumeName", *FINDINGS], [["a", "maybe", *[0] * 17]])
    with pytest.raises(UserError, match="'maybe'"):
        discover(radgenome)


def test_wrong_paths_and_layouts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        discover(tmp_path / "x")
    with pytest.raises(UserError, match="holds no scan"):
        discover(tmp_path)
    touch(tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match="--masks names nothing"):
        discover(tmp_path, masks=tmp_path / "x")
    with pytest.raises(UserError) as caught:
        discover(tmp_path, "radgenom")
    assert "Did you mean 'radgenome'" in str(caught.value) and caught.value.code == 2
    with pytest.raises(UserError, match="no table of reports"):
        discover(tmp_path, "ctrg")


words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(lambda t: t.split())


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*REGIONS, ""]), words), min_size=1, max_size=12))
def test_any_sentences_come_back_from_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    path = table(tmp_path_factory.mktemp("t") / "r.csv", ["Volumename", "Anatomy", "Sentence"], [list(r) for r in rows])
    texts = tables.region_texts(path)
    last = {(volume, region): text for volume, region, text in rows}
    for (volume, region), text in last.items():
        kept = texts.regions.get(volume, {}).get(region) if region else texts.reports.get(volume)
        assert kept == text


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_give_rows_or_a_reason(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name in ("t.csv", "t.json"):
        path = tmp_path_factory.mktemp("t") / name
        path.write_bytes(content)
        try:
            assert tables.read_table(path)
        except UserError as error:
            assert error.where == str(path)
