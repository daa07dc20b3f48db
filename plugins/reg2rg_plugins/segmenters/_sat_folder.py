"""The folder of SAT's weights that `reg2rg convert sat` writes: its files checked, read and, while converting, completed.

`model.safetensors` the network, `config.json` its sizes, `queries.safetensors` each prompt's query, `text/` the text encoder
with its tokenizer, which only prompts of one's own need.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from reg2rg.errors import UserError

from . import _sat_text as text
from ._sat_classes import TABLE
from ._sat_config import FORMAT, Sizes, dumps, sizes_of
from ._sat_queries import Network

VARIABLE = "REG2RG_SAT"  # where the weights lie, for those who don't want to say it each time
WEIGHTS, CONFIG, QUERIES, TEXT = "model.safetensors", "config.json", "queries.safetensors", "text"
AGAIN = "Convert the published files again: reg2rg convert sat FOLDER --out DIR"
HOW = (
    "Get SAT_Pro.pth or SAT-Nano's file with its text_encoder.pth (hub name zzh99/SAT), and config.json and the tokenizer of "
    f"{text.BASE}, into one folder, run: reg2rg convert sat FOLDER --out DIR, and say --set weights=DIR or set {VARIABLE}=DIR."
)


class Published:
    """What `reg2rg convert` asks of this segmenter: sizes and keys of its published weights, and a folder's last touch."""

    text_base = text.BASE

    @staticmethod
    def configuration(network: Mapping[str, Tensor], encoder: Mapping[str, Tensor]) -> tuple[dict[str, Any], list[str]]:
        """config.json's content, and notes, from both files' tensors. Raises UserError where a size can't be told from them."""
        sizes, notes = sizes_of(network)
        first, last = encoder.get("projection_layer.0.weight"), encoder.get("projection_layer.2.weight")
        if first is None or last is None:
            raise UserError("the text encoder's projection_layer.0.weight or projection_layer.2.weight is missing")
        if last.shape[0] != sizes.width:
            raise UserError(
                f"the text encoder gives {last.shape[0]} values, the network takes {sizes.width}",
                fix="Give the text encoder that was published with this network.",
            )
        about = {"hidden": int(first.shape[0]), "width": int(last.shape[0])}
        return {"format": FORMAT, "size": sizes.name, **sizes.to_json(), "text": about}, notes

    @staticmethod
    def blueprints(config: Mapping[str, Any], tower: Mapping[str, Any]) -> tuple[dict[str, torch.Size], dict[str, torch.Size]]:
        """The keys and shapes of network and text encoder; `tower` is the content of the text encoder's config.json."""
        with torch.device("meta"):
            network = Network(Sizes.from_json(config))
        encoder = text.build(tower, config["text"]["hidden"], config["text"]["width"], "meta")
        return tuple({k: v.shape for k, v in part.state_dict().items()} for part in (network, encoder))  # type: ignore[return-value]

    @staticmethod
    def prepare(folder: Path) -> None:
        """Computes the queries of the segmenter's own prompts, and writes the weights' digest into config.json."""
        prompts = list(dict.fromkeys(prompt for prompts in TABLE.values() for prompt in prompts))
        (folder / QUERIES).write_bytes(save(_ask(folder, prompts), metadata={"format": "pt"}))
        config, _ = read_config(folder)
        digest = hashlib.sha256()
        for name in (WEIGHTS, QUERIES):
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        (folder / CONFIG).write_text(dumps({**config, "digest": digest.hexdigest()[:16]}), encoding="utf-8")


def find(weights: str | None) -> Path:
    """The weights' folder. Raises UserError where none is named, or a published file instead of it, or files are missing."""
    given = weights or os.environ.get(VARIABLE)
    if not given:
        raise UserError("the segmenter 'sat' needs its weights, and none are named", fix=HOW)
    path = Path(given).expanduser()
    if path.is_file():
        fix = f"Turn it into a folder, and name that: reg2rg convert sat {path} --out DIR"
        raise UserError("the segmenter 'sat' reads a converted folder, not a published file", path, fix)
    if not path.is_dir():
        raise UserError("there is no such folder with the weights of the segmenter 'sat'", path, HOW)
    if absent := [name for name in (WEIGHTS, CONFIG, QUERIES) if not (path / name).is_file()]:
        published = sorted(p.name for p in path.glob("*.pth"))
        fix = f"Turn it into such a folder: reg2rg convert sat {path} --out DIR" if published else HOW
        raise UserError(f"the folder lacks {' and '.join(absent)} of the segmenter 'sat'", path, fix)
    return path


def read_config(folder: Path) -> tuple[dict[str, Any], Sizes]:
    """config.json and the sizes in it. Raises UserError where it is none of SAT's."""
    path = folder / CONFIG
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"its format isn't {FORMAT}")
        return data, Sizes.from_json(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"this is no configuration of the segmenter 'sat' ({error})", path, AGAIN) from error


def check(folder: Path, sizes: Sizes) -> None:
    """Compares the file's names and shapes with the network's, without reading it. Raises UserError that names the odd ones."""
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in Network(sizes).state_dict().items()}
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights can't be read ({error})", folder / WEIGHTS, AGAIN) from error
    told = [f"'{key}' is missing" for key in own if key not in found][:3]
    told += [f"'{key}' is unknown" for key in found if key not in own][:3]
    told += [f"'{key}' is {found[key]} instead of {own[key]}" for key in own if key in found and found[key] != own[key]][:3]
    if told:
        raise UserError(f"the weights don't fit the folder's config.json: {'; '.join(told)}", folder / WEIGHTS, AGAIN)


@functools.lru_cache(maxsize=1)
def load(folder: Path, sizes: Sizes, device: torch.device, stamp: int) -> Network:
    """The network, ready to be asked; kept, since a process may build the segmenter twice.

    `stamp` is the weights' time of change: others at the same place are read anew.
    """
    with torch.device("meta"):
        network = Network(sizes)
    tensors = {key: tensor.float() for key, tensor in load_file(folder / WEIGHTS, device=str(device)).items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def queries(folder: Path, prompts: Sequence[str], width: int) -> Tensor:
    """Each prompt's query (n, width), float32: the stored one, else what the text encoder in `text/` makes of it.

    Raises UserError where the text encoder is needed and missing, or the stored queries don't fit.
    """
    try:
        known = load_file(folder / QUERIES)
    except (SafetensorError, OSError) as error:
        raise UserError(f"the prompts' queries can't be read ({error})", folder / QUERIES, AGAIN) from error
    if new := [prompt for prompt in prompts if prompt not in known]:
        known |= _ask(folder, new)
    if odd := [prompt for prompt in prompts if known[prompt].shape != (width,)]:
        raise UserError(f"the query of '{odd[0]}' is {tuple(known[odd[0]].shape)}, not ({width},)", folder / QUERIES, AGAIN)
    return torch.stack([known[prompt].float() for prompt in prompts])


def _ask(folder: Path, prompts: Sequence[str]) -> dict[str, Tensor]:
    """The text encoder's queries. Raises UserError where its files are missing or don't fit."""
    place = folder / TEXT
    if not (place / WEIGHTS).is_file() or not (place / CONFIG).is_file():
        what = f"the query of '{prompts[0]}' isn't stored, and the text encoder that could make it is missing"
        raise UserError(what, place, AGAIN)
    config, _ = read_config(folder)
    encoder = text.build(text.read_config(place / CONFIG), config["text"]["hidden"], config["text"]["width"])
    try:
        encoder.load_state_dict({key: tensor.float() for key, tensor in load_file(place / WEIGHTS).items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        first = (str(error).splitlines() or ["?"])[-1].strip()[:200]
        raise UserError(f"the text encoder's weights don't fit its config.json ({first})", place, AGAIN) from error
    return text.encode(encoder, place, prompts)
