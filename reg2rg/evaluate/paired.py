"""Paired comparison of two sets of reports on the same studies: difference, 95 % interval and p by one bootstrap of both.

Both sets are resampled with the same draws, so that what a study's difficulty adds to both cancels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDINGS
from ..contracts import GroundedReport
from ..errors import UserError
from . import clinical
from .bootstrap import LEVEL, Block, samples
from .choice import Named
from .evaluation import DEFAULT, collect
from .labels import distinct
from .rows import study_key
from .shelf import Reports, View, read, texts_alone

Key = tuple[str, ...]
Number = tuple[Key, str]  # a block, and the name of a number in it
LOWER_IS_BETTER = ("length_kl",)
_LABELS = {f: (("clinical",), f"per_label/{f}/f1") for f in FINDINGS}
_SHOWN = 20


def comparison(
    a: Reports,
    b: Reports,
    *,
    metrics: Sequence[Named] = (),
    labels: Mapping[str, Mapping[str, int]] | None = None,
    labeler: Named = "rules",
    ci: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The part `comparison` of an evaluation: every number of `a` minus that of `b`, over the studies that both hold.

    Gives `n`, `excluded`, `distinct_reports`, `rows` and `per_label`. Raises UserError where no study is in both, or where a
    study has another reference in each.
    """
    left, right, excluded = _common(a, b)
    pair = _Pair(left, right, metrics or DEFAULT, {"labels": labels, "labeler": labeler})
    return {
        "n": len(left),
        "excluded": excluded,
        "distinct_reports": {"this": distinct(r.report for r in left), "other": distinct(r.report for r in right)},
        "rows": pair.rows(pair.numbers(), ci, seed),
        "per_label": [{"finding": row.pop("metric"), **row} for row in pair.rows(_LABELS, ci, seed)],
    }


def _common(a: Reports, b: Reports) -> tuple[Reports, Reports, dict[str, Any]]:
    """The studies of both, in the order of `a`, with one reference each; and those of one alone."""
    texts = texts_alone(a), texts_alone(b)
    mine, other = ({study_key(r.study): i for i, r in enumerate(side)} for side in texts)
    places = [np.array([side[key] for key in mine if key in other], dtype=np.int64) for side in (mine, other)]
    if not len(places[0]):
        raise UserError(
            "the two files have no study in common", fix=f"The one has '{next(iter(mine))}', the other '{next(iter(other))}'."
        )
    pairs = zip(read(texts[0], places[0]), read(texts[1], places[1]), strict=True)
    if differing := [x.study for x, y in pairs if _words(x) and _words(y) and _words(x) != _words(y)]:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise UserError(
            f"study '{differing[0]}'{more} has another reference in the other file",
            fix="Score both against one: --references FILE",
        )
    excluded = {
        "only in this file": _listed(r.study for r in read(texts[0], [i for key, i in mine.items() if key not in other])),
        "only in the other file": _listed(r.study for r in read(texts[1], [i for key, i in other.items() if key not in mine])),
    }

    def referenced(number: int, x: GroundedReport) -> GroundedReport:
        return x if x.reference.strip() else dataclasses.replace(x, reference=texts[1][int(places[1][number])].reference)

    wanted = View(texts[0], places[0], referenced)

    def as_left(number: int, y: GroundedReport) -> GroundedReport:
        x = wanted[number]
        return dataclasses.replace(y, study=x.study, reference=x.reference)

    return (
        View(a, places[0], referenced),
        View(b, places[1], as_left),
        {reason: entry for reason, entry in excluded.items() if entry["n"]},
    )


def _words(report: GroundedReport) -> list[str]:
    return report.reference.split()


def _listed(studies: Iterable[str]) -> dict[str, Any]:
    names = list(studies)
    return {"n": len(names), "studies": names[:_SHOWN]}


class _Pair:
    """The blocks of two sets of reports on the same studies."""

    def __init__(self, a: Reports, b: Reports, groups: Sequence[Named], settings: Mapping[str, Any]) -> None:
        self.blocks: list[list[Block]] = [collect(reports, groups, **settings) for reports in (a, b)]
        self.values = [{x.key: x.values() for x in side} for side in self.blocks]
        self.drawn: list[dict[Key, dict[str, np.ndarray]]] = []

    def numbers(self) -> dict[str, Number]:
        """Every number that both have, under the name that a table has for it; each finding's own is left to `_LABELS`."""
        found: dict[str, Number] = {}
        for key in self.values[0]:
            if key[0] == "metrics":
                found |= {f"{key[1]}.{n}" if n in found else n: (key, n) for n in self.values[0][key]}
        for average in clinical.AVERAGES:
            found |= {f"{average}_{kind}": (("clinical",), f"{average}/{kind}") for kind in clinical.KINDS}
        found["crg"] = ("clinical",), "crg"
        found["recognition"] = ("region_recognition",), "accuracy"
        found["length_kl"] = ("length",), "kl"
        return found

    def rows(self, numbers: Mapping[str, Number], draws: int, seed: int) -> list[dict[str, Any]]:
        """One row for each number that both sides have and that is finite in both."""
        if not self.drawn:
            self.drawn = [samples(side, draws, seed) for side in self.blocks]
        rows = []
        for name, (key, number) in numbers.items():
            if not all(number in side.get(key, ()) and np.isfinite(side[key][number]) for side in self.values):
                continue
            value, other = (float(side[key][number]) for side in self.values)
            row: dict[str, Any] = {"metric": name, "value": value, "other": other, "difference": value - other}
            if name in LOWER_IS_BETTER:
                row["lower_is_better"] = True
            if draws:
                row |= interval(self.drawn[0][key][number] - self.drawn[1][key][number])
            rows.append(row)
        return rows


def interval(spread: np.ndarray) -> dict[str, float]:
    """The 95 % interval of drawn differences and the two-sided p of none: {"low", "high", "p"}."""
    spread = spread[np.isfinite(spread)]
    if not spread.size:
        return {"low": 0.0, "high": 0.0, "p": 1.0}
    low, high = np.percentile(spread, LEVEL)
    # one more than was drawn, so that no p is exactly 0
    tail = min((spread <= 0).sum(), (spread >= 0).sum())
    return {"low": float(low), "high": float(high), "p": float(min(1.0, 2 * (tail + 1) / (spread.size + 1)))}
