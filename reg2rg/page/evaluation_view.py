"""An evaluation as its page shows it: plain rows for the template, from the document of `evaluate --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..anatomy import PALETTE
from .charts import number
from .summary import HEADINGS, Cell, Detail, cell, findings, model_cells, recognised

TITLES = {
    **HEADINGS,
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    **{f"corpus_bleu{n}": f"Corpus BLEU-{n}" for n in range(1, 5)},
    "crg": "Finding CRG score",
    "length_kl": "Length KL (lower is better)",
    **{
        f"{average}_{kind}": f"Finding {'F1' if kind == 'f1' else kind}, {average}"
        for average in ("micro", "macro", "weighted", "samples")
        for kind in ("precision", "recall", "f1")
    },
}
AVERAGES = {
    "micro": "Micro: all findings together",
    "macro": "Macro: mean of the findings",
    "weighted": "Weighted by support",
    "samples": "Mean of the studies",
}
KINDS = ("precision", "recall", "f1")
REGION_COLUMNS = ("bleu1", "bleu4", "meteor", "rougeL")
ELSEWHERE = ("reports",)
MARKS = {"most frequent report": "frequent", "this file's reports, shuffled": "shuffled"}
_TOPS = {"cider": 10.0}
Rows = list[dict[str, Any]]


def tiles(evaluation: Mapping[str, Any]) -> Rows:
    """The few numbers on top: "name", "value", "note" and whether it is "bad"."""
    n, distinct = evaluation["n"], evaluation.get("distinct_reports")
    rows = [_tile("Studies", f"{n:,}", _excluded_note(evaluation))]
    if distinct is not None:
        references = evaluation.get("distinct_references")
        note = f"{100 * distinct / max(n, 1):.1f} % of the studies" + (f"; references: {references:,}" if references else "")
        rows.append(_tile("Distinct reports", f"{distinct:,}", note, bad=n > 1 and (distinct == 1 or distinct < 0.05 * n)))
    if empty := evaluation.get("empty_predictions"):
        rows.append(_tile("Empty predictions", f"{empty:,}", "they score 0", bad=2 * empty > n))
    cells = model_cells(evaluation)
    for name in ("micro_f1", "recognition", "bleu4", "meteor", "rougeL"):
        if name in cells:
            rows.append(_tile(TITLES[name], number(cells[name].value), _interval(cells[name])))
    if kl := (evaluation.get("length") or {}).get("kl"):
        found = cell(kl, evaluation["length"].get("kl_interval"))
        rows.append(_tile("Length KL, nats", number(found.value), _interval(found)))
    return rows


def _tile(name: str, value: str, note: str = "", bad: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note, "bad": bad}


def _interval(found: Cell) -> str:
    return f"{number(found.low)} to {number(found.high)}" if found.low is not None else ""


def _excluded_note(evaluation: Mapping[str, Any]) -> str:
    lost = sum(entry.get("n", 0) for entry in (evaluation.get("excluded") or {}).values())
    return f"{lost:,} left out, see below" if lost else "none left out"


def metric_rows(evaluation: Mapping[str, Any]) -> Rows:
    """Every whole-report number: "name", "cell", "top" of its axis, and the floors' "marks" on it."""
    cells = model_cells(evaluation)
    clinical = evaluation.get("clinical") or {}
    if "crg" in clinical:
        cells["crg"] = cell(clinical["crg"], clinical.get("crg_interval"))
    floors = evaluation.get("floors") or {}
    rows = []
    for name, found in cells.items():
        marks = [
            (css, value) for floor, css in MARKS.items() if (value := cell(floors.get(floor, {}).get(name)).value) is not None
        ]
        top = max(_TOPS.get(name, 1.0), found.high or found.value or 0.0)
        rows.append({"name": TITLES.get(name, name), "key": name, "cell": found, "top": top, "marks": marks})
    return rows


def comparison_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Differences with the "reach" of their axis: shares have one axis together, every other number its own."""
    made = []
    for row in rows:
        found = Cell(*(cell(row.get(k)).value for k in ("difference", "low", "high")))
        name = str(row.get("metric", row.get("finding", "")))
        made.append({**row, "name": TITLES.get(name, name), "key": name, "cell": found, "extent": _extent(found)})
    shares = [r["extent"] for r in made if r["key"] not in ("length_kl", "cider")]
    for row in made:
        row["reach"] = row["extent"] if row["key"] in ("length_kl", "cider") else max(shares)
        row["better"] = _better(row["cell"], bool(row.get("lower_is_better")))
    return made


def _extent(found: Cell) -> float:
    return 1.05 * max(1e-6, *(abs(v) for v in (found.value, found.low, found.high) if v is not None))


def _better(found: Cell, lower: bool) -> str:
    """Which file is better beyond its interval: "this", "other", or "" where zero lies within."""
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return ""
    return "this" if (found.low > 0) != lower else "other"


def averages(clinical: Mapping[str, Any]) -> Rows:
    """Micro, macro, weighted and example-based: "name" and "cells" of precision, recall and F1."""
    return [
        {
            "name": heading,
            "cells": [cell(clinical[key].get(kind), (clinical.get(f"{key}_interval") or {}).get(kind)) for kind in KINDS],
        }
        for key, heading in AVERAGES.items()
        if key in clinical
    ]


def _detail_rows(details: Sequence[Detail]) -> Rows:
    most = max([d.support or 0 for d in details], default=0)
    return [{"detail": d, "share": (d.support or 0) / most if most else 0.0} for d in details]


def finding_rows(clinical: Mapping[str, Any]) -> Rows:
    """Each finding, commonest first, with "share": its support against the commonest one's."""
    rows = _detail_rows(findings({"clinical": clinical}))
    return sorted(rows, key=lambda row: -(row["detail"].support or 0))


def recognition_rows(evaluation: Mapping[str, Any]) -> Rows:
    """How well each region was named."""
    return _detail_rows(recognised(evaluation))


def region_table(per_region: Mapping[str, Any]) -> dict[str, Any]:
    """Text scores by region: "columns" as (name, heading), "rows" with "name", "color", "n", "missing" and "cells"."""
    shown = [c for c in REGION_COLUMNS if any(c in row for row in per_region.values())]
    judged = any("clinical" in row for row in per_region.values())
    rows = [
        {
            "name": region,
            "color": PALETTE.get(region, ""),
            "n": row.get("n"),
            "missing": row.get("missing"),
            "cells": [*(cell(row.get(c)) for c in shown), *([_region_f1(row)] if judged else [])],
        }
        for region, row in per_region.items()
    ]
    return {"columns": [*(TITLES[c] for c in shown), *(["Finding F1"] if judged else [])], "rows": rows}


def _region_f1(row: Mapping[str, Any]) -> Cell:
    found = row.get("clinical") or {}
    return cell((found.get("micro") or {}).get("f1"), (found.get("micro_interval") or {}).get("f1"))


def confusion(found: Mapping[str, Any]) -> dict[str, Any]:
    """The heat map: "named" columns and rows of (true area, cells of count and share of the row), areas that occur."""
    counts = found.get("counts") or []
    rows = []
    for truth, row in zip(found.get("truth") or (), counts, strict=False):
        total = sum(row)
        if total:
            rows.append({"name": truth, "total": total, "cells": [{"count": c, "share": c / total} for c in row]})
    return {"named": list(found.get("named") or ()), "truth": [row["name"] for row in rows], "rows": rows}


def published_tables(published: Mapping[str, Sequence[Mapping[str, Any]]], evaluation: Mapping[str, Any]) -> Rows:
    """The paper's tables: "title", "protocol", "columns" (key, heading), this file's row and the published ones apart."""
    tables = []
    for title, rows in published.items():
        columns = list(dict.fromkeys(name for row in rows for name in row.get("metrics") or {}))
        own = _own(columns, evaluation, [str(row.get("name", "")) for row in rows])
        tables.append(
            {
                "title": title,
                "protocol": str(rows[0].get("protocol", "")) if rows else "",
                "columns": [TITLES.get(c, {"f1": "F1"}.get(c, c.capitalize())) for c in columns],
                "own": own,
                "rows": [
                    {
                        "name": row.get("name", ""),
                        "data": row.get("data", ""),
                        "source": row.get("source", ""),
                        "cells": [cell((row.get("metrics") or {}).get(c)) for c in columns],
                    }
                    for row in rows
                ],
            }
        )
    return tables


def _own(columns: Sequence[str], evaluation: Mapping[str, Any], names: Sequence[str]) -> Rows:
    """This file's rows for a published table: its text scores, its micro average, or its regions."""
    regions = {d.name: d for d in recognised(evaluation)}
    if "f1" not in columns:
        cells = model_cells(evaluation)
        found = [cells.get(c, Cell()) for c in columns]
        return [{"name": "this file", "cells": found}] if any(c.value is not None for c in found) else []
    if any(name in PALETTE for name in names):
        shown = [regions[name] for name in names if name in regions]
        return [{"name": f"this file: {d.name}", "cells": [cell(d.precision), cell(d.recall), d.f1]} for d in shown]
    micro = averages(evaluation.get("clinical") or {})[:1]
    return [{"name": "this file", "cells": row["cells"]} for row in micro]


def left_out(evaluation: Mapping[str, Any]) -> Rows:
    """What was excluded, not compared or not computed: "what", "why", "n" and the first "studies"."""
    compared = (evaluation.get("comparison") or {}).get("excluded") or {}
    rows = []
    for what, found in (("Left out", evaluation.get("excluded") or {}), ("Not compared", compared)):
        for why, entry in found.items():
            shown = [str(s) for s in entry.get("studies") or ()]
            rows.append({"what": what, "why": why, "n": entry.get("n"), "studies": shown})
    for name, why in (evaluation.get("skipped") or {}).items():
        rows.append({"what": "Not computed", "why": f"{TITLES.get(name, name)}: {why}", "n": None, "studies": []})
    return rows
