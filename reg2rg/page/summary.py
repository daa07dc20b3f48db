"""Scores as the page shows them: the model beside its floors and ceiling, each finding, each region.

In: the document of `evaluate --json` (interface.md) and a mapping of floors. Out: rows of cells for the templates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..anatomy import PALETTE

# metric name → heading; these come first, in this order
HEADINGS: dict[str, str] = {
    "micro_precision": "Finding precision",
    "micro_recall": "Finding recall",
    "micro_f1": "Finding F1, micro",
    "macro_f1": "Finding F1, macro",
    "recognition": "Regions named right",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "meteor": "METEOR",
    "rougeL": "ROUGE-L",
    "cider": "CIDEr",
}
SUMMARY = ("micro_f1", "macro_f1", "recognition", "bleu1", "bleu4", "meteor", "rougeL")
_CEILINGS = ("perfect", "ceiling", "upper bound")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number with its 95 % interval; None where there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: `kind` is model, floor, ceiling, published or a colour; `cells` by metric name."""

    name: str
    kind: str
    cells: Mapping[str, Cell]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns are (metric name, heading); `tops` the length of each column's track (1 where values are shares)."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    tops: Mapping[str, float]


def cell(value: Any, interval: Any = None) -> Cell:
    """A cell from a number, a {"value", "low", "high"} object or nothing, with an interval that may stand beside it."""
    if isinstance(value, Mapping):
        return Cell(_float(value.get("value")), _float(value.get("low")), _float(value.get("high")))
    if isinstance(interval, Mapping):
        interval = (interval.get("low"), interval.get("high"))
    low, high = interval if isinstance(interval, Sequence) and len(interval) == 2 else (None, None)
    return Cell(_float(value), _float(low), _float(high))


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def model_cells(evaluation: Mapping[str, Any]) -> dict[str, Cell]:
    """The numbers of an evaluation document by metric name; `micro_f1`, `macro_f1` and `recognition` among them."""
    found: dict[str, Cell] = {}
    clinical = evaluation.get("clinical") or {}
    for average in ("micro", "macro"):
        if average in clinical:
            interval = (clinical.get(f"{average}_interval") or {}).get("f1")
            found[f"{average}_f1"] = cell(clinical[average].get("f1"), interval)
    regions = evaluation.get("region_recognition") or {}
    if "accuracy" in regions:
        found["recognition"] = cell(regions["accuracy"], regions.get("accuracy_interval"))
    return found | {name: cell(value) for name, value in (evaluation.get("metrics") or {}).items()}


def make_table(rows: Iterable[Row], shown: Sequence[str] = SUMMARY) -> Table:
    """A table of those of the `shown` metrics that a row has; a column with a value above 1 gets a longer track."""
    rows = list(rows)
    names = [n for n in shown if any(n in r.cells and r.cells[n].value is not None for r in rows)]
    highest = {n: max((r.cells[n].value or 0.0) for r in rows if n in r.cells) for n in names}
    tops = {n: 1.0 if top <= 1 else 1.1 * top for n, top in highest.items()}
    return Table([(n, HEADINGS.get(n, n)) for n in names], rows, tops)


def score_table(evaluation: Mapping[str, Any] | None, floors: Mapping[str, Mapping[str, Any]] | None) -> Table | None:
    """The model's row with the floors' and the ceiling's below it; None where there is no number at all."""
    rows = [Row("this model", "model", model_cells(evaluation))] if evaluation else []
    for name, metrics in (floors or {}).items():
        rows.append(Row(name, _kind(name, metrics), {k: cell(v) for k, v in metrics.items() if k != "kind"}))
    return make_table(rows) if rows else None


def _kind(name: str, metrics: Mapping[str, Any]) -> str:
    if isinstance(metrics.get("kind"), str):
        return metrics["kind"]
    return "ceiling" if name.lower().startswith(_CEILINGS) else "floor"


@dataclasses.dataclass(frozen=True)
class Detail:
    """One finding or region: F1 with its interval, precision, recall and how often it occurs."""

    name: str
    color: str
    f1: Cell
    precision: float | None
    recall: float | None
    support: int | None


def _details(values: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[Detail]:
    rows = []
    for name, row in values.items():
        f1 = cell(row.get("f1"), (intervals.get(name) or {}).get("f1"))
        rows.append(Detail(name, PALETTE.get(name, ""), f1, row.get("precision"), row.get("recall"), row.get("support")))
    return rows


def findings(evaluation: Mapping[str, Any]) -> list[Detail]:
    """F1 of each finding, in the order of the document."""
    clinical = evaluation.get("clinical") or {}
    return _details(clinical.get("per_label") or {}, clinical.get("per_label_interval") or {})


def recognised(evaluation: Mapping[str, Any]) -> list[Detail]:
    """How well each region was named, in the order of the document."""
    regions = evaluation.get("region_recognition") or {}
    return _details(regions.get("per_region") or {}, regions.get("per_region_interval") or {})
