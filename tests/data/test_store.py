"""The store: what is written is what is read, whole or not at all, and what is no store says so."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, ras_affine

from reg2rg.anatomy import FINDINGS, REGIONS
from reg2rg.contracts import RegionMask, Study, Volume
from reg2rg.data import chunks
from reg2rg.data.store import FORMAT, Store, read_study, rewrite_text, write_info, write_study
from reg2rg.errors import UserError
from reg2rg.files import shared_file


def sample(shape: tuple[int, int, int] = (20, 24, 12), seed: int = 0) -> tuple[Volume, RegionMask]:
    bits = np.random.default_rng(seed).integers(0, 1 << 9, shape).astype(np.uint16)
    bits[: shape[0] // 2] = 0
    volume = Volume(hu_array(shape, seed), ras_affine(), "a.nii.gz", ("turned",))
    return volume, RegionMask(bits, frozenset(REGIONS[:9]), ("rough",))


def make_store(root: Path, splits: tuple[str, ...] = ("train", "test", "train")) -> Store:
    (root / "studies").mkdir(parents=True)
    write_info(root, {"format": FORMAT, "segmenter": {"name": "x"}})
    for i, split in enumerate(splits):
        study = Study(f"s{i}", split, {"lung": f"Both lungs, {i}."}, "The whole.", {FINDINGS[0]: 1}, {"source": "a"})
        write_study(root / "studies" / f"s{i}.h5", *sample(seed=i), study, fingerprint="abc")
    return Store(root)


def test_a_study_comes_back_as_it_was(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    volume, mask = sample(seed=1)
    read = store.volume("s1")
    assert np.array_equal(read.hu, volume.hu) and np.array_equal(read.affine, volume.affine)
    assert read.source == "a.nii.gz" and read.notes == ("turned",)
    again = store.mask("s1")
    assert np.array_equal(again.bits, mask.bits) and again.given == mask.given and again.notes == ("rough",)
    assert store.study("s1").region_reports == {"lung": "Both lungs, 1."}
    assert store.ids() == ["s0", "s1", "s2"] and store.ids("train") == ["s0", "s2"] and store.ids("valid") == []
    assert [s.id for s in store.studies("test")] == ["s1"]


def test_any_hdf5_reader_opens_it(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    with h5py.File(store.path("s0")) as file:
        assert file["hu"].dtype == np.int16 and file["regions"].dtype == np.uint16
        assert file["hu"].compression == "gzip" and file["hu"].shuffle
        assert np.array_equal(file["hu"][...], store.volume("s0").hu)
        assert np.array_equal(file["regions"][...], store.mask("s0").bits)
        assert np.array_equal(file.attrs["affine"], ras_affine())
        assert list(file.attrs["regions_given"]) == list(REGIONS[:9])
        assert json.loads(file["study"][()])["split"] == "train"


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = make_store(tmp_path / "a"), make_store(tmp_path / "b")
    assert first.path("s0").read_bytes() == second.path("s0").read_bytes()
    assert first.fingerprint() == second.fingerprint()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 140), st.integers(1, 70)),
    seed=st.integers(0, 99),
    fast=st.booleans(),
    order=st.sampled_from("CF"),
)
def test_chunks_of_any_shape_come_back(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], seed: int, fast: bool, order: str
) -> None:
    """With igzip and without, written by one and read by the other."""
    path = tmp_path_factory.mktemp("chunks") / "a.h5"
    rng = np.random.default_rng(seed)
    array = np.asarray(rng.integers(-32768, 32767, shape), dtype=np.int16, order=order)  # type: ignore[call-overload]
    array[: shape[0] // 2] = 0
    kept = chunks._zlib
    try:
        chunks._zlib = kept if fast else None
        with h5py.File(path, "w") as file:
            chunks.write_array(file, "a", array)
        chunks._zlib = None if fast else kept
        with h5py.File(path) as file:
            assert np.array_equal(chunks.read_array(file["a"]), array)
            assert np.array_equal(file["a"][...], array)
    finally:
        chunks._zlib = kept


def test_chunks_divide_evenly() -> None:
    assert chunks.chunk_shape((96, 96, 48)) == (32, 48, 48)
    assert chunks.chunk_shape((512, 512, 300)) == (32, 64, 60)
    assert chunks.chunk_shape((5, 1, 64)) == (5, 1, 64)


def test_text_is_replaced_without_touching_voxels(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    before = store.volume("s0").hu
    rewrite_text(store.path("s0"), Study("s0", "valid", {}, "Other words, e.g. ü."))
    assert read_study(store.path("s0")).report == "Other words, e.g. ü." and Store(store.root).ids("valid") == ["s0"]
    assert np.array_equal(store.volume("s0").hu, before)
    assert sorted(p.name for p in (store.root / "studies").iterdir()) == ["s0.h5", "s1.h5", "s2.h5"]


def test_the_fingerprint_follows_text_voxels_and_studies(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    prints = [store.fingerprint()]
    rewrite_text(store.path("s0"), Study("s0", "train", {}, "Other."))
    prints.append(Store(store.root).fingerprint())
    write_study(store.path("s1"), *sample(), store.study("s1"), fingerprint="other segmenter")
    prints.append(Store(store.root).fingerprint())
    store.path("s2").unlink()
    prints.append(Store(store.root).fingerprint())
    assert len(set(prints)) == 4


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    store.studies()
    assert pickle.loads(pickle.dumps(store)).ids() == store.ids()


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    volume, mask = sample()
    wrong = RegionMask(mask.bits[:5], mask.given)
    with pytest.raises(UserError, match="shape"):
        write_study(tmp_path / "a.h5", volume, wrong, Study("a"))

    (tmp_path / "kept").write_text("whole")
    with pytest.raises(RuntimeError), shared_file(tmp_path / "kept") as temp:
        temp.write_text("half")
        raise RuntimeError("killed")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept").read_text() == "whole"


def test_what_is_no_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such store"):
        Store(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no store\.json"):
        Store(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Store(tmp_path)
    write_info(tmp_path, {"format": FORMAT + 1})
    with pytest.raises(UserError, match=f"format {FORMAT + 1}"):
        Store(tmp_path)
    write_info(tmp_path, {"format": FORMAT})
    assert Store(tmp_path).ids() == []


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_broken_study_says_so(tmp_path: Path, share: float) -> None:
    store = make_store(tmp_path / "s")
    raw = store.path("s0").read_bytes()
    store.path("s0").write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(UserError, match="damaged"):
        store.volume("s0")
    with pytest.raises(UserError, match="no such study"):
        store.volume("s9")


def test_a_newer_study_says_so(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    with h5py.File(store.path("s0"), "r+") as file:
        file.attrs["format"] = FORMAT + 1
    with pytest.raises(UserError, match="Update reg2rg"):
        store.mask("s0")
