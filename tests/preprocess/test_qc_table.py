"""qc.csv: the same for the same store, however it was made; it goes on, loses no row, and tells no identity."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
import samples_segmenter
from samples_body import chest, study
from samples_ct import hu_array, write_dicom, write_nifti

from reg2rg import plugins
from reg2rg.contracts import Study
from reg2rg.data.boxes import measure
from reg2rg.data.store import Store, write_study
from reg2rg.preprocess import preprocess
from reg2rg.preprocess.qc_table import COLUMNS, inspect, read_row, read_table


@pytest.fixture(autouse=True)
def segmenters(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tested segmenters beside the installed ones."""
    monkeypatch.syspath_prepend(str(samples_segmenter.install(tmp_path_factory.mktemp("package"))))
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")
    plugins.registry.cache_clear()
    yield
    sys.modules.pop("tested_segmenters", None)
    plugins.registry.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for i, name in enumerate("abcde"):
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", hu_array(seed=i))
    return tmp_path / "in"


def ids(out: Path) -> list[str]:
    return [row["study"] for row in read_table(out)]


def forget(path: Path) -> None:
    """Makes a study's file one of an earlier version."""
    with h5py.File(path, "r+") as file:
        del file.attrs["qc"], file["qc_picture"]


def test_a_row_says_what_the_file_holds(source: Path, tmp_path: Path) -> None:
    preprocess(source, tmp_path / "out", segmenter="dense")
    with (tmp_path / "out/qc.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["study"] for row in rows] == list("abcde") and tuple(rows[0]) == COLUMNS
    store = Store(tmp_path / "out")
    for row in rows:
        mask, ml = store.mask(row["study"]), store.volume(row["study"]).voxel_ml
        assert float(row["heart_ml"]) == pytest.approx(mask.voxels()["heart"] * ml, abs=0.005)
        assert row["bone_ml"] == "" and row["not_given"].startswith("abdomen; bone; breast; esophagus; mediastinum")
        assert "lung too small" not in row["flags"] and row["cut"].endswith("lung (left, right, back, front, foot, head)")


def test_empty_differs_from_not_given(tmp_path: Path) -> None:
    hu, masks = chest()
    masks["thyroid"][:] = False
    del masks["esophagus"]
    volume, mask = study(hu, masks)
    row = inspect("x", volume, mask, measure(volume.hu, mask.bits))[1]
    assert (row["thyroid_ml"], row["esophagus_ml"]) == ("0.0", "")
    assert (row["not_in_view"], row["not_given"], row["flags"]) == ("thyroid", "esophagus", "")
    assert (row["heart_left_mm"], row["lung_pleura_dice"], row["lung_left_right"]) == ("16.0", "0.0", "0.859")


def test_parts_make_the_table_of_the_whole(source: Path, tmp_path: Path) -> None:
    preprocess(source, tmp_path / "whole", segmenter="dense")
    preprocess(source, tmp_path / "parts", segmenter="dense", shard="2/2")
    assert ids(tmp_path / "parts") == ["b", "d"]
    preprocess(source, tmp_path / "parts", segmenter="dense", shard="1/2", workers=2)
    assert (tmp_path / "parts/qc.csv").read_bytes() == (tmp_path / "whole/qc.csv").read_bytes()


def test_an_interrupted_run_has_its_rows_and_goes_on(source: Path, tmp_path: Path) -> None:
    def stop(step: str, done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        preprocess(source, out, segmenter="dense", progress=stop)
    assert ids(out) == ["a", "b"]
    preprocess(source, out, segmenter="dense")
    preprocess(source, tmp_path / "calm", segmenter="dense")
    assert (out / "qc.csv").read_bytes() == (tmp_path / "calm/qc.csv").read_bytes()


@pytest.mark.parametrize("loss", ["table", "half a table", "stale row", "other columns"])
def test_the_table_is_made_anew_from_the_files(loss: str, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(source, out, segmenter="dense")
    whole = (out / "qc.csv").read_bytes()
    table = {
        "table": b"",
        "half a table": whole[: len(whole) // 2],
        "stale row": whole.replace(b"\nc,", b"\nc,mirrored"),
        "other columns": b"study,flags\na,mirrored\n",
    }[loss]
    (out / "qc.csv").write_bytes(table)
    assert preprocess(source, out, segmenter="dense").skipped == 5
    assert (out / "qc.csv").read_bytes() == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_studies_of_an_earlier_version_are_measured_once(workers: int, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(source, out, segmenter="dense")
    whole, voxels = (out / "qc.csv").read_bytes(), Store(out).volume("b").hu
    forget(Store(out).path("b"))
    forget(Store(out).path("d"))
    (out / "qc.csv").unlink()
    summary = preprocess(source, out, segmenter="dense", workers=workers)
    assert (summary.done, summary.skipped, summary.refused) == (0, 5, 0)
    assert (out / "qc.csv").read_bytes() == whole
    assert read_row(Store(out).path("b")) and (Store(out).volume("b").hu == voxels).all()
    before = Store(out).path("b").stat().st_mtime_ns
    preprocess(source, out, segmenter="dense")
    assert Store(out).path("b").stat().st_mtime_ns == before


def test_studies_beside_the_data_set_keep_their_place(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(source, out, segmenter="dense")
    shutil.copy(Store(out).path("a"), Store(out).path("from elsewhere"))
    forget(Store(out).path("from elsewhere"))
    Store(out).path("cut").write_bytes(b"no study")
    preprocess(source, out, segmenter="dense")
    rows = {row["study"]: row["flags"] for row in read_table(out)}
    assert list(rows) == ["a", "b", "c", "cut", "d", "e", "from elsewhere"]
    assert rows["cut"] == rows["from elsewhere"] == "not measured" != rows["a"]


def test_a_study_that_is_refused_now_leaves_the_table(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(source, out, segmenter="dense")
    (source / "c.nii.gz").write_bytes(b"words")
    preprocess(source, out, segmenter="dense", options={"limit": 100}, force=True)
    assert ids(out) == list("abde")


def test_the_same_study_has_the_same_bytes(tmp_path: Path) -> None:
    volume, mask = study(*chest())
    facts = measure(volume.hu, mask.bits)
    for name in ("one", "two"):
        inspection, _ = inspect("x", volume, mask, facts)
        write_study(tmp_path / name, volume, mask, Study("x"), facts=facts, inspection=inspection)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_dicom_identities_reach_neither_table_nor_facts(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in/PID4711", hu_array(), names=lambda k, d: f"ZEBRA_{k}.dcm")
    preprocess(tmp_path / "in", tmp_path / "out", segmenter="dense")
    (id,) = Store(tmp_path / "out").ids()
    with h5py.File(Store(tmp_path / "out").path(id)) as file:
        text = file.attrs["qc"] + (tmp_path / "out/qc.csv").read_text()
    assert id in text and not any(secret in text for secret in ("ZEBRA", "PID4711", "ACC0815", "19330303", "1.2.3"))
