"""Two real processes (gloo) train as one does: DDP, sharded by `fully_shard`, DeepSpeed ZeRO-2; each resumes any other's run.

The model is the paper's at small size: LoRA with dropout on a LLaMA folder, frozen ViT3D, Perceiver, mask ViT, AdamW, gradient
checkpointing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import Small, launch, together

Run = Callable[..., subprocess.CompletedProcess[str]]
STEPS = 5
OPTIONS = [
    "views.size=[32,32,8]",
    "volume_encoder.options={width: 48, depth: 1, heads: 2, mlp: 64}",
    "adapter.options={tokens: 4, depth: 1, heads: 2}",
    "geometry_encoder.options={width: 24, depth: 1, heads: 2, mlp: 32, patch: [32, 32, 8]}",
    "decoder.dtype=float32",
    "training.precision=no",
    "training.batch_size=2",
    "training.accumulation=4",
    "training.optimizer.lr=3e-3",
    "training.schedule.warmup=2",
    "training.log_every=1",
    "training.checkpoint_every=2",
    "training.workers=0",
]
deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed isn't installed")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from reg2rg.plugins import resolve

    folder = tmp_path_factory.mktemp("llama-two")
    texts = ["The region 0 is lung: Both lungs are clear. The region 1 is heart: The heart is enlarged. 2 3 4 5 6 7 8 9"]
    model, tokenizer = resolve("decoder", "tiny", {"width": 32, "layers": 2, "heads": 2}).build(texts)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def arguments(small: Small, llama: Path, run: Path, *extra: str, steps: int = STEPS) -> list[str]:
    sets = [part for option in (*OPTIONS, *extra) for part in ("--set", option)]
    given = ["train", "--data", small.store, "--out", run, "--decoder", llama, "--max-steps", steps, *sets]
    return [str(a) for a in given]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same(run: Path, other: Path, tolerance: float = 2e-5) -> None:
    """Equal losses, weights and optimizer state within float tolerance."""
    assert losses(run) == pytest.approx(losses(other), rel=tolerance, abs=tolerance)
    last = f"checkpoints/step-{STEPS:06d}"
    for name in ("model.safetensors", f"{last}/model.safetensors", f"{last}/training.safetensors"):
        ours, theirs = load_file(run / name), load_file(other / name)
        assert set(ours) == set(theirs), name
        for key, value in theirs.items():
            assert ours[key].dtype == value.dtype and torch.allclose(ours[key], value, atol=20 * tolerance), (name, key)


@pytest.fixture(scope="module")
def alone(small: Small, llama: Path, tmp_path_factory: pytest.TempPathFactory, reg2rg: Run) -> Path:
    """The run of a single process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    done = reg2rg(*arguments(small, llama, run))
    assert done.returncode == 0, done.stderr
    return run


KINDS = ["ddp", "fsdp", pytest.param("deepspeed", marks=deepspeed)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_single_ones_losses_and_weights(
    small: Small, llama: Path, alone: Path, tmp_path: Path, kind: str
) -> None:
    run = tmp_path / "run"
    done = together([*arguments(small, llama, run, f"training.distributed={kind}"), "--json"])
    assert done.returncode == 0, done.stderr[:6000]  # the launcher's own words come last
    assert json.loads(done.stdout)["steps"] == STEPS, "stdout holds one JSON document"
    assert_same(run, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_resumed_by_any_other_kind(small: Small, llama: Path, alone: Path, tmp_path: Path, kind: str) -> None:
    """The single process's checkpoint goes on sharded, and comes back: losses, weights, moments are the unbroken run's."""
    run = tmp_path / "run"
    shutil.copytree(alone / "checkpoints" / "step-000002", run / "checkpoints" / "step-000002")
    (run / "metrics.jsonl").write_text("".join((alone / "metrics.jsonl").read_text().splitlines(keepends=True)[:2]))
    own = arguments(small, llama, run, f"training.distributed={kind}")
    done = together([*own, "--resume"])
    assert done.returncode == 0, done.stderr[:6000]  # the launcher's own words come last
    assert_same(run, alone)


def test_a_killed_worker_ends_the_run_and_the_resumed_one_is_the_unbroken_one(
    small: Small, llama: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = arguments(small, llama, run)
    process = launch(given)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "step-000002" / "state.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system doesn't tell a process's children")
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (run / "config.json").exists(), "the run was over before its worker could be killed"
    done = together([*given, "--resume"])
    assert done.returncode == 0, done.stderr[:6000]  # the launcher's own words come last
    assert_same(run, alone)


@deepspeed
def test_deepspeed_trains_in_bf16_and_keeps_float32(small: Small, llama: Path, alone: Path, tmp_path: Path) -> None:
    """Losses near float32's, and a run folder whose frozen encoder is the given one to the bit and whose LoRA is float32."""
    run = tmp_path / "run"
    done = together(arguments(small, llama, run, "training.distributed=deepspeed", "training.precision=bf16"))
    assert done.returncode == 0, done.stderr[:6000]  # the launcher's own words come last
    assert losses(run) == pytest.approx(losses(alone), rel=2e-3)
    ours, theirs = load_file(run / "model.safetensors"), load_file(alone / "model.safetensors")
    assert {k: v.dtype for k, v in ours.items()} == {k: v.dtype for k, v in theirs.items()}
    assert all(torch.equal(v, ours[k]) for k, v in theirs.items() if k.startswith("visual.volume_encoder"))


def test_batches_from_workers_are_the_same_bit_for_bit(
    small: Small, llama: Path, alone: Path, tmp_path: Path, reg2rg: Run
) -> None:
    run = tmp_path / "run"
    done = reg2rg(*arguments(small, llama, run, "training.workers=2"))
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(alone)
    ours, theirs = load_file(run / "model.safetensors"), load_file(alone / "model.safetensors")
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.parametrize(
    ("asked", "environment", "said"),
    [
        ("none", {}, "training.distributed=none is not what runs: 2 processes train by ddp"),
        ("auto", {"ACCELERATE_USE_FSDP": "true"}, "the launcher asks for fsdp: 2 processes train by ddp"),
        pytest.param("ddp", {"ACCELERATE_USE_DEEPSPEED": "true"}, "2 processes train by deepspeed", marks=deepspeed),
    ],
)
def test_what_runs_must_be_what_was_asked_for(
    small: Small, llama: Path, tmp_path: Path, asked: str, environment: dict[str, str], said: str
) -> None:
    """accelerate on a CPU turns FSDP into DDP without a word; here that is one sentence, and nothing is written."""
    run = tmp_path / "run"
    done = together(arguments(small, llama, run, f"training.distributed={asked}"), **environment)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("reg2rg:")]
    assert told and said in told[0] and "docs/scale.md" in told[0], done.stderr[-2000:]
    assert not re.search(r'File ".*reg2rg/', done.stderr) and not run.exists()


@pytest.mark.parametrize(("asked", "said"), [("deepspeed", "no launcher started this process"), ("fsdp", "one process trains")])
def test_one_process_alone_is_told_so(small: Small, llama: Path, tmp_path: Path, reg2rg: Run, asked: str, said: str) -> None:
    done = reg2rg(*arguments(small, llama, tmp_path / "run", f"training.distributed={asked}"))
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
