"""A small phantom store and a briefly trained run, made once a session through the program itself."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SMALL = ["--set", "training.checkpoint_every=4", "--set", "training.log_every=1"]


@dataclasses.dataclass(frozen=True)
class Small:
    """Data set, store, encoder and run of a few phantoms and steps."""

    data: Path
    store: Path
    encoder: Path
    run: Path


def make_small(root: Path, run: Callable) -> Small:
    small = Small(root / "data", root / "store", root / "encoder", root / "run")
    steps = [
        ["phantom", small.data, "--studies", 30, "--seed", 3, "--workers", 1],
        ["preprocess", small.data, "--out", small.store, "--segmenter", "precomputed", "--workers", 1],
        ["pretrain", "--data", small.store, "--out", small.encoder, "--max-steps", 4],
        [
            "train",
            "--data",
            small.store,
            "--out",
            small.run,
            "--recipe",
            "tiny",
            "--init",
            small.encoder,
            "--max-steps",
            8,
            *SMALL,
        ],
    ]
    for step in steps:
        done = run(*step)
        assert done.returncode == 0, done.stderr
    return small


def launch(given: list[str], processes: int = 2, **environment: str) -> subprocess.Popen[str]:
    """Starts the program in several processes (torchrun, gloo)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    command += ["--master_addr=127.0.0.1", f"--master_port={port}", "-m", "reg2rg", *given]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)


def together(given: list[str], processes: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in several processes, to its end."""
    process = launch(given, processes, **environment)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(given, process.returncode, out, err)
