"""The base language model of a checkpoint: its name, its configuration, its tokenizer, and whether its weights are at hand.

Nothing is fetched: a base is at hand where it is a folder or lies in the hub's cache on this machine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import plugins
from ..errors import UserError
from ..model.hub import is_name
from ..model.tokenizers import has_tokenizer, local_folder, read_tokenizer
from ..progress import Progress
from ..recipe import Decoder
from .keys import same_bits
from .reading import read
from .shapes import Shapes, llama, llama_sizes

WEIGHTS = ("model.safetensors.index.json", "model.safetensors")


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """A base language model: `name` as recipes have it, `folder` where it lies here, `chosen` where the user named it."""

    name: str
    folder: Path | None
    revision: str | None
    chosen: bool

    @property
    def weights(self) -> Path | None:
        """Its weights as safetensors, the only form that a run loads a base from."""
        return next((self.folder / n for n in WEIGHTS if (self.folder / n).is_file()), None) if self.folder else None


def decoder_change(decoder: str) -> dict[str, Any]:
    """`--decoder` as a change of a recipe: a folder, a hub name `owner/name`, or a decoder plugin.

    Raises UserError for a folder that isn't there and an unknown name.
    """
    if Path(decoder).is_dir() or is_name(decoder):
        return {"name": "hf", "options": {"path": decoder}}
    if "/" in decoder:
        raise UserError("there is no such folder", decoder, "Give a folder, or a name on the hub: --decoder OWNER/NAME")
    plugins.registry().find("decoder", decoder)
    return {"name": decoder}


def find_base(spec: Decoder, chosen: bool) -> Base:
    """The base that a recipe's decoder names. Raises UserError where that decoder has none."""
    plugin = plugins.resolve("decoder", spec.name, spec.options, dtype=spec.dtype)
    name, revision = getattr(plugin, "base", None), getattr(plugin, "revision", None)
    if name is None:
        raise UserError(
            f"the decoder '{spec.name}' has no base language model", "--decoder", "Name one on the hub, or a folder of one."
        )
    folder = local_folder(name, revision)
    if folder is not None and folder.parent.name == "snapshots":
        revision = folder.name
    return Base(str(name), folder, revision, chosen)


def configuration(shapes: Shapes, base: Base, source: Path, dtype: str) -> tuple[dict[str, Any], list[str]]:
    """The language model's configuration and notes: from a config.json at hand whose sizes are the checkpoint's, else derived.

    Raises UserError where the base that the user chose is another model.
    """
    wanted = llama_sizes(shapes)
    places = [base.folder] * base.chosen + [source] + [base.folder] * (not base.chosen)
    notes: list[str] = []
    for folder in (p for p in places if p is not None):
        found = _read_config(folder)
        odd = [f"{k} is {found.get(k)} instead of {v}" for k, v in wanted.items() if found.get(k) != v] if found else []
        if found and not odd:
            return {**found, "dtype": dtype}, notes
        if odd and base.chosen and folder == base.folder:
            raise UserError(
                f"this isn't the checkpoint's language model: {', '.join(odd)}", folder, "Choose another --decoder."
            )
        notes += [f"{folder / 'config.json'} is of another model and not used"] if odd else []
    derived, more = llama(shapes)
    return {**derived, "dtype": dtype}, notes + more


def _read_config(folder: Path) -> dict[str, Any]:
    """A language model's configuration in a folder, completed by transformers; nothing where there is none."""
    from transformers import AutoConfig

    path = folder / "config.json"
    try:
        if "hidden_size" not in json.loads(path.read_text(encoding="utf-8")):
            return {}
        return AutoConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def base_name(key: str) -> str | None:
    """A base's own name of our decoder key; None for an adapter's."""
    if ".lora_" in key:
        return None
    return key.removeprefix("decoder.").removeprefix("base_model.model.").replace(".base_layer.", ".")


def base_tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor | None:
    """A base's tensor; an output layer that is tied to the word table isn't stored."""
    found = tensors.get(name)
    return tensors.get("model.embed_tokens.weight") if found is None and name == "lm_head.weight" else found


def same_as_base(ours: Mapping[str, Tensor], weights: Path, progress: Progress) -> str:
    """Why the decoder of `ours` isn't bit for bit the base in `weights`; an empty text where it is."""
    try:
        base = read(weights)
    except UserError as error:
        return error.what
    names = {key: name for key in ours if key.startswith("decoder.") and (name := base_name(key))}
    # small ones first: a base that was trained further differs in each
    for done, key in enumerate(sorted(names, key=lambda k: ours[k].numel()), start=1):
        theirs = base_tensor(base, names[key])
        if theirs is None or not same_bits(ours[key], theirs):
            return f"'{names[key]}' is {'missing' if theirs is None else 'another'} there"
        progress("Compare with the base", done, len(names))
    return ""


def find_tokenizer(base: Base, source: Path, vocabulary: int) -> tuple[Any, list[str]]:
    """The tokenizer of the chosen base, of the checkpoint's folder or of the base in the cache; or none, and notes.

    Raises UserError where the chosen one doesn't belong to the checkpoint.
    """
    notes: list[str] = []
    for folder in _tokenizer_folders(base, source):
        chosen = base.chosen and folder == base.folder
        try:
            tokenizer = read_tokenizer(folder)
            if len(tokenizer) > vocabulary:
                what = f"the tokenizer has {len(tokenizer)} words, the checkpoint's table {vocabulary}"
                raise UserError(what, folder, "Give the one that the checkpoint was trained with.")
            return tokenizer, notes
        except UserError as error:
            if chosen:
                raise
            notes.append(f"{folder}: {error.what}")
    return None, notes


def _tokenizer_folders(base: Base, source: Path) -> Iterator[Path]:
    places = [base.folder] * base.chosen + [source] + [base.folder] * (not base.chosen)
    return (p for p in places if p is not None and has_tokenizer(p))
