"""`preprocess --cluster` on a real dask scheduler with real workers that die, come late, or see something else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import samples_segmenter
from samples_ct import scans
from scale_cluster import Cluster, cluster

from reg2rg import plugins
from reg2rg.data.layouts import discover
from reg2rg.data.store import Store
from reg2rg.errors import UserError
from reg2rg.preprocess import Settings, Summary, preprocess
from reg2rg.preprocess import cluster as on_dask
from reg2rg.preprocess.study import Job, fingerprint

pytest.importorskip("distributed", reason="the extra cluster isn't installed")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples_segmenter.install(tmp_path_factory.mktemp("package"))


@pytest.fixture(autouse=True)
def segmenters(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tested segmenters beside the installed ones, in this process as on the workers."""
    monkeypatch.syspath_prepend(str(package))
    plugins.registry.cache_clear()
    yield
    sys.modules.pop("tested_segmenters", None)
    plugins.registry.cache_clear()


def seen(folder: Path) -> str:
    """A PYTHONPATH with `folder` before what is on it already."""
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.studies, summary.done, summary.skipped, summary.refused


def test_a_study_is_refused_after_three_deaths_whatever_the_scheduler_allows(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it would try a study a fourth time; where it allows no failure, it gives up all that were on the worker."""
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.chdir(tmp_path)
    with cluster(tmp_path / "dask", 2, {"PYTHONPATH": seen(package), "MARKS": str(marks)}) as dask:
        scans(Path("in3"), "a", "bad3", "b")
        default = preprocess(Path("in3"), Path("out3"), segmenter="killer", cluster=dask.address)
        scans(Path("in0"), "a", "bad0", "b", "weak", "c")
        _allow_no_failure(dask.address)
        strict = preprocess(Path("in0"), Path("out0"), segmenter="killer", cluster=dask.address)
    assert counts(default) == (3, 2, 0, 1) and counts(strict) == (5, 4, 0, 1)
    for summary, bad in ((default, "bad3"), (strict, "bad0")):
        assert summary.failures[0]["study"] == bad and "died 3 times" in summary.failures[0]["error"]
        assert len((marks / f"{bad}.nii.gz").read_text()) == 3
    assert sorted(p.name for p in Path("out0/studies").iterdir()) == ["a.h5", "b.h5", "c.h5", "weak.h5"]


def _allow_no_failure(address: str) -> None:
    from distributed import Client

    def change(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = 0

    with Client(address, set_as_default=False) as client:
        client.run_on_scheduler(change)


def test_a_scheduler_without_workers_with_an_unfit_one_and_lost(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = scans(tmp_path / "in", *(f"s{i:02d}" for i in range(30))), tmp_path / "out"
    monkeypatch.setattr(on_dask, "BEAT", 0.1)
    (tmp_path / "other" / "reg2rg").mkdir(parents=True)
    (tmp_path / "other" / "reg2rg" / "__init__.py").write_text("__version__ = '0.0.1'\n")
    with cluster(tmp_path / "dask", 0, {"PYTHONPATH": seen(package), "SLOW": "0.2"}) as dask:
        with monkeypatch.context() as hurried, pytest.raises(UserError, match="has had no worker for 1 seconds"):
            hurried.setattr(on_dask, "PATIENCE", 1.0)
            preprocess(source, out, segmenter="slow", cluster=dask.address)
        nothing = preprocess(*_finished(tmp_path), segmenter="dense", cluster=dask.address)
        assert counts(nothing) == (1, 0, 1, 0), "nothing to do needs no worker"
        unfit = dask.add_worker(PYTHONPATH=seen(tmp_path / "other"))
        with pytest.raises(UserError, match=r"can't run reg2rg \(ModuleNotFoundError.*same Python, reg2rg and plugins"):
            preprocess(source, out, segmenter="slow", cluster=dask.address)
        unfit.terminate()
        unfit.wait(30)
        threading.Thread(target=_come_late_and_lose, args=(dask, out), daemon=True).start()
        with pytest.raises(UserError, match=r"connection to the dask scheduler is lost.*goes on where it stopped"):
            preprocess(source, out, segmenter="slow", cluster=dask.address)
    kept = len(Store(out).ids())  # the worker ends the study that it is at
    assert 3 <= kept < 30 and kept - 1 <= Store(out).info["counts"]["studies"] <= kept
    monkeypatch.setenv("SLOW", "0")
    assert counts(preprocess(source, out, segmenter="slow")) == (30, 30 - kept, kept, 0)


def _finished(folder: Path) -> tuple[Path, Path]:
    source, out = scans(folder / "one", "a"), folder / "one-store"
    preprocess(source, out, segmenter="dense")
    return source, out


def _come_late_and_lose(dask: Cluster, out: Path) -> None:
    dask.add_worker()
    while len(list((out / "studies").glob("s*.h5"))) < 3:
        time.sleep(0.02)
    dask.scheduler.kill()


def test_no_scheduler_is_a_sentence_that_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = scans(tmp_path / "in", "a")
    monkeypatch.setattr(on_dask, "CONNECT", 1.0)
    for address in ("nonsense://x", "tcp://127.0.0.1:9"):
        with pytest.raises(UserError, match=r"no dask scheduler answers there.*dask scheduler"):
            preprocess(source, tmp_path / "out", segmenter="dense", cluster=address)


def test_a_worker_that_sees_or_makes_something_else_ends_the_run(tmp_path: Path) -> None:
    (source,) = discover(scans(tmp_path / "in", "a"))
    settings = Settings("dense")
    (tmp_path / "studies").mkdir()
    job = Job(source, tmp_path / "studies" / "a.h5", settings)
    assert on_dask.Elsewhere(fingerprint(settings))(job).status == "done" and job.path.is_file()
    with pytest.raises(UserError, match="another version of reg2rg or of the segmenter"):
        on_dask.Elsewhere("of another version")(job)
    with pytest.raises(UserError, match="doesn't see the store's folder"):
        on_dask.Elsewhere(fingerprint(settings))(Job(source, tmp_path / "elsewhere" / "a.h5", settings))
