"""Vocabulary: how much of the references' language the predictions ever use.

A model that writes one safe report for everybody can score well on n-grams; it shows here. In: reports. Out: two columns a
word of the references' vocabulary (is it in this prediction, is it in this reference), whose sums tell which words a set of
studies uses at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from reg2rg.contracts import GroundedReport


def words(text: str) -> set[str]:
    """The different words of a text, lower case."""
    return set(re.findall(r"[a-z]+", text.lower()))


class Vocabulary:
    """`size`: the most frequent words of the references that count (ties in alphabetical order)."""

    names = ("vocabulary_coverage",)

    def __init__(self, size: int = 1000) -> None:
        self.size = size

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 2·v): first the words of the predictions, then those of the references."""
        references = [words(r.reference) for r in reports]
        counts = Counter(word for reference in references for word in sorted(reference))
        known = sorted(counts, key=lambda word: (-counts[word], word))[: self.size]
        place = {word: i for i, word in enumerate(known)}
        table = np.zeros((len(reports), 2, max(len(known), 1)))
        for row, report, reference in zip(table, reports, references, strict=True):
            row[0, [place[w] for w in words(report.report) if w in place]] = 1
            row[1, [place[w] for w in reference if w in place]] = 1
        return table.reshape(len(reports), -1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """From sums (..., 2·v): the share of the references' words that some prediction uses."""
        used, wanted = np.moveaxis(sums.reshape(*sums.shape[:-1], 2, -1) > 0, -2, 0)
        return {"vocabulary_coverage": (used & wanted).sum(-1) / np.maximum(wanted.sum(-1), 1)}
