"""ROUGE-1, ROUGE-2 and ROUGE-L: F1 of a report, then the mean, as rouge_score without stemming gives it.

N-grams are counted for all reports at once; the longest common subsequence is found bit-parallel: one big integer holds a
row of the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport

from .ngrams import batches, count_grams
from .tokens import tokens_rouge


def lcs_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence (Hyyrö's bit-parallel recurrence)."""
    places: dict[str, int] = {}
    for i, token in enumerate(left):
        places[token] = places.get(token, 0) | (1 << i)
    row = full = (1 << len(left)) - 1
    for token in right:
        if place := places.get(token):
            hit = row & place
            row = ((row + hit) | (row - hit)) & full
    return len(left) - row.bit_count()


def f_measure(matches: np.ndarray, predicted: np.ndarray, referenced: np.ndarray) -> np.ndarray:
    """F1 = 2 · matches / (predicted + referenced), 0 where there is nothing."""
    total = predicted + referenced
    return np.divide(2.0 * matches, total, out=np.zeros_like(total), where=total > 0)


class Rouge:
    """Statistics of a report: F1 of ROUGE-1, 2 and L, and 1 (4)."""

    names = ("rouge1", "rouge2", "rougeL")

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 4)."""
        rows = [self._rows(batch) for batch in batches(reports)]
        return np.concatenate(rows) if rows else np.zeros((0, 4))

    @staticmethod
    def _rows(reports: Sequence[GroundedReport]) -> np.ndarray:
        predictions = [tokens_rouge(r.report) for r in reports]
        references = [tokens_rouge(r.reference) for r in reports]
        lengths = [np.array([len(tokens) for tokens in side], dtype=np.float64) for side in (predictions, references)]
        scores = [
            f_measure(grams.matches(), grams.predicted.total(grams.n), grams.reference.total(grams.n))
            for grams in count_grams(predictions, references, 2)
        ]
        lcs = np.array([lcs_length(p, r) for p, r in zip(predictions, references, strict=True)], dtype=np.float64)
        return np.stack([*scores, f_measure(lcs, *lengths), np.ones(len(reports))], axis=1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Means from sums (..., 4)."""
        count = np.maximum(sums[..., 3], 1.0)
        return {name: sums[..., i] / count for i, name in enumerate(self.names)}
