"""CIDEr as pycocoevalcap's `Cider` has it, which the published tables use; mean over the reports.

Words are split at blanks. With tf-idf vectors g of the n-grams (document frequency over all references of the set), for each
order n = 1..4: min(g_prediction, g_reference) · g_reference / (|g_prediction| |g_reference|) · exp(-d² / 2σ²), d the difference
in bigrams and σ 6; the score is 10 times the mean over the orders. It depends on the whole set: a set of one report scores 0.
Intervals keep the document frequencies of the full set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport

from .ngrams import Grams, count_grams

ORDERS = 4


def _similarity(grams: Grams) -> np.ndarray:
    """Clipped cosine of the tf-idf vectors of one order: float64 (n,)."""
    left, right, n = grams.predicted, grams.reference, grams.n
    highest = 1 + int(max(left.gram.max(initial=0), right.gram.max(initial=0)))
    idf = np.log(max(n, 1)) - np.log(np.maximum(np.bincount(right.gram, minlength=highest), 1))
    predicted, reference = left.count * idf[left.gram], right.count * idf[right.gram]
    shared = np.minimum(predicted[grams.left], reference[grams.right]) * reference[grams.right]
    norms = [np.sqrt(np.bincount(side.report, v * v, minlength=n)) for side, v in ((left, predicted), (right, reference))]
    product = np.bincount(left.report[grams.left], shared, minlength=n)
    scale = norms[0] * norms[1]
    return np.divide(product, scale, out=np.zeros(n), where=scale > 0)


class Cider:
    """Statistics of a report: its score, and 1 (2)."""

    names = ("cider",)

    def __init__(self, sigma: float = 6.0) -> None:
        self.sigma = sigma

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 2); an empty prediction scores 0."""
        n = len(reports)
        total, difference = np.zeros(n), np.zeros(n)
        for order, grams in enumerate(
            count_grams([r.report.split() for r in reports], [r.reference.split() for r in reports], ORDERS), start=1
        ):
            total += _similarity(grams)
            if order == 2:
                difference = grams.predicted.total(n) - grams.reference.total(n)
        score = 10.0 / ORDERS * total * np.exp(-(difference**2) / (2 * self.sigma**2))
        return np.stack([score, np.ones(n)], axis=1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The mean from sums (..., 2)."""
        return {"cider": sums[..., 0] / np.maximum(sums[..., 1], 1.0)}
