"""`reg2rg demo` and `reg2rg bench`: the whole path at a few steps, what it leaves, and going on."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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


BENCH = ("bench", "--data", "phantom", "--ablate", "lfd", "--studies", 30, "--seeds", 1, "--max-steps", 4, "--jobs", 2, "--out")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, reg2rg: Run) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("bench") / "out"
    done = reg2rg(*BENCH, out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_a_bench_trains_a_pair_and_shows_the_papers_table(bench: tuple[Path, dict]) -> None:
    out, document = bench
    assert [r["name"] for r in document["rows"]] == ["LFD on", "LFD off"]
    assert all({"name", "recipe", "seed", "metrics", "seconds", "parameters", "peak_mib"} <= set(r) for r in document["rows"])
    assert {(c["a"], c["b"]) for c in document["comparisons"]} == {("LFD on", "LFD off")}
    assert all({"metric", "difference", "low", "high", "p"} <= set(c) for c in document["comparisons"])
    assert {r["table"] for r in document["paper"]} == {"Table IV"}
    assert set(document["classes"]) == {"detail", "bulk", "geometry", "context"}
    assert {f"f1_{name}" for name in document["classes"]} <= set(document["summary"][0]["metrics"])
    assert json.loads((out / "bench.json").read_text()) == document


def test_a_bench_leaves_its_tables_in_every_form(bench: tuple[Path, dict]) -> None:
    out, document = bench
    assert "Table IV" in (out / "page.html").read_text()
    assert "| *LFD on, published* |" in (out / "bench.md").read_text()
    assert r"\textit{LFD off, published}" in (out / "bench.tex").read_text()
    with (out / "bench.csv").open(newline="") as file:
        rows = {(r["name"], r["seed"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    found = document["rows"][1]["metrics"]["micro_f1"]["value"]
    assert float(rows["LFD off", "0", "micro_f1"]) == pytest.approx(found, abs=1e-6) and ("LFD on", "all", "seconds") in rows


def test_a_bench_that_was_killed_goes_on_with_what_is_left(bench: tuple[Path, dict], reg2rg: Run) -> None:
    out, document = bench
    runs = {row["name"]: next((out / "runs").glob(f"{row['run']}-*")) for row in document["rows"]}
    kept = (runs["LFD on"] / "run" / "model.safetensors").stat().st_mtime_ns
    (runs["LFD off"] / "row.json").unlink()
    plan = reg2rg(*BENCH, out, "--json", "--dry-run")
    assert {(r["name"], r["finished"]) for r in json.loads(plan.stdout)["rows"]} == {("LFD on", True), ("LFD off", False)}
    again = reg2rg(*BENCH, out, "--json")
    assert again.returncode == 0, again.stderr
    assert [r["metrics"] for r in json.loads(again.stdout)["rows"]] == [r["metrics"] for r in document["rows"]]
    assert (runs["LFD on"] / "run" / "model.safetensors").stat().st_mtime_ns == kept


def test_a_row_that_fails_stops_no_other(bench: tuple[Path, dict], reg2rg: Run, tmp_path: Path) -> None:
    """The first row's language model isn't here; the second one's is made from scratch."""
    out, _ = bench
    done = reg2rg(
        "bench", "--data", out / "store", "--out", tmp_path / "out", "--sweep", "decoder.name=llama2-7b,tiny",
        "--recipe", "tiny", "--max-steps", 2, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["name"] for r in document["rows"]] == ["decoder.name=tiny"]
    assert [(f["name"], "weights of the decoder" in f["error"]) for f in document["failures"]] == [
        ("decoder.name=llama2-7b", True)
    ]


def test_bench_faults(tmp_path: Path, reg2rg: Run) -> None:
    for options, words in (
        (["--ablate", "ldf"], "lfd"),
        ([], "nothing to compare"),
        (["--methods", "tinny"], "tiny"),
        (["--ablate", "lfd", "--volume-encoder", "vit3"], "vit3d"),
    ):
        done = reg2rg("bench", "--out", tmp_path / "out", *options)
        assert done.returncode in (1, 2) and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
