"""`reg2rg demo`: the whole path on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import emit_json, progress_bar, say, show
from .options import SetOption


def command(
    out: Annotated[Path, typer.Option(help="Folder for data, store, run, reports, scores and page.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the phantoms and of training.")] = 0,
    studies: Annotated[int, typer.Option(min=24, help="Phantoms to make, all splits together.")] = 950,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Makes phantoms, preprocesses, trains, writes reports, scores them beside their floors and draws the page.

    Nothing is downloaded. The same command goes on where it was interrupted.

    Example: reg2rg demo --out runs/demo
    """
    from ..demo import demo

    with progress_bar() as progress:
        result = demo(out, seed=seed, studies=studies, sets=set_ or (), progress=progress)
    if as_json:
        emit_json(result)
        return
    show(_table(result))
    recognised = f"{100 * result['recognition']:.1f} %"
    say(
        f"Regions named rightly in shuffled order: {recognised}. "
        f"{result['distinct_reports']} different reports of {result['test_studies']}. {result['seconds']['all']:.0f} s in all."
    )
    say(f"Open {result['page']} in a browser.")


def _table(result: dict[str, Any]) -> Any:
    from rich.table import Table

    names = {"micro_f1": "finding micro F1", "bleu4": "BLEU-4", "rougeL": "ROUGE-L", "meteor": "METEOR"}
    shown = [k for k in names if any(k in row for row in result["rows"].values())]
    table = Table(title=f"{result['test_studies']} test phantoms (95 % intervals over studies)")
    table.add_column("reader")
    for key in shown:
        table.add_column(names[key], justify="right")
    for name, row in result["rows"].items():
        table.add_row(name, *(_cell(row.get(key)) for key in shown), style="bold" if name == "trained model" else "")
    return table


def _cell(score: dict[str, float] | None) -> str:
    if not score:
        return "–"
    interval = f" [{score['low']:.2f}, {score['high']:.2f}]" if "low" in score else ""
    return f"{score['value']:.3f}{interval}"
