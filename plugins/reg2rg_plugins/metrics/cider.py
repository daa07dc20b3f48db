"""CIDEr as pycocoevalcap's `Cider` has it, which the published tables use; mean over the reports.

Words are split at blanks. With tf-idf vectors g of the n-grams (document frequency over all references of the set), for each
order n = 1..4: min(g_prediction, g_reference) · g_reference / (|g_prediction| |g_reference|) · exp(-d² / 2σ²), d the difference
in bigrams and σ 6; the score is 10 times the mean over the orders. It depends on the whole set: a set of one report scores 0.
Intervals keep the document frequencies of the full set. Memory stays flat: of each order the n-grams are dealt into shares of
bounded size, and each share takes two passes over parts of the set, one for its document frequencies and one for the products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport

from .hashed import Bag, Corpus
from .ngrams import chunks

ORDERS = 4
_SHARE = 2_000_000  # words of the references whose n-grams make one share


Share = tuple[int, int]


class _Rarity:
    """Inverse document frequency of a share of n-grams: log(n / references that hold it), log n where none does."""

    def __init__(self, references: Corpus, order: int, share: Share, parts: Sequence[slice]) -> None:
        held = [references.bag(part, order, share).gram for part in parts]
        self._gram, self._count = np.unique(np.concatenate(held), return_counts=True)
        self._most = np.log(max(references.n, 1))

    def __call__(self, gram: np.ndarray) -> np.ndarray:
        """float64, of n-gram numbers of any shape."""
        if self._gram.size == 0:
            return np.full(gram.shape, self._most)
        at = np.minimum(np.searchsorted(self._gram, gram), self._gram.size - 1)
        return self._most - np.where(self._gram[at] == gram, np.log(self._count[at]), 0.0)


def _products(predicted: Bag, reference: Bag, rarity: _Rarity) -> np.ndarray:
    """Of the tf-idf vectors of n pairs: the clipped product and both squared norms, float64 (3, n)."""
    n = predicted.n
    left, right = predicted.count * rarity(predicted.gram), reference.count * rarity(reference.gram)
    i, j = predicted.shared(reference)
    product = np.bincount(predicted.report[i], np.minimum(left[i], right[j]) * right[j], minlength=n)
    squares = [np.bincount(bag.report, v * v, minlength=n) for bag, v in ((predicted, left), (reference, right))]
    return np.stack([product, *squares])


def _similarity(predictions: Corpus, references: Corpus, order: int) -> np.ndarray:
    """Clipped cosine of the tf-idf vectors of one order in each pair: float64 (n,)."""
    shares = 1 << (references.size // _SHARE).bit_length()
    sums = np.zeros((3, references.n))
    parts = list(chunks(predictions.lengths + references.lengths))
    for share in ((i, shares) for i in range(shares)):
        rarity = _Rarity(references, order, share, parts)
        for part in parts:
            sums[:, part] += _products(predictions.bag(part, order, share), references.bag(part, order, share), rarity)
    scale = np.sqrt(sums[1]) * np.sqrt(sums[2])
    return np.divide(sums[0], scale, out=np.zeros(references.n), where=scale > 0)


class Cider:
    """Statistics of a report: its score, and 1 (2)."""

    names = ("cider",)

    def __init__(self, sigma: float = 6.0) -> None:
        self.sigma = sigma

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 2); an empty prediction scores 0."""
        vocabulary: dict[str, int] = {}
        predictions = Corpus((r.report for r in reports), vocabulary)
        references = Corpus((r.reference for r in reports), vocabulary)
        total = np.zeros(len(reports))
        for order in range(1, ORDERS + 1) if len(reports) else ():
            total += _similarity(predictions, references, order)
        difference = np.maximum(predictions.lengths - 1, 0) - np.maximum(references.lengths - 1, 0)
        score = 10.0 / ORDERS * total * np.exp(-(difference.astype(np.float64) ** 2) / (2 * self.sigma**2))
        return np.stack([score, np.ones(len(reports))], axis=1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The mean from sums (..., 2)."""
        return {"cider": sums[..., 0] / np.maximum(sums[..., 1], 1.0)}
