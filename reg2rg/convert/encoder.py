"""Published visual modules → a folder for `train --init`: `encoder.safetensors` with keys `volume_encoder.…`, `adapter.…`.

In: the authors' part files, any one of them, or a whole model of which the rest is left out. Beside the weights lie the options
that the modules were built with, and what the way back needs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__, plugins
from .. import recipe as recipes
from ..errors import UserError
from ..files import atomic_folder, write_text
from ..model.weights import write_tensors
from . import job, keys, reading, settle
from .job import Converted, Request
from .kinds import DEFAULT, Kind
from .shapes import READS, Shapes
from .tables import LAYOUTS

WEIGHTS, CONFIG = "encoder.safetensors", "config.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One official file: its tensors, sorted, and the modules that they make."""

    file: Path
    tensors: dict[str, Tensor]
    found: keys.Sorted
    modules: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether the file is a whole model, of which this is a part."""
        return bool(self.found.layout.left_out)


def forth(request: Request) -> Converted:
    """Writes an encoder folder. Raises UserError, and leaves nothing, where a file isn't as published."""
    job.refuse_existing(request.out)
    # what nobody chose is the recipe that the kind is for
    asked = recipes.load(request.kind.recipe if request.recipe == DEFAULT else request.recipe, {}, request.sets)
    files = _files(request)
    parts = []
    for done, file in enumerate(files):
        request.progress("Read", done, len(files))
        parts.append(_part(file, request, asked))
    modules = {name: change for part in parts for name, change in part.modules.items()}
    if len(modules) < sum(len(part.modules) for part in parts):
        raise UserError("two files hold the same module", request.source, "Give one of them.")
    _check_widths(parts)
    request.progress("Read", len(files), len(files))
    return _write(parts, modules, request)


def _files(request: Request) -> list[Path]:
    """The part files in a folder, else a whole model there; a file as it is."""
    wanted = [LAYOUTS[name] for name in request.kind.layouts]
    if request.source.is_file():
        return [request.source]
    parts = [layout for layout in wanted if not layout.left_out]
    found = [file for layout in parts if (file := reading.find(request.source, layout.files))]
    if found:
        return found
    whole = [file for layout in wanted if layout.left_out and (file := reading.find(request.source, layout.files))]
    if whole:
        return whole[:1]
    names = [name for layout in wanted for name in layout.files[:1]]
    raise UserError(f"the folder has none of {', '.join(names)}", request.source, "Give the published files.")


def _part(file: Path, request: Request, asked: recipes.Recipe) -> Part:
    known = [LAYOUTS[name] for name in request.kind.layouts]
    tensors = reading.read(file, [group for layout in known for group in layout.nested if f"{group}." in layout.wrappers])
    layout = keys.expect(tensors, request.kind.layouts, file)
    found = keys.sort(layout, tensors, file)
    modules = settle.module_changes(layout, found.ours, asked)
    keys.check(found, blueprint(modules, found.ours), file, "Say another architecture with --set KEY=VALUE.")
    return Part(file, tensors, found, modules)


def blueprint(modules: Mapping[str, Any], ours: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The keys and shapes of the modules, without their memory."""
    out: dict[str, torch.Size] = {}
    for section, change in modules.items():
        width = Shapes(ours, f"{section}.").size(READS, 1)
        filled = {} if width is None else {"width": width}
        with torch.device("meta"):
            module: nn.Module = plugins.resolve(settle.plugin_kind(section), change["name"], change["options"], **filled)
        out |= {f"{section}.{key}": value.shape for key, value in module.state_dict().items()}
    return out


def part_record(kind: Kind, own: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> dict[str, tuple[str, dict[str, str]]]:
    """The record of the authors' part files for the modules in `own`, however they came."""
    out = {}
    for layout in (LAYOUTS[name] for name in kind.layouts):
        mine = {k: v for k, v in own.items() if k.split(".")[0] in layout.parts}
        if mine and not layout.left_out:
            types = {str(layout.official(k)): t for k, t in job.describe(mine).items()}
            aside = {k: t for k, t in job.describe(rest).items() if layout.rest(k) is not None}
            out[layout.files[0]] = (layout.name, {**types, **aside})
    return out


def _check_widths(parts: list[Part]) -> None:
    """The adapter must read what the encoder gives."""
    widths = {}
    for part in parts:
        shapes = Shapes(part.found.ours)
        for name, key, axis in (
            ("encoder", r"volume_encoder\.to_patch_embedding\.2\.weight", 0),
            ("adapter", rf"adapter\.({READS})", 1),
        ):
            if (size := shapes.size(key, axis)) is not None:
                widths[name] = size
    if len(set(widths.values())) > 1:
        what = f"the encoder is {widths['encoder']} wide, the adapter {widths['adapter']}"
        raise UserError(what, parts[0].file.parent, "They must come from one model.")


def _write(parts: list[Part], modules: dict[str, Any], request: Request) -> Converted:
    ours = {k: v for part in parts for k, v in part.found.ours.items()}
    rest = {k: v for part in parts for k, v in part.found.rest.items()}
    left_out: dict[str, int] = {}
    for part in parts:
        left_out |= part.found.left_out
    job.check_room(request.out, job.bytes_of({**ours, **rest}))
    record = {p.file.name: (p.found.layout.name, job.describe(p.tensors)) for p in parts if not p.whole}
    record = record or part_record(request.kind, ours, rest)
    sources = [p.file.name for p in parts]
    about = {**modules, "converted_from": sources, "kind": request.kind.name, "reg2rg_version": __version__}
    recipe = [f"--recipe {request.kind.recipe}"] * (request.kind.recipe != DEFAULT)
    options = " ".join([*recipe, *(f"--set {text}" for text in settle.unusual(modules))])
    request.progress("Write", 0, 1)
    with atomic_folder(request.out) as folder:
        write_tensors(folder / WEIGHTS, ours)
        if rest:
            write_tensors(folder / job.REST, rest)
        job.write_record(folder, request.kind.name, record)
        write_text(folder / CONFIG, json.dumps(about, indent=2) + "\n")
        write_text(folder / "README.md", _card(request, sources, modules, options))
        files = tuple(sorted(p.name for p in folder.iterdir()))
    request.progress("Write", 1, 1)
    wanted = {name: None for layout in request.kind.layouts for name in LAYOUTS[layout].parts}
    absent = [f"{name.replace('_', ' ')} isn't in it" for name in wanted if name not in modules]
    notes = [f"the {text}: {sources[0]} holds the other one alone" for text in absent]
    if options:
        notes.append(f"train with the same architecture: {options}")
    parameters = sum(v.numel() for v in ours.values())
    return Converted(request.kind.name, request.out, files, len(ours), parameters, left_out=left_out, notes=tuple(notes))


def _card(request: Request, sources: list[str], modules: Mapping[str, Any], options: str) -> str:
    """The encoder's README."""
    named = ", ".join(f"{name.replace('_', ' ')} `{change['name']}`" for name, change in modules.items())
    return (
        f"# {request.kind.name}: {named}\n\nPublished weights ({', '.join(sources)}), converted by reg2rg {__version__}; they "
        "stay under the terms of their authors. `config.json` holds the modules' options.\n\n"
        f"Use: `reg2rg train --data STORE --out RUN --init THIS_FOLDER{' ' + options if options else ''}`.\n"
    )
