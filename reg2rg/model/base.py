"""The base language model of a run: which one it was, where it is found again, and whether another has taken its place.

A run folder holds adapters, not the base's weights. Its config.json says `base` (a hub name or a folder), `base_revision` (the
hub's commit; null for a folder), `base_vocabulary` and `base_fingerprint`. In: a decoder and its tokenizer. Out: these facts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..recipe import Decoder

KEYS = ("base", "base_revision", "base_vocabulary", "base_fingerprint")
# what may differ between two loadings of one model
_VOLATILE = re.compile(r"_.*|.*dtype|transformers_version|use_cache|quantization_config|output_.*|return_dict.*|.*_token_id")


def describe(base: str | None, decoder: Any, tokenizer: Any) -> dict[str, str | None]:
    """The facts of config.json; a folder is named by its absolute path. `base` None: the run needs none."""
    if base is None:
        return {"base": None}
    folder = _folder(decoder)
    return named(base, _revision(folder), folder, tokenizer)


def named(base: str, revision: str | None, folder: Path | None, tokenizer: Any) -> dict[str, str | None]:
    """The facts of the base called `base` whose weights lie in `folder`."""
    return {
        "base": absolute(base),
        "base_revision": revision,
        "base_vocabulary": vocabulary(tokenizer),
        "base_fingerprint": None if folder is None else fingerprint(folder),
    }


def absolute(base: str) -> str:
    """A hub name as it is, a folder by its absolute path."""
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def placed(spec: Decoder, config: Mapping[str, Any], moved: str | None) -> Decoder:
    """`spec` with the base where it lies now: at `moved`, else where config.json says, at the same commit of the hub."""
    options = {k: v for k, v in spec.options.items() if k not in ("path", "revision")}
    options["path"] = moved or config["base"]
    if not moved and config.get("base_revision"):
        options["revision"] = config["base_revision"]
    return spec.model_copy(update={"options": options})


def refuse_another(config: Mapping[str, Any], decoder: Any, tokenizer: Any, where: Path) -> None:
    """Raises UserError where configuration or vocabulary differ from those of the run's base: its weights wouldn't fit."""
    old, new = config.get("decoder") or {}, _plain(decoder).config.to_dict()
    odd = [k for k in sorted(old.keys() & new.keys()) if not _VOLATILE.fullmatch(k) and old[k] != json.loads(_json(new[k]))]
    told = [f"{k} is {new[k]} instead of {old[k]}" for k in odd[:3]]
    wanted = config.get("base_vocabulary")
    if wanted and wanted != vocabulary(tokenizer):
        told.append("its tokenizer has another vocabulary")
    if told:
        fix = f"It was trained on '{config.get('base')}': give that one with --decoder FOLDER."
        raise UserError(f"this isn't the base language model of the run ({'; '.join(told)})", where, fix)


def doubt(config: Mapping[str, Any], decoder: Any) -> str | None:
    """A warning where the base's weights are not those that the run was trained on, though they fit."""
    wanted, folder = config.get("base_fingerprint"), _folder(decoder)
    if not wanted or folder is None or fingerprint(folder) == wanted:
        return None
    return (
        f"The base language model at '{_plain(decoder).name_or_path}' has other weights than '{config.get('base')}', "
        "on which this run was trained: its reports may be nonsense."
    )


def fingerprint(folder: Path) -> str | None:
    """A short hash of every tensor's name, type, shape and first row: the same for one file and for shards.

    Read in well under a second for 7B. None where the folder has no safetensors.
    """
    from safetensors import safe_open

    rows: dict[str, bytes] = {}
    for file in _weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                shape = opened.get_slice(name).get_shape()
                row = opened.get_slice(name)[:1] if shape else opened.get_tensor(name)
                facts = f"{name} {row.dtype} {shape}".encode()
                rows[name] = facts + row.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if not rows:
        return None
    return hashlib.sha256(b"".join(rows[name] for name in sorted(rows))).hexdigest()[:16]


def vocabulary(tokenizer: Any) -> str:
    """A short hash of a tokenizer's pieces and their ids."""
    return hashlib.sha256(_json(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()[:16]


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / name for name in sorted(names)]
    return [p for p in [folder / "model.safetensors"] if p.is_file()]


def _plain(decoder: Any) -> Any:
    return decoder.get_base_model() if hasattr(decoder, "get_base_model") else decoder


def _folder(decoder: Any) -> Path | None:
    """Where the weights were loaded from: transformers keeps it as the model's name."""
    name = getattr(_plain(decoder), "name_or_path", "")
    return Path(name) if name and Path(name).is_dir() else None


def _revision(folder: Path | None) -> str | None:
    """The commit of a snapshot in the hub's cache (`…/snapshots/<commit>`)."""
    if folder is None or folder.parent.name != "snapshots" or not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return None
    return folder.name


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
