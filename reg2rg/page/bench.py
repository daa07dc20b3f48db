"""A bench as the page shows it: one row a method over its seeds, paired comparisons, and the paper's rows beside them.

In: `bench.json` (interface.md). A row's `metrics` are numbers or {"value", "low", "high"} by name, or an evaluation document;
a paper row has `name`, `metrics` and the `table` it comes from. Out: rows of cells for the templates.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .scatter import Point, scatter
from .summary import HEADINGS, SUMMARY, Cell, Row, Table, cell, make_table, model_cells

_MORE = ("precision", "recall")
CLASS = "f1_"  # in front of an evidence class in a bench's metrics


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


def groups(bench: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """(heading, table) for each ablation, sweep or set of methods, from the rows over their seeds where the bench has them."""
    summary = bench.get("summary") or ()
    if not summary:
        return [("Methods", ordered(methods(bench["rows"])))]
    titles = bench.get("titles") or {}
    found: dict[str, list[Row]] = {}
    for row in summary:
        cells = {name: c for name, c in metric_cells(row["metrics"]).items() if not name.startswith(CLASS)}
        found.setdefault(str(row.get("group", "")), []).append(Row(str(row["name"]), "method", cells))
    return [(str(titles.get(group, group)), make_table(rows, (*SUMMARY, *_MORE))) for group, rows in found.items()]


def classes(bench: Mapping[str, Any]) -> Table | None:
    """Finding F1 by evidence class, one row a method; None where the data has no classes."""
    names = list(bench.get("classes") or ())
    rows = [
        Row(str(row["name"]), "method", {n: cell(row["metrics"].get(CLASS + n)) for n in names})
        for row in bench.get("summary") or ()
    ]
    found = make_table(_distinct(rows), names)
    return found if found.columns else None


def evidence(bench: Mapping[str, Any]) -> Table | None:
    """The evidence check of the phantoms: one row a finding, its class as the row's kind and the verdict as its note."""
    found = bench.get("evidence") or ()
    rows = [
        Row(str(row["finding"]), str(row["class"]), {k: cell(v) for k, v in row.items()}, str(row["holds"])) for row in found
    ]
    kept = make_table(rows, ("always_yes", "whole", "crops", "masked", "geometry", "all"))
    return dataclasses.replace(kept, columns=[(n, h.replace("_", " ")) for n, h in kept.columns]) if rows else None


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Rows without those that repeat the numbers of one before: the base stands in every ablation under another name."""
    seen: list[Row] = []
    for row in rows:
        if all(row.cells != other.cells for other in seen):
            seen.append(row)
    return seen


COSTS = {"parameters": "parameters", "seconds": "seconds of a run", "peak_mib": "peak memory, MiB"}


def costs(bench: Mapping[str, Any]) -> tuple[list[str], list[Markup]]:
    """The methods' names in order, and pictures of their finding F1 over what they cost."""
    rows = [(row, cell(row["metrics"].get("micro_f1"))) for row in bench.get("summary") or ()]
    runs: dict[tuple[Any, ...], tuple[Mapping[str, Any], Cell]] = {}
    for row, score in rows:
        if score.value is not None:
            runs.setdefault((score, *(row.get(key) for key in COSTS)), (row, score))
    pictures = []
    for key, label in COSTS.items():
        points = [
            Point(str(row["name"]), float(row.get(key) or 0), c.value or 0.0, c.low or 0.0, c.high or 0.0)
            for row, c in runs.values()
        ]
        pictures.append(scatter(points, label, "Finding F1, micro"))
    return [str(row["name"]) for row, _ in runs.values()], [p for p in pictures if p]


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
            "metric": _heading(str(row.get("metric", ""))),
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "p": cell(row.get("p")).value,
            "reach": reach[str(row.get("metric", ""))],
        }
        for row, found in cells
    ]


def _heading(metric: str) -> str:
    return f"Finding F1, {metric.removeprefix(CLASS)}" if metric.startswith(CLASS) else HEADINGS.get(metric, metric)


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
                "memory": cell(row.get("peak_mib")).value,
            }
        )
    return made


def _recipe(recipe: Any) -> str:
    if isinstance(recipe, Mapping):
        return str(recipe.get("name", ""))
    return "" if recipe is None else str(recipe)
