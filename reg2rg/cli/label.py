"""`reg2rg label`: the eighteen findings of each report text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import emit_json, progress_bar, say
from .options import LabelerOptions, LabelerWeights, labeler_choice


def command(
    reports: Annotated[Path, typer.Argument(help="JSON lines or a CSV with report texts.")],
    out: Annotated[Path, typer.Option(help="CSV to write: an id column and the 18 findings, 0/1.")],
    labeler: Annotated[str, typer.Option(help="Labeler plugin: rules (offline), radbert, or any installed one.")] = "rules",
    labeler_options: LabelerOptions = None,
    weights: LabelerWeights = None,
    text_column: Annotated[str, typer.Option(help="Column (or JSON field) with the texts; '' = look for it.")] = "",
    id_column: Annotated[str, typer.Option(help="Column with the study ids; '' = look for it.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print counts as one JSON document and nothing else.")] = False,
) -> None:
    """Label report texts with the 18 CT-RATE findings.

    Example: reg2rg label reports.csv --out labels.csv --text-column report_text --id-column AccessionNo
    """
    from ..anatomy import FINDINGS
    from ..evaluate.labels import label_texts, write_labels
    from ..evaluate.reading import read_texts

    ids, texts, name = read_texts(reports, text_column or None, id_column or None)
    with progress_bar(not json) as progress:
        found = label_texts(texts, labeler_choice(labeler, labeler_options, weights), progress)
    write_labels(out, ids, found, name)
    counts = dict(zip(FINDINGS, map(int, found.sum(axis=0)), strict=True))
    if json:
        emit_json({"n": len(ids), "labeler": labeler, "out": str(out), "positives": counts})
    else:
        say(f"Labelled {len(ids)} texts, {sum(counts.values())} findings: {out}")
