"""`preprocess` as a function: one bad study never stops a batch, and the same call goes on where it stopped."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import samples_segmenter
from samples_ct import hu_array, scans, write_bits, write_dicom, write_nifti

from reg2rg import plugins
from reg2rg.data.store import Store
from reg2rg.errors import UserError
from reg2rg.files import temporary
from reg2rg.preprocess import Summary, preprocess


@pytest.fixture(autouse=True)
def segmenters(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tested segmenters beside the installed ones."""
    folder = samples_segmenter.install(tmp_path_factory.mktemp("package"))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")
    plugins.registry.cache_clear()
    yield
    sys.modules.pop("tested_segmenters", None)
    plugins.registry.cache_clear()


def run(source: Path, out: Path, **options: Any) -> Summary:
    options.setdefault("segmenter", "dense")
    return preprocess(source, out, **options)


def failures(out: Path) -> dict[str, dict[str, str]]:
    with (out / "failures.csv").open(newline="") as file:
        return {row["study"]: row for row in csv.DictReader(file)}


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.studies, summary.done, summary.skipped, summary.refused


def test_a_folder_becomes_a_store(tmp_path: Path) -> None:
    source = scans(tmp_path / "in", "a", "b")
    summary = run(source, tmp_path / "out")
    assert counts(summary) == (2, 2, 0, 0)
    store = Store(tmp_path / "out")
    assert store.ids() == ["a", "b"]
    assert np.array_equal(store.volume("b").hu, hu_array(seed=1))
    assert store.mask("a").present() == ("heart", "lung") and store.mask("a").notes == ("rough",)
    assert store.study("a").provenance == {"source": "a.nii.gz", "segmenter": "dense", "notes": ["rough"]}
    assert store.info["counts"] == {"studies": 2, "refused": 0} and store.info["segmenter"]["name"] == "dense"
    assert not store.info["phantom"] and failures(tmp_path / "out") == {}


def test_bad_studies_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = scans(tmp_path / "in", "good", "cut")
    cut = source / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-3000])
    (source / "words.nii.gz").write_text("these are words")
    write_nifti(source / "flat.nii.gz", hu_array()[:, :, 0])
    write_nifti(source / "four.nii.gz", np.stack([hu_array()] * 2, axis=-1))
    summary = run(source, tmp_path / "out")
    assert counts(summary) == (5, 1, 0, 4)
    rows = failures(tmp_path / "out")
    assert set(rows) == {"cut", "words", "flat", "four"}
    assert all(row["stage"] == "read" and row["error"] and row["hint"] for row in rows.values())
    assert "cut short" in rows["cut"]["error"] and "text file" in rows["words"]["error"]
    assert Store(tmp_path / "out").info["counts"] == {"studies": 1, "refused": 4}


def test_mended_studies_leave_the_failures(tmp_path: Path) -> None:
    source = scans(tmp_path / "in", "a", "b")
    whole = (source / "b.nii.gz").read_bytes()
    (source / "b.nii.gz").write_bytes(whole[:500])
    assert counts(run(source, tmp_path / "out")) == (2, 1, 0, 1)
    (source / "b.nii.gz").write_bytes(whole)
    assert counts(run(source, tmp_path / "out")) == (2, 1, 1, 0)
    assert failures(tmp_path / "out") == {} and Store(tmp_path / "out").ids() == ["a", "b"]


@pytest.mark.parametrize(
    "segmenter, stage, word",
    [("empty", "check", "no region has a voxel"), ("shape", "check", "isn't the volume's"), ("crash", "segment", "ValueError")],
)
def test_bad_masks_and_faulty_plugins_are_refusals(tmp_path: Path, segmenter: str, stage: str, word: str) -> None:
    summary = run(scans(tmp_path / "in", "bad"), tmp_path / "out", segmenter=segmenter)
    assert counts(summary) == (1, 0, 0, 1)
    row = failures(tmp_path / "out")["bad"]
    assert row["stage"] == stage and word in row["error"] and row["hint"]
    assert list((tmp_path / "out/studies").iterdir()) == []


def test_finished_studies_are_skipped_until_forced(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a", "b"), tmp_path / "out"
    run(source, out)
    before = Store(out).path("a").stat().st_mtime_ns
    assert counts(run(source, out)) == (2, 0, 2, 0)
    assert Store(out).path("a").stat().st_mtime_ns == before
    assert counts(run(source, out, force=True)) == (2, 2, 0, 0)
    assert Store(out).path("a").stat().st_mtime_ns != before


def test_broken_and_otherwise_made_studies_are_made_again(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a", "b", "c"), tmp_path / "out"
    run(source, out)
    raw = Store(out).path("a").read_bytes()
    Store(out).path("a").write_bytes(raw[:900])
    with h5py.File(Store(out).path("b"), "r+") as file:
        file.attrs["fingerprint"] = "of an older segmenter"
    assert counts(run(source, out)) == (3, 2, 1, 0)
    assert Store(out).path("a").read_bytes() == raw


def test_another_segmenter_needs_another_store_or_force(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a"), tmp_path / "out"
    run(source, out)
    with pytest.raises(UserError, match="made with the segmenter 'dense'"):
        run(source, out, options={"limit": 100})
    assert counts(run(source, out, options={"limit": 100}, force=True)) == (1, 1, 0, 0)
    assert Store(out).info["segmenter"]["options"] == {"limit": 100}


def test_a_study_refused_again_loses_only_an_older_making(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a", "b"), tmp_path / "out"
    run(source, out)
    (source / "a.nii.gz").write_bytes(b"")
    assert counts(run(source, out, force=True)) == (2, 1, 0, 1)
    assert Store(out).ids() == ["a", "b"]
    assert counts(run(source, out, options={"limit": 7}, force=True)) == (2, 1, 0, 1)
    assert Store(out).ids() == ["b"]


def test_new_texts_are_taken_without_segmenting_again(tmp_path: Path) -> None:
    source, out, reports = scans(tmp_path / "in", "a", "b"), tmp_path / "out", tmp_path / "r.csv"
    reports.write_text("Volumename,Anatomy,Sentence\na,lung,Clear.\n")
    run(source, out, reports=reports)
    with h5py.File(Store(out).path("a"), "r+") as file:
        file.attrs["mark"] = 1
    reports.write_text("Volumename,Anatomy,Sentence\na,lung,Hazy.\n")
    assert counts(run(source, out, reports=reports)) == (2, 1, 1, 0)
    assert Store(out).study("a").region_reports == {"lung": "Hazy."}
    with h5py.File(Store(out).path("a")) as file:
        assert file.attrs["mark"] == 1


def test_shards_fill_one_store(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a", "b", "c", "d"), tmp_path / "out"
    (source / "b.nii.gz").write_bytes(b"words")
    assert [counts(run(source, out, shard=f"{i}/3")) for i in (1, 2, 3)] == [(2, 2, 0, 0), (1, 0, 0, 1), (1, 1, 0, 0)]
    assert Store(out).ids() == ["a", "c", "d"] and set(failures(out)) == {"b"}
    assert Store(out).info["counts"] == {"studies": 3, "refused": 1}
    for wrong in ("0/3", "4/3", "x", "1/0"):
        with pytest.raises(UserError) as caught:
            run(source, out, shard=wrong)
        assert caught.value.code == 2


def test_left_overs_are_swept_but_never_another_parts(tmp_path: Path) -> None:
    source, out = scans(tmp_path / "in", "a", "b"), tmp_path / "out"
    run(source, out)
    left = [temporary(Store(out).path(i)) for i in ("a", "b", "gone")]
    for path in left:
        path.write_bytes(b"half")
    run(source, out, shard="1/2")
    assert [path.exists() for path in left] == [False, True, True]
    run(source, out)
    assert sorted(p.name for p in (out / "studies").iterdir()) == ["a.h5", "b.h5"]


def test_masks_come_from_the_layout_or_the_option(tmp_path: Path) -> None:
    bits = np.zeros((20, 24, 12), np.uint16)
    bits[5:9, 5:9, 5:9] = 3
    for name in ("a", "b", "c"):
        write_nifti(tmp_path / f"in/volumes/{name}.nii.gz", hu_array())
    for name in ("a", "b"):
        write_bits(tmp_path / f"in/masks/seg_{name}.nii.gz", bits)
    write_bits(tmp_path / "other/c.nii.gz", bits)
    assert counts(run(tmp_path / "in", tmp_path / "x", segmenter="given")) == (3, 2, 0, 1)
    row = failures(tmp_path / "x")["c"]
    assert "no masks were found" in row["error"] and "seg_c" in row["hint"]
    summary = run(tmp_path / "in", tmp_path / "y", segmenter="given", masks=tmp_path / "other")
    assert counts(summary) == (3, 1, 0, 2) and Store(tmp_path / "y").mask("c").voxels() == {"abdomen": 64, "bone": 64}


def test_workers_use_one_thread_and_do_the_same(tmp_path: Path) -> None:
    source = scans(tmp_path / "in", *"abcdef")
    assert counts(run(source, tmp_path / "many", segmenter="reader", workers=2)) == (6, 6, 0, 0)
    assert Store(tmp_path / "many").mask("a").notes == ("1",)
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", workers=2)
    for study in "abcdef":
        assert Store(tmp_path / "one").path(study).read_bytes() == Store(tmp_path / "two").path(study).read_bytes()


def test_a_worker_that_dies_takes_only_its_study_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setenv("MARKS", str(marks))
    source = scans(tmp_path / "in", "a", "b", "bad", "c", "d", "weak", "z")
    summary = run(source, tmp_path / "out", segmenter="killer", workers=2)
    assert counts(summary) == (7, 6, 0, 1)
    assert "died 3 times" in failures(tmp_path / "out")["bad"]["error"]
    assert len((marks / "bad.nii.gz").read_text()) == 3 and len((marks / "weak.nii.gz").read_text()) == 1
    assert sorted(p.name for p in (tmp_path / "out/studies").iterdir()) == [
        f"{n}.h5" for n in ("a", "b", "c", "d", "weak", "z")
    ]


def test_dicom_identities_reach_neither_store_nor_failures(tmp_path: Path) -> None:
    good = {"names": lambda k, d: f"ZEBRA_{k}.dcm"}
    write_dicom(tmp_path / "in/PID4711", hu_array(), **good)
    paths = write_dicom(tmp_path / "in/QUAGGA", hu_array(seed=1), uid="1.2.9", **good)
    paths[4].write_bytes(paths[4].read_bytes()[:-100])
    out = tmp_path / "out"
    assert counts(run(tmp_path / "in", out)) == (2, 1, 0, 1)
    everything = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file()) + repr(list(out.rglob("*"))).encode()
    for secret in ("ZEBRA", "QUAGGA", "PID4711", "19330303", "ACC0815", "20200202", "1.2.826.77", "1.2.9", "1.2.3"):
        assert secret.encode() not in everything.replace(str(tmp_path).encode(), b"")
    kept = run(tmp_path / "in", tmp_path / "kept", keep_ids=True)
    assert (
        counts(kept) == (2, 1, 0, 1)
        and Store(tmp_path / "kept").ids() == ["1.2.3"]
        and set(failures(tmp_path / "kept")) == {"1.2.9"}
    )


def test_what_can_t_begin_leaves_nothing(tmp_path: Path) -> None:
    source = scans(tmp_path / "in", "a")
    with pytest.raises(UserError, match="no segmenter is called 'densse'") as caught:
        run(source, tmp_path / "out", segmenter="densse")
    assert "'dense'" in str(caught.value)
    with pytest.raises(UserError, match="unknown option 'limmit'"):
        run(source, tmp_path / "out", options={"limmit": 3})
    with pytest.raises(UserError, match="no such file"):
        run(tmp_path / "nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.doc").write_text("x")
    with pytest.raises(UserError, match="isn't empty"):
        run(source, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.doc"]


def test_a_cluster_without_dask_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"dask\.distributed"):
        run(scans(tmp_path / "in", "a"), tmp_path / "out", cluster="tcp://127.0.0.1:8786")


def test_progress_tells_of_each_study(tmp_path: Path) -> None:
    told: list[tuple[str, int, int, str]] = []
    run(scans(tmp_path / "in", "a", "b"), tmp_path / "out", progress=lambda *step: told.append(step))  # type: ignore[arg-type]
    assert told == [("preprocess", 1, 2, "a"), ("preprocess", 2, 2, "b")]
