"""A trained model on disk, in the Hugging Face manner: `save` writes a run folder's files, `load` builds the model back.

The folder holds all that is needed but a base language model, which it names: recipe.yaml, config.json,
model.safetensors, the tokenizer's files and a model card. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import plugins
from .. import recipe as recipes
from ..errors import UserError, suggest
from ..files import atomic_file, write_text
from ..recipe import Recipe
from . import base as bases
from .composite import Reg2RGModel, build_decoder, prepare_decoder
from .tokenizers import run_tokenizer, save_tokenizer

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def own_state(model: Reg2RGModel, base: str | None, whole: Callable[[Tensor], Tensor] = lambda t: t) -> dict[str, Tensor]:
    """What the run folder must hold: everything, or everything but the frozen base language model.

    `whole` puts together a tensor that is shared out among processes.
    """
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    state = model.state_dict()
    held = base is None or model.recipe.decoder.lora is None
    return _separate({k: whole(v) for k, v in state.items() if held or not k.startswith("decoder.") or k in trained})


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    out = {}
    for name, tensor in state.items():
        shared = tensor.data_ptr() in seen and tensor.numel() > 0
        seen.add(tensor.data_ptr())
        out[name] = tensor.detach().cpu().clone() if shared else tensor.detach().cpu().contiguous()
    return out


def save(
    model: Reg2RGModel,
    folder: Path,
    base: str | None,
    facts: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the model's files into a run folder, each atomically; `facts` go into config.json and the card.

    `state`: the weights where they were gathered already. Raises UserError where the disk doesn't take them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, own_state(model, base) if state is None else state)
    decoder = getattr(model.decoder, "config", None)
    named = bases.describe(base, model.decoder, model.tokenizer)
    shape = decoder.to_dict() if decoder is not None and hasattr(decoder, "to_dict") else {}
    write_config(folder, named, shape, facts)
    write_text(folder / "recipe.yaml", model.recipe.to_yaml())
    save_tokenizer(model.tokenizer, folder)
    write_text(folder / "README.md", model_card(model, {**named, **facts}))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file atomically, straight from where the tensors lie: mapped ones are never copied into memory.

    Raises UserError where the disk doesn't take them.
    """
    try:
        with atomic_file(path) as temporary:
            save_file(_separate(tensors), temporary, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights can't be written ({error})", path, "Make room, or choose another --out.") from error


def write_config(folder: Path, base: Mapping[str, Any], decoder: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Writes a run's config.json: what `base` says of its language model, the `decoder`'s configuration, and `facts`."""
    kind = {"format": FORMAT, "architectures": ["Reg2RGModel"], "model_type": "reg2rg"}
    document = {**kind, **base, "decoder": decoder, **facts}
    write_text(folder / CONFIG, json.dumps(document, indent=2, default=str) + "\n")


def model_card(model: Reg2RGModel, facts: Mapping[str, Any]) -> str:
    """The run's README: what it is, what it was trained on, and what it is not for."""
    recipe = model.recipe
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items() if isinstance(value, str | int | float))
    base = str(facts.get("base") or "")
    hub = f"base_model: {base}\n" if base and not Path(base).is_absolute() else ""
    return (
        f"---\nlibrary_name: reg2rg\n{hub}tags: [radiology, chest-ct, report-generation]\n---\n\n# {recipe.name}\n\n"
        f"{recipe.summary or 'A chest-CT report generator.'}\n\n"
        f"Volume encoder `{recipe.volume_encoder.name}`, adapter `{recipe.adapter.name}`, "
        "geometry encoder "
        f"`{recipe.geometry_encoder.name if recipe.geometry_encoder else 'none'}`, decoder `{recipe.decoder.name}`; "
        f"{total:,} parameters, {trained:,} trained. The resolved recipe is `recipe.yaml`.\n\n"
        f"| fact | value |\n|---|---|\n{rows}\n\n"
        "Use: `reg2rg report SCAN --run THIS_FOLDER --out OUT`.\n\n"
        "Research software: not a medical device, not for clinical use.\n"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run. Raises UserError where the folder is no finished run."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise UserError("there is no such run folder", folder, "Train one with: reg2rg train --data STORE --out RUN")
    if not path.is_file():
        hint = "Finish it with: reg2rg train … --resume" if (folder / "checkpoints").is_dir() else "A run holds config.json."
        raise UserError("the folder is not a finished run", folder, hint)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"the run's configuration can't be read ({error})", path) from error
    if config.get("format", 0) > FORMAT:
        raise UserError(f"the run has format {config['format']}, newer than this program's {FORMAT}", folder, "Update reg2rg.")
    return config


def load(folder: Path, decoder: str | None = None) -> Reg2RGModel:
    """The model of a run folder, in eval mode. `decoder` says where its base language model lies now, if it moved."""
    folder = Path(folder)
    config = read_config(folder)
    recipe = recipes.load(folder / "recipe.yaml")
    base = config.get("base")
    if base and recipe.decoder.lora is not None:
        language, tokenizer = _from_base(folder, config, recipe, decoder)
    else:
        language, tokenizer = _from_config(folder, config, recipe, decoder)
    model = Reg2RGModel(recipe, language, tokenizer)
    load_into(model, read_tensors(folder / WEIGHTS), folder, partial_decoder=bool(base))
    return model.eval()


def _from_base(folder: Path, config: Mapping[str, Any], recipe: Recipe, moved: str | None) -> tuple[Any, Any]:
    spec = bases.placed(recipe.decoder, config, moved)
    try:
        language, tokenizer, _ = build_decoder(spec)
    except UserError as error:
        what = f"the run's base language model '{spec.options['path']}' can't be loaded: {error.what}"
        raise UserError(what, folder, error.fix if moved else "Say where it lies now: --decoder FOLDER.") from error
    bases.refuse_another(config, language, tokenizer, folder)
    return prepare_decoder(language, spec, training=False), tokenizer


def _from_config(folder: Path, config: Mapping[str, Any], recipe: Recipe, moved: str | None) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    plugins.target_of("decoder", recipe.decoder.name)  # a model type of the plugin's own is known once it is imported
    settings = dict(config["decoder"])
    shape = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with no_init_weights():  # each comes from the run's file; drawing 7 billion of them takes a minute
        language = AutoModelForCausalLM.from_config(shape)
    language.tie_weights()
    return prepare_decoder(language, recipe.decoder, training=False), run_tokenizer(folder, config, moved)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises UserError where it is missing or broken."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError("the weights' file is missing", path, "Copy the whole run folder, or train again.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights' file is broken ({error})", path, "Copy it again, or train again.") from error


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: Path, partial_decoder: bool = False) -> None:
    """Strict loading that names the first missing, extra or misshaped keys in one sentence."""
    own = module.state_dict()
    missing = [k for k in own if k not in tensors and not (partial_decoder and k.startswith("decoder."))]
    extra = [k for k in tensors if k not in own]
    shapes = [
        f"'{k}' is {tuple(v.shape)} instead of {tuple(own[k].shape)}"
        for k, v in tensors.items()
        if k in own and v.shape != own[k].shape
    ]
    faults = [f"'{k}' is missing" for k in missing[:3]] + [f"'{k}' is unknown" for k in extra[:3]] + shapes[:3]
    if faults:
        count = len(missing) + len(extra) + len(shapes)
        raise UserError(
            f"{count} weights don't fit the recipe: {'; '.join(faults)}", where, "Check recipe and weights belong together."
        )
    module.load_state_dict(dict(tensors), strict=False)


def load_visual(model: Reg2RGModel, sources: Iterable[Path]) -> list[str]:
    """Initialises visual modules from folders with encoder weights (`pretrain`, `convert`) or runs; gives the modules filled.

    Keys are those of the visual model (`volume_encoder.…`, `adapter.…`). Raises UserError where nothing fits.
    """
    filled: list[str] = []
    for folder in sources:
        found = [p for name in ("encoder.safetensors", WEIGHTS) if (p := Path(folder) / name).is_file()]
        if not found:
            raise UserError(
                "no weights of visual modules are here", folder, "--init wants a folder that pretrain or convert wrote."
            )
        tensors = {k.removeprefix("visual."): v for k, v in read_tensors(found[0]).items() if not k.startswith("decoder.")}
        for name in sorted({k.split(".")[0] for k in tensors}):
            part: Any = getattr(model.visual, name, None)
            if part is None:
                known = [n for n, _ in model.visual.named_children()]
                raise UserError(f"the weights hold '{name}', which this recipe doesn't have", found[0], suggest(name, known))
            if isinstance(part, nn.Parameter):
                with torch.no_grad():
                    part.copy_(tensors[name])
            else:
                own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
                load_into(part, part.fitted(own) if hasattr(part, "fitted") else own, found[0])
            filled.append(name)
    return filled
