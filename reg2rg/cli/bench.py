"""`reg2rg bench`: trains and compares methods and ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import emit_json, progress_bar, say, show
from .options import SetOption


def command(
    data: Annotated[str, typer.Option(help="A store, or phantom: the bench makes its own phantoms.")] = "phantom",
    out: Annotated[Path, typer.Option(help="Folder for the rows' runs, bench.json and page.html.")] = Path("runs/bench"),
    ablate: Annotated[str, typer.Option(help="Ablations, comma-separated: lfd, rra, geometry, global, texture.")] = "",
    methods: Annotated[str, typer.Option(help="Whole recipes to compare, comma-separated names or files.")] = "",
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe that ablations change; default: tiny on phantoms, else reg2rg.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each row.")] = 1,
    studies: Annotated[int, typer.Option(min=24, help="Phantoms to make, all splits together.")] = 420,
    profile: Annotated[Literal["demo", "strict"], typer.Option(help="Profile of the phantoms.")] = "demo",
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training and pretraining steps of each row; default: 300 on phantoms, else the recipe's."),
    ] = None,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print bench.json's document.")] = False,
) -> None:
    """Trains every row, scores its test reports and compares the pairs study by study, with the paper's rows beside.

    The same command goes on where it was interrupted; finished rows are kept.

    Example: reg2rg bench --data phantom --ablate lfd --out runs/bench
    """
    from ..bench.plan import make_plan

    phantom = data == "phantom"
    steps = max_steps or (300 if phantom else None)
    changes: dict[str, Any] = {"training": {"max_steps": steps}, "pretraining": {"max_steps": steps}} if steps else {}
    base = recipe or ("tiny" if phantom else "reg2rg")
    plan = make_plan(base, _names(ablate), _names(methods), seeds, changes, set_ or [])

    from ..bench.run import bench
    from ..data.store import Store
    from ..demo import phantom_store, splits

    notes = [f"Phantoms of the profile {profile}, no patients; small models and {steps} steps."] if phantom else []
    with progress_bar() as progress:
        store = phantom_store(out, splits(studies), 0, profile, progress) if phantom else Store(Path(data))
        document = bench(plan, store, out, pretrained=phantom, notes=notes, progress=progress)
    if as_json:
        emit_json(document)
        return
    for table in _tables(document):
        show(table)
    for failure in document["failures"]:
        say(f"Failed: {failure['name']}, seed {failure['seed']}: {failure['error']}")
    say(f"{out / 'page.html'}: open it in any browser.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


SHOWN = {
    "micro_f1": "finding F1",
    "precision": "precision",
    "recall": "recall",
    "bleu4": "BLEU-4",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "recognition": "recognition",
}


def _tables(document: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    settings = document["settings"]
    ours = Table(title=f"{settings['test_studies']} test studies, {settings['train_studies']} for training")
    published = Table(title="Published (other data and size; not comparable in value)")
    for table, rows in ((ours, document["rows"]), (published, document["paper"])):
        table.add_column("row")
        shown = [k for k in SHOWN if any(k in row["metrics"] for row in rows)]
        for key in shown:
            table.add_column(SHOWN[key], justify="right")
        for row in rows:
            name = f"{row['table']}: {row['name']}" if "table" in row else f"{row['name']}, seed {row['seed']}"
            table.add_row(name, *(_cell(row["metrics"].get(key)) for key in shown))
    return [ours, _comparison_table(document), *([published] if document["paper"] else [])]


def _comparison_table(document: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Paired differences (bootstrap over studies)")
    for name in ("a - b", "metric", "difference", "95 % interval", "p"):
        table.add_column(name)
    for row in document["comparisons"]:
        pair = f"{row['a']} - {row['b']}, seed {row['seed']}"
        interval = f"[{row['low']:+.3f}, {row['high']:+.3f}]"
        table.add_row(pair, row["metric"], f"{row['difference']:+.3f}", interval, f"{row['p']:.3f}")
    return table


def _cell(score: Any) -> str:
    if score is None:
        return "–"
    if isinstance(score, dict):
        interval = f" [{score['low']:.2f}, {score['high']:.2f}]" if "low" in score else ""
        return f"{score['value']:.3f}{interval}"
    return f"{score:.3f}"
