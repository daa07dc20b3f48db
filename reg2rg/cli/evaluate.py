"""`reg2rg evaluate`: numbers of a reports file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import emit_json, progress_bar, say, show
from .options import LabelerOptions, LabelerWeights, labeler_choice, metric_choices


def command(
    reports: Annotated[Path, typer.Argument(help="JSON lines, a CSV, a VLM3D JSON or a folder of <region>_reports.csv.")],
    metrics: Annotated[
        str,
        typer.Option(
            help="Groups (bleu, meteor, rouge, cider, clinical, recognition, length) or plugins, by commas; '' = all."
        ),
    ] = "",
    prediction_column: Annotated[str, typer.Option(help="CSV column of the written reports; '' = look for it.")] = "",
    reference_column: Annotated[str, typer.Option(help="CSV column of the reference reports; '' = look for it.")] = "",
    id_column: Annotated[str, typer.Option(help="CSV column of the study ids; '' = look for it.")] = "",
    references: Annotated[Path | None, typer.Option(help="A second file with the reference reports, matched by id.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of the true findings; without it the labeler reads the references.")
    ] = None,
    labeler: Annotated[str, typer.Option(help="Labeler plugin that reads the findings out of a text.")] = "rules",
    labeler_options: LabelerOptions = None,
    weights: LabelerWeights = None,
    metric_options: Annotated[
        list[str] | None,
        typer.Option(help="NAME.KEY=VALUE, an option of a metric plugin (bertscore.weights=DIR); repeatable."),
    ] = None,
    ci: Annotated[int, typer.Option(help="Bootstrap resamples for the 95 % intervals; 0 = none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, evaluation.md and evaluation.tex.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Score a reports file: language metrics, clinical findings, region recognition, length, each with its interval.

    Example: reg2rg evaluate runs/demo/reports.jsonl --metrics bleu,clinical --out runs/demo/evaluation
    """
    from ..evaluate import evaluate, read_labels, read_reports

    file = read_reports(reports, prediction_column or None, reference_column or None, id_column or None, references)
    truth = read_labels(labels) if labels else None
    chosen = metric_choices(metrics, metric_options)
    judge = labeler_choice(labeler, labeler_options, weights)
    with progress_bar(not json) as progress:
        result = evaluate(file.reports, metrics=chosen, labels=truth, labeler=judge, ci=ci, seed=seed, progress=progress)
    result["excluded"] = {**file.excluded, **result["excluded"]}
    result["notes"] = list(file.notes)
    if out:
        write_evaluation(out, result)
    if json:
        emit_json(result)
        return
    _show(result)
    if out:
        say(f"Wrote {out / 'evaluation.json'}, evaluation.md and evaluation.tex.")


def write_evaluation(folder: Path, result: dict[str, Any]) -> None:
    """Writes the three files of an evaluation, each whole or not at all."""
    import json

    from ..evaluate.tables import latex, markdown
    from ..files import write_text

    write_text(folder / "evaluation.json", json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "evaluation.md", markdown(result))
    write_text(folder / "evaluation.tex", latex(result))


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    from ..evaluate.tables import remarks, tables

    for table in tables(result, narrow=True):
        view = Table(title=table.title, caption=table.note or None, title_justify="left", caption_justify="left")
        for i, column in enumerate(table.columns):
            view.add_column(column, justify="left" if i == 0 else "right")
        for row in table.rows:
            view.add_row(*row)
        show(view)
    for line in remarks(result):
        show(line)
