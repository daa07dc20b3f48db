"""Weights files → tensors by name, on the disk until they are used; nothing is unpickled.

Read: torch's files (`.bin`, `.pth`; weights only), safetensors, and either in shards with an index. A file is known by its
content, not by its ending.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError

AGAIN = "Copy or download it again."


def find(source: Path, files: Sequence[str]) -> Path | None:
    """The file of that name in the folder `source`, the first of `files` that is there; `source` itself where it is a file.

    Raises UserError where `source` is missing.
    """
    if not source.exists():
        raise UserError("there is no such file or folder", source, f"Give {files[0]}, or the folder that holds it.")
    if source.is_file():
        return source
    return next((source / name for name in files if (source / name).is_file()), None)


def read(path: Path, only: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a weights file or of the shards that an index names, in the file's order; groups joined with a dot.

    `only`: where a torch file holds one of these groups, nothing beside them is looked at (a training's record). Raises
    UserError where the file is broken, cut off, no weights file, or holds objects other than tensors.
    """
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    head = _head(path)
    if _is_safetensors(head, path):
        return _read_safetensors(path)
    if head.startswith(b"PK\x03\x04"):
        return _flat(_within(_read_torch(path, mmap=True), only), path)
    if head[:1] == b"\x80":  # torch before 1.6: one pickle stream, which can't be mapped
        return _flat(_within(_read_torch(path, mmap=False), only), path)
    raise UserError(*_no_weights(head, path))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(128)


def _no_weights(head: bytes, path: Path) -> tuple[str, Path, str]:
    if not head:
        return "the file is empty", path, AGAIN
    if head.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the weights", path, "Fetch them in that folder with: git lfs pull"
    if head.lstrip()[:1] == b"<":
        return "this is a web page, not the weights", path, "Download the file itself."
    return "this is no weights file", path, "A torch file (.bin, .pth) or safetensors is expected."


def _is_safetensors(head: bytes, path: Path) -> bool:
    """Eight bytes of the header's length, then JSON."""
    return path.suffix == ".safetensors" or (head[8:9] == b"{" and head[4:8] == b"\0\0\0\0")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise UserError(f"the file is broken or cut off ({error})", path, AGAIN) from error


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own about older forms of tensors, which it reads all the same
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None and "nsupported" not in str(error):
            raise UserError("the file is broken or cut off", path, AGAIN) from error
        what = f" ('{found[1]}')" if found else ""
        fix = "Only files that hold tensors alone are read: ask its authors for one, best as safetensors."
        raise UserError(f"it holds pickled objects{what}, which could run code, and is refused", path, fix) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            fix = "Save its state_dict() instead."
            raise UserError("this is a TorchScript program, not weights, and is refused", path, fix) from error
        raise UserError(f"the file is broken or cut off ({_short(error)})", path, AGAIN) from error
    except (EOFError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, PermissionError):
            raise
        raise UserError(f"the file is broken or cut off ({_short(error)})", path, AGAIN) from error


def _short(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".:")[:120]


def _within(data: Any, only: Sequence[str]) -> Any:
    """The groups named `only` where a mapping holds any of them; else all."""
    kept = {key: data[key] for key in only if key in data} if isinstance(data, Mapping) else {}
    return kept or data


def _flat(data: Any, path: Path) -> dict[str, Tensor]:
    """Tensors by dotted name; anything else in the file is named."""
    if not isinstance(data, Mapping):
        raise UserError(f"it holds a {type(data).__name__}, not tensors by name", path, "A state_dict is expected.")
    out: dict[str, Tensor] = {}
    odd: list[str] = []

    def walk(value: Any, name: str) -> None:
        if isinstance(value, Tensor):
            out[name] = value
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            odd.append(name)

    walk(data, "")
    if odd:
        raise UserError(f"it holds {listed(odd)}, which is no tensor", path, "A file of weights alone is expected.")
    return out


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError("the index of the shards can't be read", index, AGAIN) from error
    odd = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if odd:
        raise UserError(f"the index names {listed(map(str, odd))}, which is no file beside it", index, AGAIN)
    if absent := [name for name in names if not (index.parent / name).is_file()]:
        raise UserError(f"{len(absent)} of {len(names)} shards are missing: {listed(absent)}", index.parent, AGAIN)
    found = {key: tensor for name in names for key, tensor in read(index.parent / name).items()}
    if lost := [key for key in places if key not in found]:
        raise UserError(f"the shards lack {len(lost)} keys of their index: {listed(lost)}", index, AGAIN)
    return {key: found[key] for key in [*places, *(k for k in found if k not in places)]}


def listed(names: Any, most: int = 3) -> str:
    """The first few names in quotes, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
