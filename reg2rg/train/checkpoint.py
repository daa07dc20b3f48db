"""Checkpoints: weights, optimizer state and the step, without a pickle; the newest whole one counts.

A checkpoint is a folder `checkpoints/step-000500/`, written under a temporary name and renamed, so that a killed run or a full
disk leaves the last good one. Order, shuffling and dropout follow from the seed and the step: no random state is kept.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..files import atomic_folder
from ..model.weights import read_tensors

NAME = re.compile(r"step-(\d+)")


def write(
    folder: Path, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int
) -> None:
    """Writes the checkpoint of `step` and sweeps all but the newest `keep`. Raises UserError where the disk doesn't take it."""
    try:
        with atomic_folder(folder / f"step-{step:06d}") as temporary:
            save_file(dict(weights), temporary / "model.safetensors")
            save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, temporary / "training.safetensors")
            (temporary / "state.json").write_text(json.dumps({"step": step, **facts}))
    except (SafetensorError, OSError) as error:
        last = found(folder)
        kept = f"The last good checkpoint is step {last[-1]}" if last else "No checkpoint was written before"
        raise UserError(
            f"the checkpoint of step {step} can't be written ({error})",
            folder,
            f"{kept}: make room, then go on with --resume.",
        ) from error
    for old in found(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old:06d}", ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what killed runs left half-written."""
    for left in folder.glob(".step-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def found(folder: Path) -> list[int]:
    """The steps of the whole checkpoints here, ascending."""
    names = (NAME.fullmatch(p.name) for p in folder.glob("step-*") if (p / "state.json").is_file())
    return sorted(int(match[1]) for match in names if match)


def facts(folder: Path, step: int) -> dict[str, Any]:
    """The facts of one checkpoint."""
    where = folder / f"step-{step:06d}"
    try:
        return dict(json.loads((where / "state.json").read_text()))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the checkpoint's state can't be read ({error})", where, "Remove that folder to go on from the one before."
        ) from error


def read(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and the optimizers' state of one checkpoint."""
    where = folder / f"step-{step:06d}"
    return read_tensors(where / "model.safetensors"), read_tensors(where / "training.safetensors")
