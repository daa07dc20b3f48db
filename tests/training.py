"""A small phantom store and a briefly trained run, made once a session through the program itself."""

from __future__ import annotations

import dataclasses
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
