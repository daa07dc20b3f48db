"""A run over broken studies whose worker and then whose parent is killed: resumed, it leaves the store of a calm run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import pytest
import samples_sleepy
from broken_studies import WAYS
from scale_run import Plan, differences, shown

from reg2rg.data.store import Store
from reg2rg.phantom import write_phantom
from reg2rg.preprocess import preprocess


@pytest.mark.parametrize("on_cluster", [False, True], ids=["two-workers", "dask"])
def test_a_disturbed_run_adds_up_and_leaves_the_same_store(tmp_path: Path, on_cluster: bool) -> None:
    if on_cluster:
        pytest.importorskip("distributed", reason="the extra cluster isn't installed")
    package = samples_sleepy.install(tmp_path / "package")
    env = {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]), "NAP": "0.25"}
    told = shown(Plan(tmp_path, studies=20, broken=len(WAYS), segmenter="sleepy", env=env), on_cluster)
    assert told["adds_up"], told
    assert told["in"] == 20 and told["refused"] == 10 and told["stored"] > 0 and told["skipped"] >= 6
    assert told["refused_as_told"], told["reasons"]
    assert 3 <= told["stored_when_the_worker_was_killed"] < 10 and told["stored_when_the_run_was_killed"] < 10
    assert told["differences"] == []
    studies = list((tmp_path / "out" / "studies").iterdir())
    assert len(studies) == 10 and all(path.suffix == ".h5" for path in studies)


def test_a_difference_between_stores_is_seen(tmp_path: Path) -> None:
    write_phantom(tmp_path / "data", studies=3, seed=0, size="small", masks="bits", workers=1)
    preprocess(tmp_path / "data", tmp_path / "a", segmenter="precomputed")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert differences(tmp_path / "a", tmp_path / "b") == []
    one, two, three = (Store(tmp_path / "b").path(id) for id in Store(tmp_path / "b").ids())
    with h5py.File(one, "r+") as file:
        file["hu"][3, 4, 5] += 1
    with h5py.File(two, "r+") as file:
        file.attrs["fingerprint"] = "another"
    three.unlink()
    (tmp_path / "b" / "failures.csv").write_text("study,stage,error,hint\nx,read,y,z\n")
    assert sorted(differences(tmp_path / "a", tmp_path / "b")) == sorted(
        [f"only in one: studies/{three.name}", f"{one.name}: hu", f"{two.name}: @fingerprint", "other bytes: failures.csv"]
    )
