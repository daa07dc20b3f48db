"""Checkpoints: weights, optimizer state, random state and the step, without a pickle; the newest whole one counts.

A checkpoint is a folder `checkpoints/step-000500/`, written under a temporary name and renamed, so that a killed run or a full
disk leaves the last good one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..files import atomic_folder
from ..model.weights import read_tensors

NAME = re.compile(r"step-(\d+)")


def _pack(optimizer: Any, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as named tensors and JSON-able values."""
    state = optimizer.state_dict()
    tensors, values = {}, {}
    for index, entry in state["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}.{index}.{key}"] = value.detach().cpu().contiguous()
            else:
                values[f"{index}.{key}"] = value
    return tensors, {"values": values, "groups": state["param_groups"]}


def _unpack(tensors: dict[str, Tensor], data: dict[str, Any], prefix: str) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, _, key = name.removeprefix(f"{prefix}.").partition(".")
            state.setdefault(int(index), {})[key] = tensor
    for name, value in data["values"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": data["groups"]}


def write(
    folder: Path, step: int, weights: dict[str, Tensor], optimizers: Sequence[Any], facts: dict[str, Any], keep: int
) -> None:
    """Writes the checkpoint of `step` and sweeps all but the newest `keep`."""
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    packed = []
    for number, optimizer in enumerate(optimizers):
        part, data = _pack(optimizer, f"optimizer{number}")
        tensors |= part
        packed.append(data)
    with atomic_folder(folder / f"step-{step:06d}") as temporary:
        save_file(weights, temporary / "model.safetensors")
        save_file(tensors, temporary / "training.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step, "optimizers": packed, **facts}))
    for old in found(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old:06d}", ignore_errors=True)


def found(folder: Path) -> list[int]:
    """The steps of the whole checkpoints here, ascending."""
    names = (NAME.fullmatch(p.name) for p in folder.glob("step-*") if (p / "state.json").is_file())
    return sorted(int(match[1]) for match in names if match)


def read(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and state of one checkpoint."""
    where = folder / f"step-{step:06d}"
    try:
        state = json.loads((where / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"the checkpoint's state can't be read ({error})", where, "Remove that folder to go on from the one before."
        ) from error
    return read_tensors(where / "model.safetensors"), state


def restore(folder: Path, step: int, state: dict[str, Any], optimizers: Sequence[Any]) -> None:
    """Puts optimizer and random state back as they were at `step`."""
    tensors = read_tensors(folder / f"step-{step:06d}" / "training.safetensors")
    for number, (optimizer, data) in enumerate(zip(optimizers, state["optimizers"], strict=True)):
        optimizer.load_state_dict(_unpack(tensors, data, f"optimizer{number}"))
    torch.set_rng_state(tensors["rng"])
