"""Reg2RG's whole model → a run folder: the recipe is written from the shapes, the base language model named where it is equal.

In: `pytorch_model.bin` (or safetensors, or shards), 13.5 GB in half precision. Out: a run that `generate` and `report` take.
Tensors go from file to file; only one at a time is in memory.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from .. import recipe as recipes
from ..errors import UserError
from ..files import atomic_folder, write_text
from ..model import base as bases
from ..model.composite import prepare_decoder
from ..model.tokenizers import has_tokenizer, save_tokenizer
from ..model.visual import VisualModel
from ..model.weights import WEIGHTS, write_config, write_tensors
from ..recipe import Recipe
from . import job, keys, language, reading, settle
from .job import Converted, Request
from .shapes import Shapes, lora
from .tables import LAYOUTS


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """All that is known before anything is written: the file's tensors, sorted, and the model that they make."""

    file: Path
    tensors: dict[str, Tensor]
    found: keys.Sorted
    recipe: Recipe
    config: dict[str, Any]
    base: language.Base
    notes: list[str]


def forth(request: Request) -> Converted:
    """Writes a run folder from the official file. Raises UserError, and leaves nothing, where the file isn't as published."""
    job.refuse_existing(request.out)
    request.progress("Read", 0, 1)
    plan = _plan(request)
    wanted = blueprint(plan.recipe, plan.config)
    keys.check(plan.found, wanted, plan.file, "Say another architecture with --set KEY=VALUE.")
    request.progress("Read", 1, 1)
    tokenizer, left_out = _base(plan, request)
    return _write(plan, request, tokenizer, left_out)


def _plan(request: Request) -> Plan:
    layout = LAYOUTS[request.kind.layouts[0]]
    file = reading.find(request.source, layout.files)
    if file is None:
        raise UserError(f"the folder has none of {', '.join(layout.files)}", request.source, "Give the published file.")
    tensors = reading.read(file)
    keys.expect(tensors, request.kind.layouts, file)
    found = keys.sort(layout, tensors, file)
    recipe, notes = _recipe(found, request)
    base = language.find_base(recipe.decoder, chosen=request.decoder is not None)
    shapes = Shapes(found.ours, "decoder.")
    config, more = language.configuration(shapes, base, file.parent, recipe.decoder.dtype)
    return Plan(file, tensors, found, recipe, config, base, notes + more)


def _recipe(found: keys.Sorted, request: Request) -> tuple[Recipe, list[str]]:
    """The recipe that was asked for with the checkpoint's architecture laid over it, and the user's settings over that."""
    change = {"decoder": language.decoder_change(request.decoder)} if request.decoder else {}
    asked = recipes.load(request.recipe, change, request.sets)
    decoder = {**change.get("decoder", {}), "lora": lora(Shapes(found.ours, "decoder.")) or "none"}
    words = Counter(v.dtype for k, v in found.ours.items() if k.startswith("decoder.") and ".lora_" not in k)
    if words:
        decoder["dtype"] = str(words.most_common(1)[0][0]).removeprefix("torch.")
    modules = settle.module_changes(found.layout, found.ours, asked, "visual.")
    changes = {**modules, "decoder": decoder}
    recipe = recipes.load(request.recipe, changes, request.sets)
    odd = settle.unusual(modules)
    notes = [f"the architecture isn't the published one: {', '.join(odd).replace('.options.', '.')}"] * bool(odd)
    if size := settle.view_size(recipe):
        notes.append(f"views.size is {size}, which the encoders are built for, instead of {list(recipe.views.size)}")
        recipe = recipes.load(request.recipe, {**changes, "views": {"size": size}}, request.sets)
    settle.check_views(recipe)
    return recipe, notes


def blueprint(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, torch.Size]:
    """The keys and shapes of a recipe's model, without its memory."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(config)
    shape = AutoConfig.for_model(settings.pop("model_type"), **settings)
    spec = recipe.decoder.model_copy(update={"quantization": "none"})
    with torch.device("meta"):
        visual = VisualModel(recipe, shape.hidden_size)
        decoder = prepare_decoder(AutoModelForCausalLM.from_config(shape), spec, training=False)
    parts = {"visual": visual.state_dict(), "decoder": decoder.state_dict()}
    return {f"{part}.{key}": value.shape for part, state in parts.items() for key, value in state.items()}


def _base(plan: Plan, request: Request) -> tuple[Any, bool]:
    """The run's tokenizer (or none), and whether the base language model's weights are left out of it."""
    base, vocabulary, notes = plan.base, int(plan.config["vocab_size"]), plan.notes
    if plan.recipe.decoder.lora is not None and base.folder is not None and base.weights and has_tokenizer(base.folder):
        why = language.same_as_base(plan.found.ours, base.weights, request.progress)
        tokenizer, more = (None, []) if why else language.find_tokenizer(base, base.folder, vocabulary)
        if tokenizer is not None:
            return tokenizer, True
        notes += more
        if why:
            notes.append(f"the decoder isn't '{base.name}' bit for bit ({why}), so the run holds all of it")
    else:
        notes.append(f"weights and tokenizer of '{base.name}' aren't both at hand, so the run holds the whole decoder")
    tokenizer, more = language.find_tokenizer(base, plan.file.parent, vocabulary)
    notes += more
    if tokenizer is None:
        notes.append("no tokenizer is at hand either; use the run with --decoder FOLDER, or put the tokenizer's files into it")
    return tokenizer, False


def _write(plan: Plan, request: Request, tokenizer: Any, left_out: bool) -> Converted:
    ours, rest = plan.found.ours, plan.found.rest
    own = {k: v for k, v in ours.items() if not (left_out and k.startswith("decoder.") and ".lora_" not in k)}
    job.check_room(request.out, job.bytes_of(own))
    parameters = sum(v.numel() for v in ours.values())
    named = _named(plan, tokenizer, left_out)
    request.progress("Write", 0, 1)
    with atomic_folder(request.out) as folder:
        write_tensors(folder / WEIGHTS, own)
        if rest:
            write_tensors(folder / job.REST, rest)
        job.write_record(folder, request.kind.name, {plan.file.name: (plan.found.layout.name, job.describe(plan.tensors))})
        write_config(folder, named, plan.config, _facts(plan))
        write_text(folder / "recipe.yaml", plan.recipe.to_yaml())
        write_text(folder / "README.md", _card(plan, named, parameters))
        if tokenizer is not None:
            save_tokenizer(tokenizer, folder)
        files = tuple(sorted(p.name for p in folder.iterdir()))
    request.progress("Write", 1, 1)
    base, revision = plan.base.name, plan.base.revision
    return Converted(
        request.kind.name, request.out, files, len(ours), parameters, base, revision, left_out, tokenizer is not None,
        plan.found.left_out, tuple(plan.notes),
    )  # fmt: skip


def _named(plan: Plan, tokenizer: Any, left_out: bool) -> dict[str, Any]:
    """What config.json says of the language model.

    Where the run holds all of it, `tokenizer` names the model whose tokenizer it is, for a run that couldn't be given one.
    """
    base = plan.base
    if left_out and base.folder is not None:
        return dict(bases.named(base.name, base.revision, base.folder, tokenizer))
    return {"base": None, "tokenizer": bases.absolute(base.name), "tokenizer_revision": base.revision}


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "reg2rg_version": __version__,
        "recipe": plan.recipe.name,
        "recipe_fingerprint": plan.recipe.fingerprint(),
        "converted_from": plan.file.name,
        "trained_on_phantoms": False,
    }


def _card(plan: Plan, named: Mapping[str, Any], parameters: int) -> str:
    """The run's README."""
    decoder = f"named, not held: {named['base']}" if named["base"] else "held whole"
    return (
        "---\nlibrary_name: reg2rg\ntags: [radiology, chest-ct, report-generation]\n---\n\n"
        f"# {plan.recipe.name}\n\nReg2RG's published weights ({plan.file.name}, {parameters:,} parameters), converted by "
        f"reg2rg {__version__}; not trained here. The base language model is {decoder}.\n\n"
        "`recipe.yaml` is the recipe, `official.json` the record for `reg2rg convert reg2rg RUN --back`. The weights stay "
        "under the terms of their authors, the language model's under its own.\n\n"
        "Use: `reg2rg report SCAN --run THIS_FOLDER --out OUT`.\n\n"
        "Research software: not a medical device, not for clinical use.\n"
    )
