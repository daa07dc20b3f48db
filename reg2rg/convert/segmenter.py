"""A text-prompted segmenter's network and text encoder → the folder that its plugin reads, and back.

In: the two published torch files; config.json and tokenizer of the text encoder's tower from a folder that the user names,
beside the files, or in the hub's cache of this machine. The plugin itself says which sizes and keys its weights have, as
`Published`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import __version__, plugins
from ..errors import UserError
from ..files import atomic_folder, write_text
from ..model.tokenizers import local_folder
from ..model.weights import read_tensors, write_tensors
from . import back as backwards
from . import job, keys, reading
from .job import Converted, Request
from .kinds import Kind
from .labeler import BESIDE, TOKENIZERS
from .tables import LAYOUTS

WEIGHTS, CONFIG, TEXT = "model.safetensors", "config.json", "text"


class Published(Protocol):
    """What a segmenter with published weights offers as its attribute `published`."""

    text_base: str  # the hub's name of the text encoder's tower

    def configuration(self, network: Mapping[str, Tensor], encoder: Mapping[str, Tensor]) -> tuple[dict[str, Any], list[str]]:
        """config.json's content, and notes, from the tensors by our names."""
        ...

    def blueprints(
        self, config: Mapping[str, Any], tower: Mapping[str, Any]
    ) -> tuple[dict[str, torch.Size], dict[str, torch.Size]]:
        """The keys and shapes of network and text encoder."""
        ...

    def prepare(self, folder: Path) -> None:
        """Completes a folder that holds weights, config.json and text/."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One published file: where it lies, its tensors as they are, and sorted by its layout."""

    file: Path
    tensors: dict[str, Tensor]
    found: keys.Sorted


def published(kind: Kind) -> Published:
    """The plugin's side of a kind's conversion."""
    found: Published = plugins.target_of("segmenter", LAYOUTS[kind.layouts[0]].parts["segmenter"]).published
    return found


def forth(request: Request) -> Converted:
    """Writes the segmenter's folder. Raises UserError, and leaves nothing, where a file isn't as published."""
    job.refuse_existing(request.out)
    own = published(request.kind)
    network, text = _parts(request)
    tower = _tower(request, text.file.parent, own.text_base)
    config, notes = own.configuration(network.found.ours, text.found.ours)
    wanted = own.blueprints(config, _read_tower(tower, own.text_base))
    keys.check(network.found, wanted[0], network.file)
    keys.check(text.found, wanted[1], text.file, f"Give config.json of {own.text_base}: --tokenizer FOLDER.")
    job.check_room(request.out, job.bytes_of(network.found.ours) + job.bytes_of(text.found.ours))
    request.progress("Write", 0, 1)
    with atomic_folder(request.out) as folder:
        _write(folder, request.kind, network, text, config)
        _copy_tower(tower, folder / TEXT)
        own.prepare(folder)
        files = tuple(sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()))
    request.progress("Write", 1, 1)
    tensors = [*network.found.ours.values(), *text.found.ours.values()]
    count = sum(tensor.numel() for tensor in tensors)
    return Converted(request.kind.name, request.out, files, len(tensors), count, tokenizer=True, notes=tuple(notes))


def back(request: Request) -> Converted:
    """Writes the published files of a segmenter's folder again. Raises UserError where the folder is none."""
    source, layouts = request.source, [LAYOUTS[name] for name in request.kind.layouts]
    places = {layout.name: source / place for layout, place in zip(layouts, ("", TEXT), strict=True)}
    if lacking := [place for place in places.values() if not (place / WEIGHTS).is_file()]:
        raise UserError("this is no segmenter's folder", source, f"Give a folder with {lacking[0] / WEIGHTS}.")
    record = job.read_record(source, request.kind.name)
    if not record:
        raise UserError(f"the folder lacks {job.OFFICIAL}, which says how its files were", source, "Convert them again.")
    written, total, counted = {}, 0, 0
    for name, (layout_name, types) in record.items():
        own = read_tensors(places[layout_name] / WEIGHTS)
        kept = backwards.rest(places[layout_name])
        written[name] = backwards.official_tensors(LAYOUTS[layout_name], types, own, kept, source)
        total, counted = total + len(types), counted + sum(tensor.numel() for tensor in own.values())
    job.refuse_existing(request.out)
    job.check_room(request.out, sum(job.bytes_of(tensors) for tensors in written.values()))
    with atomic_folder(request.out) as folder:
        for name, tensors in written.items():
            nested = LAYOUTS[record[name][0]].nested
            job.write_torch(folder / name, tensors, nested if all(k.startswith(nested) for k in tensors) else ())
    return Converted(request.kind.name, request.out, tuple(written), total, counted)


def _parts(request: Request) -> tuple[Part, Part]:
    """The two published files. Raises UserError where one is missing or of another kind."""
    network, text = (LAYOUTS[name] for name in request.kind.layouts)
    file = reading.find(request.source, network.files) or _only(request.source, text.files)
    if file is None:
        what = f"the folder has none of {', '.join(network.files)}, nor one other .pth alone"
        raise UserError(what, request.source, "Give the network's file itself, with its text encoder beside it.")
    first = _part(file, network.name)
    beside = next((file.parent / name for name in text.files if (file.parent / name).is_file()), None)
    if beside is None:
        what = f"the text encoder isn't beside the network: {' or '.join(text.files)} is missing"
        raise UserError(what, file.parent, "Copy it there; both must be of one training.")
    return first, _part(beside, text.name)


def _only(folder: Path, others: tuple[str, ...]) -> Path | None:
    """The one torch file of a folder that isn't one of `others`; None where there are none or several."""
    found = sorted(p for p in folder.glob("*.pth") if p.name not in others)
    return found[0] if len(found) == 1 else None


def _part(file: Path, layout: str) -> Part:
    tensors = reading.read(file, LAYOUTS[layout].nested)
    return Part(file, tensors, keys.sort(keys.expect(tensors, (layout,), file), tensors, file))


def _tower(request: Request, beside: Path, base: str) -> Path:
    """The folder with the text encoder's config.json and tokenizer. Raises UserError where there is none."""
    places = [local_folder(request.tokenizer)] if request.tokenizer else [beside, local_folder(base)]
    for place in places:
        if place is not None and (place / CONFIG).is_file() and _words(place):
            return place
    files = "config.json and tokenizer.json (or vocab.txt)"
    if request.tokenizer:
        raise UserError(f"the folder has no {files}", request.tokenizer, f"Give one with those of {base}.")
    raise UserError(f"there is no {files} of the text encoder", beside, f"Say where those of {base} lie: --tokenizer FOLDER.")


def _words(place: Path) -> list[str]:
    """The files of the tokenizer in a folder; none where it holds none."""
    names = next((names for names in TOKENIZERS if all((place / name).is_file() for name in names)), ())
    return [name for name in (*names, *BESIDE) if (place / name).is_file()] if names else []


def _read_tower(place: Path, base: str) -> dict[str, Any]:
    try:
        data = json.loads((place / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError("the text encoder's config.json can't be read", place / CONFIG, f"Give that of {base}.") from error
    if not isinstance(data, dict) or "model_type" not in data:
        raise UserError("this config.json names no model_type", place / CONFIG, f"Give that of {base}.")
    return data


def _write(folder: Path, kind: Kind, network: Part, text: Part, config: Mapping[str, Any]) -> None:
    for place, part in ((folder, network), (folder / TEXT, text)):
        place.mkdir(exist_ok=True)
        write_tensors(place / WEIGHTS, part.found.ours)
        if part.found.rest:
            write_tensors(place / job.REST, part.found.rest)
    record = {p.file.name: (p.found.layout.name, job.describe(p.tensors)) for p in (network, text)}
    job.write_record(folder, kind.name, record)
    about = {**config, "kind": kind.name, "converted_from": [*record], "reg2rg_version": __version__}
    write_text(folder / CONFIG, json.dumps(about, indent=2) + "\n")
    write_text(folder / "README.md", _card(kind, [*record]))


def _copy_tower(source: Path, folder: Path) -> None:
    for name in (CONFIG, *_words(source)):
        shutil.copyfile(source / name, folder / name)


def _card(kind: Kind, sources: list[str]) -> str:
    """The folder's README."""
    return (
        f"# Weights of the segmenter `{kind.name}`\n\nPublished weights ({', '.join(sources)}), converted by reg2rg "
        f"{__version__}; they stay under the terms of their authors. `config.json` holds the network's sizes, "
        "`queries.safetensors` the queries of the segmenter's own prompts, `text/` the text encoder for any other.\n\n"
        f"Use: `reg2rg preprocess SOURCE --out STORE --segmenter {kind.name} --set weights=THIS_FOLDER`.\n"
    )
