"""Tokenizers of runs and base language models on this machine: looked up, read and written, never fetched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import plugins
from ..errors import UserError

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def local_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of a model on this machine: `name` itself, or the hub's copy in the cache; None where there is none."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any((folder / name).is_file() for name in FILES)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a language model's folder, padding set. Raises UserError where it can't be loaded."""
    return plugins.resolve("decoder", "hf", {"path": str(folder)}).tokenizer()


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes a tokenizer's files; a SentencePiece model too, which alone gives the original's ids for every text."""
    tokenizer.save_pretrained(str(folder))
    model = getattr(tokenizer, "vocab_file", None)
    pieces = folder / "tokenizer.model"
    if model and Path(model).name == pieces.name and Path(model).is_file() and not pieces.exists():
        shutil.copyfile(model, pieces)


def run_tokenizer(folder: Path, config: Mapping[str, Any], moved: str | None = None) -> Any:
    """The tokenizer of a run that holds its whole decoder: the run's own, else that of the model named by its config.json.

    `moved`: where that model lies now. Raises UserError where there is none on this machine, or one of another vocabulary.
    """
    from transformers import AutoTokenizer

    name = moved or config.get("tokenizer")
    if has_tokenizer(folder) or not name:
        return AutoTokenizer.from_pretrained(str(folder))
    place = local_folder(name, None if moved else config.get("tokenizer_revision"))
    if place is None or not has_tokenizer(place):
        what = f"the run holds no tokenizer, and there is none of '{name}' on this machine"
        raise UserError(
            what, folder, "Say where its language model lies: --decoder FOLDER (tokenizer.json or tokenizer.model)."
        )
    tokenizer, words = read_tokenizer(place), config["decoder"].get("vocab_size", 0)
    if len(tokenizer) > words:
        raise UserError(f"this tokenizer has {len(tokenizer)} words, the run's table {words}", place, "Give the run's own.")
    return tokenizer
