"""Options that commands share: choosing a recipe and laying changes over it, and the options of a plugin by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..evaluate.choice import Choice
    from ..recipe import Recipe

RecipeOption = Annotated[str, typer.Option("--recipe", help="A shipped recipe's name (see: reg2rg recipes list) or a file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one key, as KEY=VALUE, for example training.optimizer.lr=1e-4; repeatable."),
]
EncoderOption = Annotated[str | None, typer.Option("--volume-encoder", help="Volume encoder plugin instead of the recipe's.")]
LabelerOptions = Annotated[
    list[str] | None,
    typer.Option("--labeler-options", help="KEY=VALUE, an option to build the labeler with (device=cpu); repeatable."),
]
LabelerWeights = Annotated[
    str | None, typer.Option("--weights", help="The labeler's weights: the same as --labeler-options weights=DIR.")
]
SplitterOptions = Annotated[
    list[str] | None,
    typer.Option("--splitter-options", help="KEY=VALUE, an option to build the splitter with (several=true); repeatable."),
]
GeometryOption = Annotated[str | None, typer.Option("--geometry-encoder", help="Geometry encoder plugin, or none.")]


def load_recipe(
    name: str,
    sets: Sequence[str] | None,
    *,
    volume_encoder: str | None = None,
    geometry_encoder: str | None = None,
    decoder: str | None = None,
    training: dict[str, Any] | None = None,
    pretraining: dict[str, Any] | None = None,
) -> Recipe:
    """The recipe with the command's options laid over it, then the `--set` values. Names of plugins are checked."""
    from .. import recipe as recipes

    changes: dict[str, Any] = {}
    if volume_encoder:
        changes["volume_encoder"] = volume_encoder
    if geometry_encoder:
        changes["geometry_encoder"] = geometry_encoder
    if decoder:
        changes["decoder"] = decoder_change(decoder)
    for section, values in (("training", training), ("pretraining", pretraining)):
        given = {k: v for k, v in (values or {}).items() if v is not None}
        if "epochs" in given and "max_steps" not in given:
            given["max_steps"] = None  # an explicit number of epochs wins over the recipe's steps
        if given:
            changes[section] = given
    recipe = recipes.load(name, changes, sets or ())
    check_plugins(recipe)
    return recipe


def check_plugins(recipe: Recipe) -> None:
    """Raises UserError with near names where no plugin has a name that the recipe uses."""
    from ..plugins import registry

    registry().find("volume-encoder", recipe.volume_encoder.name)
    registry().find("adapter", recipe.adapter.name)
    registry().find("decoder", recipe.decoder.name)
    if recipe.geometry_encoder is not None:
        registry().find("geometry-encoder", recipe.geometry_encoder.name)


def decoder_change(decoder: str) -> dict[str, Any]:
    """`--decoder NAME` or `--decoder FOLDER`: a folder is a Hugging Face model with its tokenizer."""
    folder = Path(decoder)
    if folder.is_dir():
        return {"name": "hf", "options": {"path": str(folder)}}
    return {"name": decoder}


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, Any]:
    """`KEY=VALUE` texts as a mapping, values read as YAML. Raises UserError (usage) that names `option`."""
    import yaml

    from ..errors import EXIT_USAGE, UserError

    out: dict[str, Any] = {}
    for text in texts or ():
        key, sep, value = text.partition("=")
        if not sep or not key.strip():
            raise UserError(f"'{text}' isn't KEY=VALUE", option, code=EXIT_USAGE)
        try:
            out[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"the value of '{key}' can't be read: {value}", option, code=EXIT_USAGE) from error
    return out


def labeler_choice(name: str, texts: Sequence[str] | None, weights: str | None) -> Choice:
    """The labeler plugin with the options of `--labeler-options` and `--weights`."""
    from ..evaluate.choice import Choice

    return Choice(name, {**({"weights": weights} if weights else {}), **pairs(texts, "--labeler-options")})


def metric_choices(names: str, texts: Sequence[str] | None) -> list[Choice]:
    """The metrics of a list with commas, with the options of `--metric-options NAME.KEY=VALUE`.

    Raises UserError (usage) for an option of a metric that isn't asked for.
    """
    from ..errors import EXIT_USAGE, UserError
    from ..evaluate.choice import Choice

    chosen: dict[str, dict[str, Any]] = {name.strip(): {} for name in names.split(",") if name.strip()}
    for key, value in pairs(texts, "--metric-options").items():
        name, _, option = key.rpartition(".")
        if name not in chosen or not option:
            fix = f"Write NAME.KEY=VALUE with a NAME of --metrics: {', '.join(chosen) or 'none is named'}."
            raise UserError(f"'{key}' is no option of a metric that is asked for", "--metric-options", fix, EXIT_USAGE)
        chosen[name][option] = value
    return [Choice(name, options) for name, options in chosen.items()]
