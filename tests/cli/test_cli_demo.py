"""`reg2rg demo` and `reg2rg bench`: the whole path at a few steps, what it leaves, and going on."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reg2rg.bench.paper import TABLES
from reg2rg.bench.plan import ablations, make_plan
from reg2rg.demo import splits
from reg2rg.errors import UserError
from reg2rg.shares import share

Run = Callable[..., subprocess.CompletedProcess[str]]
FEW = ["--set", "training.max_steps=6", "--set", "pretraining.max_steps=6"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, reg2rg: Run) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo") / "out"
    done = reg2rg("demo", "--out", out, "--studies", 36, "--seed", 5, "--json", *FEW)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_the_demo_leaves_what_the_interface_says(demo: tuple[Path, dict]) -> None:
    out, summary = demo
    assert {"data", "store", "run", "reports.jsonl", "evaluation.json", "page.html"} <= {p.name for p in out.iterdir()}
    assert summary["page"] == str(out / "page.html")
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert {"n", "metrics", "per_region", "region_recognition", "clinical", "length"} <= set(evaluation)
    assert 0 <= evaluation["clinical"]["micro"]["f1"] <= 1
    first = json.loads((out / "reports.jsonl").read_text().splitlines()[0])
    assert first["settings"]["decoding"]["shuffle_regions"] is True


def test_the_model_stands_beside_its_floors_and_ceiling(demo: tuple[Path, dict]) -> None:
    rows = demo[1]["rows"]
    assert {
        "trained model",
        "most frequent report",
        "label prior",
        "another study",
        "all findings always",
        "perfect reader, other words",
    } <= set(rows)
    assert rows["perfect reader, other words"]["micro_f1"]["value"] == 1.0
    assert all("low" in row["micro_f1"] for row in rows.values())


def test_the_page_says_what_it_is(demo: tuple[Path, dict]) -> None:
    page = (demo[0] / "page.html").read_text()
    assert "phantoms" in page and "Not for clinical use" in page and "then frozen" in page


def test_a_second_run_keeps_what_is_there(demo: tuple[Path, dict], reg2rg: Run) -> None:
    out, summary = demo
    weights = (out / "run" / "model.safetensors").stat().st_mtime_ns
    started = time.monotonic()
    done = reg2rg("demo", "--out", out, "--studies", 36, "--seed", 5, "--json", *FEW)
    assert done.returncode == 0, done.stderr
    assert (out / "run" / "model.safetensors").stat().st_mtime_ns == weights
    assert json.loads(done.stdout)["rows"] == summary["rows"]
    assert time.monotonic() - started < 120
    done = reg2rg("demo", "--out", out, "--studies", 36, "--seed", 6, *FEW)
    assert done.returncode == 1 and "another phantom" in done.stderr


def test_splits_and_shards() -> None:
    assert splits(950) == (800, 50, 100)
    assert all(sum(splits(n)) == n and min(splits(n)) > 0 for n in range(24, 200))
    with pytest.raises(UserError, match="no shard"):
        share([], "0/2")


def test_a_bench_trains_a_pair_and_shows_the_papers_table(tmp_path: Path, reg2rg: Run) -> None:
    out = tmp_path / "bench"
    arguments = ["bench", "--data", "phantom", "--ablate", "lfd", "--studies", 30, "--max-steps", 4, "--out", out, "--json"]
    done = reg2rg(*arguments)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["name"] for r in document["rows"]] == ["LFD on", "LFD off"]
    assert all({"name", "recipe", "seed", "metrics", "seconds", "parameters"} <= set(r) for r in document["rows"])
    assert {(c["a"], c["b"]) for c in document["comparisons"]} == {("LFD on", "LFD off")}
    assert all({"metric", "difference", "low", "high", "p"} <= set(c) for c in document["comparisons"])
    assert {r["table"] for r in document["paper"]} == {"Table IV"}
    assert (out / "bench.json").is_file() and "Table IV" in (out / "page.html").read_text()
    again = reg2rg(*arguments)
    assert json.loads(again.stdout)["rows"] == document["rows"]


def test_bench_faults(tmp_path: Path, reg2rg: Run) -> None:
    for options, words in (
        (["--ablate", "ldf"], "lfd"),
        ([], "nothing to compare"),
        (["--methods", "tinny"], "tiny"),
    ):
        done = reg2rg("bench", "--out", tmp_path / "out", *options)
        assert done.returncode in (1, 2) and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_ablation_is_a_valid_recipe_with_a_table() -> None:
    for name, ablation in ablations().items():
        assert ablation["paper"] in TABLES
        plan = make_plan("tiny", [name], [], seeds=2, changes={}, sets=[])
        assert len(plan.rows) == 4 and len(plan.pairs) == 1
        first, second = plan.rows[0].recipe, plan.rows[2].recipe
        assert first.fingerprint() != second.fingerprint()
