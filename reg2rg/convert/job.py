"""A conversion's request and result, and the record of the official form that makes the way back exact.

`official.json` beside converted weights says which keys the official file had and their types; what our model has no place for
lies in `rest.safetensors`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import atomic_file, nearest, write_text
from ..progress import Progress, silent
from .kinds import Kind
from .tables import LAYOUTS

OFFICIAL, REST = "official.json", "rest.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What to convert: `recipe` and `sets` as for training, `decoder` the base language model's hub name or folder.

    `tokenizer`: where a labeler's or a text encoder's tokenizer and config.json lie, a folder or a hub name.
    """

    kind: Kind
    source: Path
    out: Path
    recipe: str = "reg2rg"
    sets: Sequence[str] = ()
    decoder: str | None = None
    tokenizer: str | None = None
    progress: Progress = silent


@dataclasses.dataclass(frozen=True, slots=True)
class Converted:
    """What was written: files, counts, groups left out (with their numbers of keys), and notes for the user."""

    kind: str
    out: Path
    files: tuple[str, ...]
    keys: int
    parameters: int
    base: str | None = None
    base_revision: str | None = None
    base_left_out: bool = False
    tokenizer: bool | None = None
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of `convert --json`."""
        return {**dataclasses.asdict(self), "out": str(self.out)}


def refuse_existing(out: Path) -> None:
    """Raises UserError where `out` holds anything already."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError("there is something already", out, "Choose another --out.")


def describe(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Each key's type, as official.json has it."""
    return {key: str(tensor.dtype).removeprefix("torch.") for key, tensor in tensors.items()}


def write_record(folder: Path, kind: str, files: Mapping[str, tuple[str, dict[str, str]]]) -> None:
    """Writes official.json: each official file's layout and its keys with their types."""
    data = {"kind": kind, "files": {name: {"layout": layout, "keys": keys} for name, (layout, keys) in files.items()}}
    write_text(folder / OFFICIAL, json.dumps(data, indent=1) + "\n")


def read_record(folder: Path, kind: str) -> dict[str, tuple[str, dict[str, str]]]:
    """The files of official.json; none where the weights didn't come from official ones."""
    path = folder / OFFICIAL
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (file["layout"], dict(file["keys"])) for name, file in data["files"].items()}
        known = all(Path(name).name == name and layout in LAYOUTS for name, (layout, _) in files.items())
        own = data["kind"] == kind
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError("the record of the official form can't be read", path, "Convert the official file again.") from error
    if not own:
        raise UserError(f"these weights came from the kind '{data['kind']}', not '{kind}'", folder, f"Use: {data['kind']}")
    if not known:
        raise UserError("the record of the official form isn't of this program's making", path)
    return files


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    """The size of the tensors on disk."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


def check_room(out: Path, need: int) -> None:
    """Raises UserError where the disk of `out` has less than `need` bytes free."""
    if (free := shutil.disk_usage(nearest(out)).free) < need:
        raise UserError(
            f"{need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free", out, "Make room, or choose another --out."
        )


def write_torch(path: Path, tensors: Mapping[str, Tensor], nested: Sequence[str] = ()) -> None:
    """Writes a torch file as the official ones are: tensors by name, or groups of them where the layout is `nested`."""
    data: dict[str, Any] = dict(tensors)
    if nested:
        data = {}
        for key, tensor in tensors.items():
            group, _, rest = key.partition(".")
            data.setdefault(group, {})[rest] = tensor
    try:
        with atomic_file(path) as temporary:
            torch.save(data, temporary)
    except RuntimeError as error:  # torch's writer says so where the disk is full
        raise UserError(
            f"the file can't be written ({str(error).splitlines()[0]})", path, "Make room, or choose another --out."
        ) from error
