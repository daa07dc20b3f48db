"""Reports through the program: every study once, files in each format, going on after a kill, shards, faults."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from training import Small

from reg2rg.contracts import GroundedReport
from reg2rg.data.store import Store

Run = Callable[..., subprocess.CompletedProcess[str]]


def read(path: Path) -> list[GroundedReport]:
    return [GroundedReport.from_json(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def reports(small: Small, tmp_path_factory: pytest.TempPathFactory, reg2rg: Run) -> Path:
    out = tmp_path_factory.mktemp("reports") / "reports.jsonl"
    done = reg2rg("generate", small.run, "--data", small.store, "--out", out, "--split", "all", "--max-new-tokens", 120)
    assert done.returncode == 0, done.stderr
    return out


def test_every_study_once_with_its_regions_and_references(small: Small, reports: Path) -> None:
    store = Store(small.store)
    found = read(reports)
    assert [r.study for r in found] == store.ids()
    for report in found:
        study = store.study(report.study)
        assert {s.region for s in report.sections} == set(store.mask(report.study).present())
        assert all(s.reference == study.region_reports[s.region] for s in report.sections)
        assert "The region" not in report.report
        assert any("phantoms" in w for w in report.settings["warnings"])
    assert not reports.with_name("reports.jsonl.partial").exists()


def test_greedy_reports_are_the_same_for_any_batch_size(small: Small, reports: Path, tmp_path: Path, reg2rg: Run) -> None:
    out = tmp_path / "other.jsonl"
    options = ["--split", "all", "--max-new-tokens", 120, "--batch-size", 7]
    done = reg2rg("generate", small.run, "--data", small.store, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    same = [a.report == b.report for a, b in zip(read(reports), read(out), strict=True)]
    assert sum(same) >= len(same) - 1  # padding may turn a near tie


def test_shards_make_the_whole(small: Small, reports: Path, tmp_path: Path, reg2rg: Run) -> None:
    studies = []
    for i in (1, 2):
        out = tmp_path / f"{i}.jsonl"
        done = reg2rg("generate", small.run, "--data", small.store, "--out", out, "--split", "all", "--shard", f"{i}/2")
        assert done.returncode == 0, done.stderr
        studies += [r.study for r in read(out)]
    assert sorted(studies) == [r.study for r in read(reports)]


def test_an_interrupted_file_goes_on(small: Small, reports: Path, tmp_path: Path, reg2rg: Run) -> None:
    """What a killed run left (whole lines and half of one) is kept, the rest is written."""
    lines = reports.read_text().splitlines()
    marked = json.loads(lines[0])
    marked["report"] = "Kept from the broken run."
    out = tmp_path / "reports.jsonl"
    out.with_name("reports.jsonl.partial").write_text(json.dumps(marked) + "\n" + lines[1][:40])
    done = reg2rg("generate", small.run, "--data", small.store, "--out", out, "--split", "all", "--max-new-tokens", 120)
    assert done.returncode == 0, done.stderr
    found = read(out)
    assert found[0].report == "Kept from the broken run." and len(found) == len(lines)


def test_published_csv_and_challenge_json(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    table, challenge = tmp_path / "r.csv", tmp_path / "r.json"
    for out, form in ((table, "csv"), (challenge, "vlm3d")):
        done = reg2rg("generate", small.run, "--data", small.store, "--out", out, "--format", form, "--max-new-tokens", 60)
        assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.open()))
    assert list(rows[0]) == ["AccNum", "GT_combined_report", "Pred_combined_report"]
    assert rows[0]["GT_combined_report"].startswith("The region 0 is abdomen: ")
    data = json.loads(challenge.read_text())
    assert data["type"] == "Report generation" and data["generated_reports"][0]["input_image_name"].endswith(".mha")
    for out in (table, challenge):
        extra = ["--labels", str(small.data / "labels.csv")] if out == challenge else []
        done = reg2rg("evaluate", out, "--metrics", "clinical", "--ci", 0, "--json", *extra)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--split", "tset"], 2, "no study of the store is in the split 'tset'"),
        (["--shard", "3/2"], 2, "is no shard"),
        (["--device", "cuda:7"], 2, "can't be used"),
    ],
)
def test_faults(small: Small, tmp_path: Path, reg2rg: Run, options: list[str], code: int, said: str) -> None:
    done = reg2rg("generate", small.run, "--data", small.store, "--out", tmp_path / "r.jsonl", *options)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    done = reg2rg("generate", small.store, "--data", small.store, "--out", tmp_path / "r.jsonl")
    assert done.returncode == 1 and "not a finished run" in done.stderr
    broken = tmp_path / "run"
    broken.mkdir()
    for path in small.run.iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes()[: 1000 if path.name == "model.safetensors" else None])
    done = reg2rg("generate", broken, "--data", small.store, "--out", tmp_path / "r.jsonl")
    assert done.returncode == 1 and "weights' file is broken" in done.stderr and "Traceback" not in done.stderr
