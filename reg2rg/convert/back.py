"""Ours → the official layout: the same keys, types and bits as in the file that was converted.

A run or an encoder of our own training is written as the official code would name it. A base language model that was left out
of a run is read from where it lies on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import recipe as recipes
from ..errors import UserError
from ..files import atomic_folder
from ..model import base as bases
from ..model import weights
from ..model.tokenizers import local_folder
from . import encoder, job, keys, language, reading
from .job import Converted, Request
from .layouts import Layout
from .tables import LAYOUTS

Types = dict[str, str]  # official key → type


def run(request: Request) -> Converted:
    """Writes the official whole model of a run. Raises UserError where the run has another architecture."""
    layout = LAYOUTS[request.kind.layouts[0]]
    out = target(request.out, layout.files[0])
    config, source = weights.read_config(request.source), request.source
    recipe = recipes.load(source / "recipe.yaml")
    named = {section: part.name for section in layout.parts if (part := getattr(recipe, section)) is not None}
    _check_parts(layout, named, source)
    own = weights.read_tensors(source / weights.WEIGHTS)
    ours = dict(own)
    if config.get("base") and recipe.decoder.lora is not None:
        ours |= _placed(_base(request, config), own, layout)
    record = job.read_record(source, request.kind.name)
    types = next((t for _, t in record.values()), None) or _types(layout, ours, own, recipe.decoder.dtype)
    official = official_tensors(layout, types, ours, rest(source), source)
    _check_used(layout, own, types, source)
    job.check_room(out, job.bytes_of(official))
    request.progress("Write", 0, 1)
    job.write_torch(out, official)
    request.progress("Write", 1, 1)
    return Converted(request.kind.name, out, (out.name,), len(official), _parameters(official), base=config.get("base"))


def parts(request: Request) -> Converted:
    """Writes the official files of an encoder folder. Raises UserError where its modules are others."""
    source = request.source
    if not (source / encoder.WEIGHTS).is_file():
        raise UserError("this is no encoder folder", source, f"Give a folder with {encoder.WEIGHTS}.")
    own, kept = weights.read_tensors(source / encoder.WEIGHTS), rest(source)
    named = {section: change.get("name", "") for section, change in _encoder_config(source).items() if isinstance(change, dict)}
    record = job.read_record(source, request.kind.name) or encoder.part_record(request.kind, own, kept)
    written = {}
    for name, (layout_name, types) in record.items():
        layout = LAYOUTS[layout_name]
        _check_parts(layout, {k: v for k, v in named.items() if k in layout.parts}, source)
        written[name] = official_tensors(layout, types, own, kept, source), layout
    single = request.out.suffix in (".pth", ".bin", ".pt") and len(written) == 1
    job.check_room(request.out, sum(job.bytes_of(tensors) for tensors, _ in written.values()))
    if single:
        [(tensors, layout)] = written.values()
        job.write_torch(target(request.out, ""), tensors, layout.nested)
    else:
        job.refuse_existing(request.out)
        with atomic_folder(request.out) as folder:
            for name, (tensors, layout) in written.items():
                job.write_torch(folder / name, tensors, layout.nested)
    merged = {f"{name}:{key}": tensor for name, (tensors, _) in written.items() for key, tensor in tensors.items()}
    files = (request.out.name,) if single else tuple(written)
    return Converted(request.kind.name, request.out, files, len(merged), _parameters(merged))


def official_tensors(
    layout: Layout, types: Types, ours: Mapping[str, Tensor], rest: Mapping[str, Tensor], where: Path
) -> dict[str, Tensor]:
    """The tensors of an official file by its own keys and types; a key that repeats another gets the very same tensor.

    Raises UserError that names those that are nowhere to be found.
    """
    cast: dict[tuple[str, str], Tensor] = {}
    out, lost = {}, []
    for key, kind in types.items():
        aside = layout.rest(key)
        name = aside or keys.our_name(layout, layout.original(key, types) or key, types) or key
        found = (rest if aside else ours).get(name)
        if found is None:
            lost.append(key)
        elif (name, kind) not in cast:
            cast[name, kind] = found.to(getattr(torch, kind))
        out[key] = cast.get((name, kind), torch.empty(0))
    if lost:
        raise UserError(f"{len(lost)} weights of the official file are missing: {reading.listed(lost)}", where)
    return out


def _types(layout: Layout, ours: Mapping[str, Tensor], own: Mapping[str, Tensor], base_dtype: str) -> Types:
    """Keys and types of a run that didn't come from an official file: its own types, the base's as the recipe has it."""
    own_types = job.describe(own)
    types = {official: own_types.get(k, base_dtype) for k in ours if (official := layout.official(k)) is not None}
    for twin, *_ in layout.twins:
        if (original := layout.original(twin, types)) is not None:
            types[twin] = types[original]
    return types


def _check_used(layout: Layout, own: Mapping[str, Tensor], types: Types, where: Path) -> None:
    names = {keys.our_name(layout, layout.original(k, types) or k, types) for k in types}
    if odd := [k for k in own if k not in names]:
        raise UserError(f"{layout.title} has no place for {len(odd)} weights: {reading.listed(odd)}", where)


def _check_parts(layout: Layout, named: Mapping[str, str], where: Path) -> None:
    """Raises UserError where a module is another plugin than the layout's."""
    for section, plugin in layout.parts.items():
        if section in named and named[section] != plugin:
            what = f"its {section.replace('_', ' ')} is '{named[section]}', {layout.title} has '{plugin}'"
            raise UserError(f"this can't be written in the official layout: {what}", where)


def _base(request: Request, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of the base that a run names. Raises UserError where they aren't here, or are others."""
    name = request.decoder or str(config["base"])
    folder = local_folder(name, None if request.decoder else config.get("base_revision"))
    file = folder and next((folder / n for n in language.WEIGHTS if (folder / n).is_file()), None)
    if folder is None or file is None:
        what = f"the base language model was left out of this run, and the weights of '{name}' aren't on this machine"
        raise UserError(what, request.source, "Say where they lie: --decoder FOLDER (config.json, *.safetensors).")
    if config.get("base_fingerprint") not in (None, bases.fingerprint(folder)):
        raise UserError(f"this isn't the base of the run, '{config['base']}': its weights differ", folder, "Give that one.")
    return reading.read(file)


def _placed(base: Mapping[str, Tensor], own: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """A base's tensors under our names, as they lie beneath the run's adapters."""
    prefix = "decoder.base_model.model."
    names = {name: keys.modern(f"{prefix}{name}", own) for name in (*base, "lm_head.weight")}
    out = {}
    for name, key in names.items():
        tensor = language.base_tensor(base, name)
        if tensor is not None and layout.rest(str(layout.official(key))) is None:
            out[key] = tensor
    return out


def rest(folder: Path) -> dict[str, Tensor]:
    """What the official file held beyond our model; nothing where there is none."""
    path = folder / job.REST
    return weights.read_tensors(path) if path.is_file() else {}


def _encoder_config(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / encoder.CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in data.items() if k in ("volume_encoder", "adapter")} if isinstance(data, dict) else {}


def target(out: Path, name: str) -> Path:
    """The file to write: `out` itself, or `name` in it where it is a folder or has no ending. Refuses one that is there."""
    if out.is_dir() or not out.suffix:
        out = out / name
    elif out.suffix not in (".bin", ".pth", ".pt"):
        raise UserError("the official file is a torch file", out, "For example: --out pytorch_model.bin", 2)
    if out.exists():
        raise UserError("there is something already", out, "Choose another --out.")
    return out


def _parameters(tensors: Mapping[str, Tensor]) -> int:
    """Values without those that a second key repeats."""
    return sum({tensor.data_ptr(): tensor.numel() for tensor in tensors.values()}.values())
