"""`reg2rg pretrain`: trains a volume encoder on finding labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import emit_json, progress_bar, say
from .options import EncoderOption, RecipeOption, SetOption, load_recipe


def command(
    data: Annotated[Path, typer.Option(help="The store that preprocess made, with finding labels.")],
    out: Annotated[Path, typer.Option(help="Folder for the encoder's weights; pass it to train --init.")],
    recipe: RecipeOption = "tiny",
    volume_encoder: EncoderOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the train split; default: the recipe's.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; wins over epochs.")] = None,
    set_: SetOption = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Trains a recipe's volume encoder and adapter to read the 18 findings from the views of their regions.

    The paper takes both from RadFM; this makes one's own, to be frozen by train --init.

    Example: reg2rg pretrain --data runs/store --out runs/encoder --max-steps 300
    """
    pretraining: dict[str, object] = {"epochs": epochs, "max_steps": max_steps}
    chosen = load_recipe(recipe, set_, volume_encoder=volume_encoder, pretraining=pretraining)
    from ..data.store import Store

    store = Store(data)
    from ..train.pretrain import pretrain

    with progress_bar() as progress:
        result = pretrain(chosen, store, out, seed=seed, progress=progress)
    if as_json:
        emit_json(
            {
                "encoder": str(result.folder),
                "steps": result.steps,
                "loss": result.loss,
                "seconds": result.seconds,
                "valid_micro_f1": result.micro_f1,
                "valid_f1": result.finding_f1,
            }
        )
    read = f", findings read with micro F1 {result.micro_f1:.2f} on the validation split" if result.micro_f1 is not None else ""
    say(
        f"{result.folder}: {result.steps} steps in {result.seconds:.0f} s, loss {result.loss:.3f}{read}. "
        f"Next: reg2rg train --data {data} --init {result.folder} --recipe {chosen.name} --out RUN"
    )
