"""A bench as the page shows it: one row a method over its seeds, paired comparisons, and the paper's rows beside them.

In: `bench.json` (interface.md). A row's `metrics` are numbers or {"value", "low", "high"} by name, or an evaluation document;
a paper row has `name`, `metrics` and the `table` it comes from. Out: rows of cells for the templates.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .summary import HEADINGS, Cell, Row, Table, cell, make_table, model_cells


def metric_cells(metrics: Mapping[str, Any]) -> dict[str, Cell]:
    """Cells by metric name, from flat numbers or from an evaluation document."""
    if "clinical" in metrics or isinstance(metrics.get("metrics"), Mapping):
        return model_cells(metrics)
    return {name: found for name, value in metrics.items() if (found := cell(value)).value is not None}


def methods(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row a method, in order of appearance, seeds averaged."""
    runs: dict[str, list[dict[str, Cell]]] = {}
    for row in rows:
        runs.setdefault(str(row.get("name", "")), []).append(metric_cells(row.get("metrics") or {}))
    return [
        Row(name, "method", _averaged(found), f"{len(found)} seeds" if len(found) > 1 else "") for name, found in runs.items()
    ]


def _averaged(runs: Sequence[Mapping[str, Cell]]) -> dict[str, Cell]:
    if len(runs) == 1:
        return dict(runs[0])
    names = dict.fromkeys(name for run in runs for name in run)
    cells = {}
    for name in names:
        values = [run[name].value for run in runs if name in run]
        known = [v for v in values if v is not None]
        cells[name] = Cell(statistics.fmean(known), min(known), max(known)) if known else Cell()
    return cells


def ordered(rows: Iterable[Row]) -> Table:
    """A table of every metric that a row has: the known ones first, the others as they come."""
    rows = list(rows)
    found = dict.fromkeys(name for row in rows for name in row.cells)
    return make_table(rows, [n for n in HEADINGS if n in found] + [n for n in found if n not in HEADINGS])


def paper_tables(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, Table]]:
    """(heading, table) for each table of the paper that the bench quotes."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        heading = f"Published: {row['table']}" if row.get("table") else "Published"
        made = Row(str(row.get("name", "")), "published", metric_cells(row.get("metrics") or {}), "published")
        groups.setdefault(heading, []).append(made)
    return [(heading, ordered(found)) for heading, found in groups.items()]


def comparison_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Comparisons with `reach`, the half-width of the axis that all of one metric share."""
    cells = [(row, Cell(*(cell(row.get(k)).value for k in ("difference", "low", "high")))) for row in rows]
    reach: dict[str, float] = {}
    for row, found in cells:
        extent = max(abs(v) for v in (found.value, found.low, found.high, 0.0) if v is not None)
        metric = str(row.get("metric", ""))
        reach[metric] = max(reach.get(metric, 1e-6), 1.1 * extent)
    return [
        {
            "a": str(row.get("a", "")),
            "b": str(row.get("b", "")),
            "metric": HEADINGS.get(str(row.get("metric", "")), str(row.get("metric", ""))),
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "p": cell(row.get("p")).value,
            "reach": reach[str(row.get("metric", ""))],
        }
        for row, found in cells
    ]


def run_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each run was: method, recipe, seed, seconds, parameters."""
    made = []
    for row in rows:
        parameters = row.get("parameters")
        counted = isinstance(parameters, int | float) and not isinstance(parameters, bool)
        seed = row.get("seed")
        made.append(
            {
                "name": str(row.get("name", "")),
                "recipe": _recipe(row.get("recipe")),
                "seed": "–" if seed is None else seed,
                "seconds": cell(row.get("seconds")).value,
                "parameters": f"{parameters:,}" if counted else "–",
            }
        )
    return made


def _recipe(recipe: Any) -> str:
    if isinstance(recipe, Mapping):
        return str(recipe.get("name", ""))
    return "" if recipe is None else str(recipe)
