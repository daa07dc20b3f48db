"""Paired comparison of two sets of reports on the same studies: difference, 95 % interval and p by one bootstrap of both.

Both sets are resampled with the same draws, so that what a study's difficulty adds to both cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..contracts import GroundedReport
from ..errors import UserError
from .bootstrap import LEVEL, combined, samples
from .choice import Named
from .evaluation import collect

# the name in a table → the block and the number in it
NUMBERS: dict[str, tuple[tuple[str, ...], str]] = {
    "micro_f1": (("clinical",), "micro/f1"),
    "macro_f1": (("clinical",), "macro/f1"),
    "bleu1": (("metrics", "bleu"), "bleu1"),
    "bleu4": (("metrics", "bleu"), "bleu4"),
    "rougeL": (("metrics", "rouge"), "rougeL"),
}


def compare(
    a: Sequence[GroundedReport],
    b: Sequence[GroundedReport],
    *,
    labels: Mapping[str, Mapping[str, int]] | None = None,
    draws: int = 1000,
    seed: int = 0,
    labeler: Named = "rules",
) -> list[dict[str, Any]]:
    """For each number of `NUMBERS`: {"metric", "difference" (a - b), "low", "high", "p"}; values in 0–1, p two-sided.

    Raises UserError where the two don't hold the same studies.
    """
    if sorted(r.study for r in a) != sorted(r.study for r in b):
        raise UserError("the two sets of reports hold different studies", fix="Generate both for the same split.")
    order = {r.study: r for r in b}
    both = [list(a), [order[r.study] for r in a]]
    groups = ("clinical", "bleu", "rouge")
    blocks = [collect(reports, groups, labels=labels, labeler=labeler) for reports in both]
    drawn = [samples(part, draws, seed) for part in blocks]
    values = [{b.key: combined(b.combine, b.statistics.sum(axis=0)) for b in part} for part in blocks]
    rows = []
    for name, (key, number) in NUMBERS.items():
        if not all(key in v for v in values):
            continue
        difference = float(values[0][key][number] - values[1][key][number])
        spread = drawn[0][key][number] - drawn[1][key][number]
        rows.append({"metric": name, "difference": difference, **_interval(spread)})
    return rows


def _interval(spread: np.ndarray) -> dict[str, float]:
    spread = spread[np.isfinite(spread)]
    if not spread.size:
        return {"low": 0.0, "high": 0.0, "p": 1.0}
    low, high = np.percentile(spread, LEVEL)
    # one more than was drawn, so that no p is exactly 0
    tail = min((spread <= 0).sum(), (spread >= 0).sum())
    return {"low": float(low), "high": float(high), "p": float(min(1.0, 2 * (tail + 1) / (spread.size + 1)))}
