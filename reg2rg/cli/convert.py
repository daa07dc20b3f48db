"""`reg2rg convert`: published weights to ours, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..convert.kinds import DEFAULT, KINDS
from ..errors import EXIT_USAGE, UserError, suggest
from .console import emit_json, progress_bar, say
from .options import RecipeOption, SetOption

KIND_HELP = "; ".join(f"{kind.name}: {kind.summary}" for kind in KINDS.values()) + "."


def command(
    kind: Annotated[str, typer.Argument(help=KIND_HELP)],
    source: Annotated[Path, typer.Argument(help="The published file, or the folder that holds it; with --back, ours.")],
    out: Annotated[
        Path, typer.Option(help="Folder to write: a run, an encoder or a plugin's; with --back, the official file.")
    ],
    decoder: Annotated[str | None, typer.Option(help="Base language model: hub name or folder; default: the recipe's.")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="radbert, sat: folder with tokenizer and config.json; default: SOURCE's, else the hub's cache."),
    ] = None,
    recipe: RecipeOption = DEFAULT,
    set_: SetOption = None,
    back: Annotated[bool, typer.Option("--back", help="From ours to the official layout, bit for bit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turns published weights into safetensors that the other commands take, every key checked by name.

    Nothing is unpickled and nothing is fetched. A base language model on this machine that is equal to the file's, bit for bit,
    is named instead of copied.

    Example: reg2rg convert reg2rg pytorch_model.bin --out runs/reg2rg --decoder models/llama-2-7b-chat
    """
    if kind not in KINDS:
        raise UserError(f"no kind of weights is called '{kind}'", fix=suggest(kind, KINDS), code=EXIT_USAGE)
    from ..convert import convert
    from ..convert.job import Request

    with progress_bar() as progress:
        request = Request(KINDS[kind], source, out, recipe, tuple(set_ or ()), decoder, tokenizer, progress)
        result = convert(request, back)
    if as_json:
        emit_json(result.to_json())
    for note in result.notes:
        say(f"Note: {note}.")
    for group, count in result.left_out.items():
        say(f"Left out: {group} ({count} keys).")
    held = f"; the base '{result.base}' is named, not copied" if result.base_left_out else ""
    say(f"{result.out}: {result.keys} keys, {result.parameters:,} parameters{held}.")
    if not back:
        of = "" if KINDS[kind].recipe == DEFAULT else f" --recipe {KINDS[kind].recipe}"
        uses = {
            "run": f"reg2rg report SCAN --run {out} --out REPORT",
            "encoder": f"reg2rg train --data STORE --out RUN{of} --init {out}",
            "labeler": f"reg2rg label REPORTS --out LABELS.csv --labeler radbert --weights {out}",
            "segmenter": f"reg2rg preprocess SOURCE --out STORE --segmenter {kind} --set weights={out}",
        }
        say(f"Next: {uses[KINDS[kind].makes]}")
