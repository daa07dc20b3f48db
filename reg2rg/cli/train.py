"""`reg2rg train`: trains a recipe on a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .console import emit_json, progress_bar, say
from .options import EncoderOption, GeometryOption, RecipeOption, SetOption, load_recipe


def command(
    data: Annotated[Path, typer.Option(help="The store that preprocess made.")],
    out: Annotated[Path, typer.Option(help="The run's folder: new, or one to go on with --resume.")],
    recipe: RecipeOption = "reg2rg",
    decoder: Annotated[
        str | None, typer.Option(help="Decoder plugin (tiny, llama2-7b …) or a folder with a Hugging Face causal LM.")
    ] = None,
    volume_encoder: EncoderOption = None,
    geometry_encoder: GeometryOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the train split; default: the recipe's.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; wins over epochs.")] = None,
    init: Annotated[
        list[Path] | None, typer.Option(help="Folder with weights of visual modules (pretrain, convert, a run); repeatable.")
    ] = None,
    set_: SetOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and order; default: the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Trains a recipe on the train split of a store and writes a run folder.

    The default recipe is the paper's; tiny trains from scratch on a CPU. A killed run goes on with --resume.

    Example: reg2rg train --data runs/store --out runs/run --recipe tiny --max-steps 200
    """
    training: dict[str, object] = {"epochs": epochs, "max_steps": max_steps, "seed": seed}
    chosen = load_recipe(
        recipe,
        set_,
        volume_encoder=volume_encoder,
        geometry_encoder=geometry_encoder,
        decoder=decoder,
        training=training,
    )
    from ..data.store import Store

    store = Store(data)
    from ..train.loop import train

    with progress_bar() as progress:
        result = train(chosen, store, out, init=init or (), resume=resume, progress=progress)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes, one speaks
    if as_json:
        facts = {k: getattr(result, k) for k in ("steps", "loss", "seconds", "parameters", "trained")}
        emit_json({"run": str(result.run), "recipe": chosen.name, **facts})
    said = f"{result.steps} steps in {result.seconds:.0f} s, loss {result.loss:.3f}"
    say(f"{result.run}: {said}, {result.trained:,} of {result.parameters:,} parameters trained.")
    say(f"Next: reg2rg generate {result.run} --data {data} --out reports.jsonl")
