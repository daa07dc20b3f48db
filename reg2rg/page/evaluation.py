"""The page of an evaluation: scores beside their floors, findings, regions, lengths, a comparison, and the worst and best
studies with their matched, missed and invented findings in colour.

In: the document of `evaluate --json`, and as plain data the studies and the published rows (docs/formats.md). Out: one HTML
file. Published figures stand in a section of their own, marked with their data set and protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_text
from .evaluation_view import (
    ELSEWHERE,
    MARKS,
    averages,
    comparison_rows,
    confusion,
    finding_rows,
    left_out,
    metric_rows,
    published_tables,
    recognition_rows,
    region_table,
    tiles,
)
from .plots import density_plot
from .render import STYLES, render
from .study import flat_settings
from .summary import score_table


def write_evaluation_page(
    path: Path,
    evaluation: Mapping[str, Any],
    *,
    examples: Mapping[str, Any] | None = None,
    published: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    title: str = "",
) -> None:
    """Writes the page of an evaluation.

    `examples` has "measure", "worst" and "best" (studies as `reg2rg.evaluate.examples` gives them), nothing where none can be
    shown, and is None where the texts aren't at hand; `published` maps a table's name to rows of "name", "data", "source",
    "protocol" and "metrics". Raises UserError where `evaluation` has no scores.
    """
    if not isinstance(evaluation.get("metrics"), Mapping) or not isinstance(evaluation.get("n"), int):
        raise UserError("an evaluation has 'n' and 'metrics'", fix="Make one with: reg2rg evaluate REPORTS --out DIR")
    settings = dict(evaluation.get("settings") or {})
    source = str(settings.get("reports") or "")
    clinical = evaluation.get("clinical") or {}
    html = render(
        "evaluation.html.j2",
        styles=(*STYLES, "evaluation.css"),
        scripts=("page.js",),
        title=title or (f"Evaluation of {source}" if source else "Evaluation"),
        notes=list(evaluation.get("warnings") or ()),
        n=evaluation["n"],
        resamples=settings.get("ci") or 0,
        judge=clinical.get("reference", ""),
        tiles=tiles(evaluation),
        metrics=metric_rows(evaluation),
        ticks=[(css, f"Tick: {floor}") for floor, css in MARKS.items() if floor in (evaluation.get("floors") or {})],
        scores=score_table(evaluation, evaluation.get("floors")) if evaluation.get("floors") else None,
        comparison=evaluation.get("comparison"),
        compared=comparison_rows((evaluation.get("comparison") or {}).get("rows") or ()),
        compared_findings=comparison_rows((evaluation.get("comparison") or {}).get("per_label") or ()),
        averages=averages(clinical),
        findings=finding_rows(clinical),
        regions=region_table(evaluation.get("per_region") or {}),
        recognised=recognition_rows(evaluation),
        recognition=evaluation.get("region_recognition") or {},
        confusion=confusion((evaluation.get("region_recognition") or {}).get("confusion") or {}),
        length=density_plot(evaluation.get("length") or {}),
        published=published_tables(published or {}, evaluation),
        examples=None if examples is None else dict(examples),
        left_out=left_out(evaluation),
        remarks=list(evaluation.get("notes") or ()),
        settings=list(flat_settings({k: v for k, v in settings.items() if k not in ELSEWHERE})),
    )
    write_text(Path(path), html)
