"""`reg2rg evaluate`: numbers of a reports file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EXIT_USAGE, UserError
from .console import emit_json, progress_bar, say, show, show_table
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
    against: Annotated[
        Path | None, typer.Option(help="A second reports file of the same studies: differences with interval and p.")
    ] = None,
    against_column: Annotated[
        str, typer.Option(help="CSV column of the written reports of --against; '' = as --prediction-column.")
    ] = "",
    train: Annotated[
        Path | None,
        typer.Option(help="The train split, for the floors: a store, a region_report.csv or a file of its reports."),
    ] = None,
    ci: Annotated[int, typer.Option(help="Bootstrap resamples for the 95 % intervals; 0 = none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for evaluation.json, evaluation.html, evaluation.md, evaluation.tex, length.svg."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Score a reports file: language metrics, clinical findings, region recognition, length, each with its interval.

    Beside them stand the floors (reports that know nothing of the scan) and, with --against, a paired comparison.

    Example: reg2rg evaluate runs/demo/reports.jsonl --train runs/demo/store --out runs/demo/evaluation
    """
    if out is not None and out.is_file():
        raise UserError("this is a file, not a folder's name", out, "For example: --out scores", EXIT_USAGE)
    from ..evaluate import read_labels, read_reports, read_train
    from ..evaluate.assess import assess

    columns = (reference_column or None, id_column or None, references)
    file = read_reports(reports, prediction_column or None, *columns)
    other = read_reports(against, against_column or prediction_column or None, *columns) if against else None
    known = read_train(train, [r.study for r in file.reports]) if train else None
    settings = {
        "labels": read_labels(labels) if labels else None,
        "labeler": labeler_choice(labeler, labeler_options, weights),
        "ci": ci,
        "seed": seed,
    }
    chosen = metric_choices(metrics, metric_options)
    with progress_bar(not json) as progress:
        result, shown = assess(file, metrics=chosen, against=other, train=known, progress=progress, **settings)
    if out:
        write_evaluation(out, result, shown)
    if json:
        emit_json(result)
        return
    _show(result)
    if out:
        say(f"{out / 'evaluation.html'}: open it in any browser. Beside it: {', '.join(FILES[1:])}.")


FILES = ("evaluation.html", "evaluation.json", "evaluation.md", "evaluation.tex", "length.svg")


def write_evaluation(folder: Path, result: dict[str, Any], shown: dict[str, Any]) -> None:
    """Writes the files of an evaluation, each whole or not at all; `shown` are its worst and best studies."""
    import json

    from ..evaluate.latex import latex
    from ..evaluate.published import rows
    from ..evaluate.tables import markdown
    from ..files import write_text
    from ..page.evaluation import write_evaluation_page
    from ..page.plots import length_figure

    write_text(folder / "evaluation.json", json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "evaluation.md", markdown(result))
    write_text(folder / "evaluation.tex", latex(result))
    if "length" in result:
        write_text(folder / "length.svg", length_figure(result["length"]))
    write_evaluation_page(folder / "evaluation.html", result, examples=shown, published=rows())


def _show(result: dict[str, Any]) -> None:
    from rich.text import Text

    from ..evaluate.tables import remarks, tables

    lines = remarks(result)
    top = len(result["warnings"]) + 1  # and how many reports are distinct
    for line in lines[:top]:
        show(Text(line, style="bold red" if line.startswith("Warning") else ""))
    for table in tables(result, narrow=True):
        show_table(table)
    for line in lines[top:]:
        show(Text(line))  # as it stands: [extra] in a hint is no mark-up
