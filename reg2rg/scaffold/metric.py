"""A metric: numbers per report and a function of their sums (here: F1 of the words that prediction and reference share).

In: reports. Out: a table (studies, k) of sufficient statistics; sums of its rows become scores, so that intervals and
paired tests cost one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport


class WordOverlap:
    """Statistics of a report: words shared, words of the prediction, words of the reference (3)."""

    names = ("word_f1",)

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 3)."""
        rows = []
        for r in reports:
            prediction, reference = set(r.report.lower().split()), set(r.reference.lower().split())
            rows.append([len(prediction & reference), len(prediction), len(reference)])
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """F1 over all words from sums (..., 3)."""
        shared, predicted, referenced = np.moveaxis(sums, -1, 0)
        return {"word_f1": 2 * shared / np.maximum(predicted + referenced, 1)}
