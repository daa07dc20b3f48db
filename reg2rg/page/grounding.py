"""The page of a grounding: for each kind of tokens, own and other change by region as bars, and telling swaps as texts.

In: the document of `ground --json` (docs/metrics.md). Out: one HTML file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..anatomy import PALETTE
from ..errors import UserError
from ..files import write_text
from .render import render
from .study import flat_settings
from .summary import Cell, cell

HEADINGS = {"texture": "Texture alone", "geometry": "Geometry alone", "both": "Texture and geometry"}


def write_grounding_page(path: Path, result: Mapping[str, Any], *, title: str = "") -> None:
    """Writes the page. Raises UserError where `result` is no grounding document."""
    kinds = result.get("kinds")
    if not isinstance(kinds, Mapping) or not kinds:
        raise UserError("a grounding has 'kinds' with numbers", fix="Make one with: reg2rg ground RUN --data STORE --out DIR")
    settings = dict(result.get("settings") or {})
    notes = settings.pop("warnings", [])
    control = result["control"]
    html = render(
        "grounding.html.j2",
        title=title or "Does each section follow its own region?",
        notes=[*notes, *([_noise(control)] if control["changed"] else [])],
        n=result["n"],
        swaps=result["swaps"],
        control=control,
        parts=[_part(kind, found) for kind, found in kinds.items()],
        examples=[_example(row) for row in result.get("examples", ())],
        settings=list(flat_settings(settings)),
    )
    write_text(Path(path), html)


def _noise(control: Mapping[str, int]) -> str:
    return f"The control changed {control['changed']} sections: changes of this size are noise."


def _part(kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """One kind: a row for all regions, one for each, and one for each finding."""
    rows = [_row("all regions", found), *(_row(region, part) for region, part in found["per_region"].items())]
    reach = max([0.05, *(abs(v) for r in rows for v in _ends(r["faithfulness"]))])
    findings = [_follow(name, part) for name, part in found.get("per_finding", {}).items()]
    overall = _follow("all findings", found["follows"]) if "follows" in found else None
    return {
        "heading": HEADINGS.get(kind, kind),
        "rows": rows,
        "reach": 1.05 * reach,
        "findings": [overall, *findings] if overall else [],
    }


def _ends(found: Cell) -> list[float]:
    return [v for v in (found.value, found.low, found.high) if v is not None]


def _row(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    cells = {k: cell(part["text"].get(k)) for k in ("own", "other", "faithfulness", "most", "between")}
    return {"name": name, "n": part["text"]["n"], "color": PALETTE.get(name, ""), **cells}


def _follow(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "n": part["n"], **{k: cell(part.get(k)) for k in ("after", "before", "chance", "donor")}}


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    others: Sequence[tuple[str, Any]] = [(r, texts) for r, texts in row["sections"].items() if r != row["region"]]
    differs = [
        f"{finding}: {'present' if own else 'absent'} here, {'present' if its else 'absent'} in the donor"
        for finding, (own, its) in (row["differs"] or {}).items()
    ]
    return {
        "study": row["study"],
        "region": row["region"],
        "color": PALETTE.get(row["region"], ""),
        "donor": row["donor"],
        "differs": differs,
        "before": row["sections"][row["region"]]["before"],
        "after": row["sections"][row["region"]]["after"],
        "donor_section": row["donor_section"],
        "others": others,
        "own": row["own"],
        "other": row["other"],
    }
