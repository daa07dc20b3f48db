"""`reg2rg generate`: grounded reports for a split of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import UserError
from .console import progress_bar, say


def command(
    run: Annotated[Path, typer.Argument(help="The run folder of train.")],
    data: Annotated[Path, typer.Option(help="The store with the studies.")],
    out: Annotated[Path, typer.Option(help="The reports file.")],
    split: Annotated[str, typer.Option(help="train, valid, test, or all.")] = "test",
    format: Annotated[
        Literal["jsonl", "csv", "vlm3d"], typer.Option(help="jsonl, the published CSV, or VLM3D's JSON.")
    ] = "jsonl",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Studies at once; default: the recipe's.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest report; default: the recipe's.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Sample instead of greedy decoding.")] = False,
    free: Annotated[bool, typer.Option("--free", help="No region grammar: the model may write any prefix.")] = False,
    shuffle_regions: Annotated[bool, typer.Option("--shuffle-regions", help="Shuffle the regions, as in training.")] = False,
    shard: Annotated[str, typer.Option(help="Part I of N of the studies, as I/N from 1/N to N/N.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and shuffling; default: the recipe's.")] = None,
    decoder: Annotated[str | None, typer.Option(help="Where the run's base language model or tokenizer lies now.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default: a GPU where there is one.")] = None,
) -> None:
    """Writes a grounded report for every study of a split; the same command goes on where it was interrupted.

    Example: reg2rg generate runs/demo/run --data runs/demo/store --out reports.jsonl --shuffle-regions
    """
    if out.is_dir():
        raise UserError("this is a folder, not a file's name", out, "For example: --out reports.jsonl", 2)
    from ..data.store import Store

    store = Store(data)
    store.chosen(split, shard)  # a misspelt split needs no model to be loaded
    from ..demo import generate_split
    from ..pipeline import Reg2RG

    wanted = {
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "sample": sample or None,
        "grammar": False if free else None,
        "shuffle_regions": shuffle_regions or None,
        "seed": seed,
    }
    model = Reg2RG.from_pretrained(run, device, decoder)
    changes = {k: v for k, v in wanted.items() if v is not None}
    with progress_bar() as progress:
        reports = generate_split(model, store, out, split=split, shard=shard, form=format, changes=changes, progress=progress)
    say(f"{out}: {len(reports)} reports. Next: reg2rg evaluate {out}")
