"""BLEU-1..4 as the papers' tables have it: the mean of smoothed sentence scores; and the corpus score, named apart.

Tokens are mteval-13a's. Every order is smoothed, (matches + 1) / (n-grams + 1), then the geometric mean of orders 1..n is
taken and the brevity factor exp(1 - reference / prediction) where the prediction isn't longer. An empty prediction scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport

from .ngrams import batches, count_grams
from .tokens import tokens_13a

ORDERS = 4


def bleu(matches: np.ndarray, possible: np.ndarray, reference_length: np.ndarray) -> np.ndarray:
    """BLEU-1..4 (..., 4) from counts of orders 1..4 (..., 4) and reference lengths (...)."""
    length = possible[..., 0]
    precision = (matches + 1.0) / (possible + 1.0)
    mean = np.exp(np.cumsum(np.log(precision), axis=-1) / np.arange(1, ORDERS + 1))
    safe = np.maximum(length, 1.0)
    brevity = np.where(length > reference_length, 1.0, np.exp(1.0 - reference_length / safe))
    return np.where(length > 0, brevity, 0.0)[..., None] * mean


class Bleu:
    """Statistics of a report: 4 sentence scores, 1, matches of 4 orders, n-grams of 4 orders, reference length (14)."""

    names = (*(f"bleu{n}" for n in range(1, 5)), *(f"corpus_bleu{n}" for n in range(1, 5)))

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 14)."""
        rows = [self._rows(batch) for batch in batches(reports)]
        return np.concatenate(rows) if rows else np.zeros((0, 14))

    @staticmethod
    def _rows(reports: Sequence[GroundedReport]) -> np.ndarray:
        n = len(reports)
        predictions, references = [tokens_13a(r.report) for r in reports], [tokens_13a(r.reference) for r in reports]
        found = list(count_grams(predictions, references, ORDERS))
        matches = np.stack([grams.matches() for grams in found], axis=1)
        possible = np.stack([grams.predicted.total(n) for grams in found], axis=1)
        reference = found[0].reference.total(n)
        one = np.ones((n, 1))
        return np.concatenate([bleu(matches, possible, reference), one, matches, possible, reference[:, None]], axis=1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Mean sentence scores and corpus scores from sums (..., 14)."""
        sentence = sums[..., :4] / np.maximum(sums[..., 4:5], 1.0)
        corpus = bleu(sums[..., 5:9], sums[..., 9:13], sums[..., 13])
        scores = np.concatenate([sentence, corpus], axis=-1)
        return {name: scores[..., i] for i, name in enumerate(self.names)}
