"""The speed harness: its document, its faults and, at reduced size, that both ways of each part compute the same."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import speed  # noqa: E402
from speed_parts.timing import Settings, measure  # noqa: E402

FIGURES = ("seconds", "limit_seconds", "peak_mib")


@pytest.fixture
def quick(tmp_path: Path) -> Settings:
    return Settings(quick=True, plain=True, folder=tmp_path, runs=1)


@pytest.fixture
def joined() -> Iterator[None]:
    """accelerate settles once a process in which precision it computes: forgotten before and after."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def check(row: dict[str, Any]) -> None:
    assert all(isinstance(row[name], float) and row[name] > 0 and math.isfinite(row[name]) for name in FIGURES)
    json.dumps(row)


def test_json_is_one_document_of_the_asked_part() -> None:
    done = run("--quick", "--json", "--part", "assemble", "--threads", "1")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document) == ["parts"]
    (row,) = document["parts"]
    assert (row["name"], row["variant"], row["threads"]) == ("assemble", "", 1)
    check(row)


def test_the_table_names_the_part() -> None:
    done = run("--quick", "--part", "assemble", "--threads", "1", "--against", "plain")
    assert done.returncode == 0, done.stderr
    assert "assemble" in done.stdout and "times_faster" in done.stdout


@pytest.mark.parametrize(("arguments", "said"), [(["--part", "encod"], "no part 'encod'"), (["--threads", "0"], "1 or more")])
def test_wrong_usage_is_told(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_the_parts_and_variants_are_those_of_the_interface() -> None:
    known = {name: variants for name, variants in speed.PARTS.items() if not name.startswith("gpu_")}
    assert known == {
        "encode": ("float32", "bfloat16"),
        "assemble": ("",),
        "preprocess": ("first", "epoch"),
        "nlg": ("",),
        "train_step": ("",),
    }


def test_medians_of_runs_in_turn() -> None:
    order: list[str] = []
    row = measure(lambda: order.append("ours"), lambda: order.append("limit"), 3, other=lambda: order.append("other"))
    assert order[:3] == ["ours", "limit", "other"]
    assert order[3:] == ["ours", "limit", "other"] * 3
    assert row["best_seconds"] <= row["seconds"] and row["other_seconds"] >= row["best_other_seconds"]


def test_encode(quick: Settings) -> None:
    import torch
    from speed_parts import encode

    row = encode.run("float32", quick)
    assert row is not None
    check(row)
    encoder, adapter, volume = encode.build(True)
    with torch.inference_mode():
        assert torch.allclose(adapter(encoder(volume)), encode.plain(encoder, adapter, volume), atol=1e-4)
    low = encode.run("bfloat16", quick)
    assert (low is None) is not encode.has_bfloat16()
    if low is not None:
        check(low)
        assert 0 < low["error_rms"] <= low["error"] < 0.2


def test_assemble(quick: Settings) -> None:
    from speed_parts import assemble

    row = assemble.run("", quick)
    check(row)
    assert row["difference"] == 0


def test_preprocess(quick: Settings) -> None:
    pytest.importorskip("monai")
    from speed_parts import preprocess

    preprocess.prepare(quick)
    plain = preprocess.plain(quick)
    assert plain["plain_seconds"] > 0 and plain["plain_peak_mib"] > 0
    for variant in ("first", "epoch"):
        check(preprocess.run(variant, quick))


def test_preprocess_and_the_plain_way_agree(quick: Settings) -> None:
    pytest.importorskip("monai")
    import torch
    from speed_parts import preprocess

    preprocess.prepare(quick)
    image, textures, masks = preprocess._first(quick, quick.folder / "store")
    plain = preprocess._monai(quick.folder / "scan", preprocess.QUICK_SIZE)
    turned = [torch.as_tensor(x).flip(-3, -2) for x in plain]  # MONAI leaves the axes as they are stored
    for ours, theirs in zip((image, textures, masks), turned, strict=True):
        assert torch.allclose(ours, theirs.float().reshape(ours.shape), atol=1e-4)


def test_nlg(quick: Settings) -> None:
    pytest.importorskip("sacrebleu")
    from speed_parts import nlg

    from reg2rg.errors import UserError

    try:
        row = nlg.run("", quick)
    except UserError as error:
        pytest.skip(str(error))
    check(row)
    assert row["difference"] < 1e-9
    assert 120 < row["words"] < 300


def test_train_step(quick: Settings, joined: None) -> None:
    from speed_parts import train_step

    row = train_step.run("", quick)
    check(row)
    assert row["difference"] < 1e-3
    assert row["cached_encoder"]["ratio"] > 0


@pytest.mark.parametrize("variant", ["train_step", "generate"])
def test_the_gpu_parts_run_on_a_cpu_at_reduced_size(variant: str, tmp_path: Path, joined: None) -> None:
    from speed_parts import gpu

    row = gpu.run(variant, Settings(quick=True, plain=False, folder=tmp_path, runs=1), device="cpu")
    check(row)
    assert row["tokens_per_second"] > 0
