"""METEOR as NLTK has it: words aligned exactly, then by Porter stem, then by WordNet synonym; mean over the reports.

F = P·R / (α·P + (1 - α)·R), score = F · (1 - γ · (chunks / matches)^β) with α 0.9, β 3, γ 0.5. Without WordNet there is no
METEOR: the number would differ too little to be noticed, so `UserError` is raised instead.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from reg2rg.contracts import GroundedReport

from .tokens import tokens_nltk
from .wordnet import load_wordnet

Words = Sequence[str | None]  # None: a place that is aligned already
Pairs = list[tuple[int, int]]


def _places(words: Words) -> dict[str, list[int]]:
    """Where each word stands, in order."""
    found: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        if word is not None:
            found.setdefault(word, []).append(at)
    return found


def _same(left: Words, right: Words) -> Pairs:
    """Pairs equal words: of each word the last with the last, the one before with the one before, and so on."""
    there = _places(right)
    pairs: Pairs = []
    for word, here in _places(left).items():
        if others := there.get(word):
            pairs += zip(reversed(here), reversed(others), strict=False)
    return pairs


def _alike(left: Words, right: Words, forms: Callable[[str], frozenset[str]]) -> Pairs:
    """Pairs each left word, last first, with the last free right word that is one of its forms."""
    free = _places(right)
    known = set(free)
    pairs: Pairs = []
    for at in range(len(left) - 1, -1, -1):
        word = left[at]
        if word is None or not (found := forms(word) & known):
            continue
        best = max(found, key=lambda form: free[form][-1])
        pairs.append((at, free[best].pop()))
        if not free[best]:
            known.remove(best)
    return pairs


def _rest(words: Words, taken: Iterable[int], form: Callable[[str], str]) -> Words:
    """The words that aren't taken, in another form, in their places."""
    left: list[str | None] = [None if word is None else form(word) for word in words]
    for at in taken:
        left[at] = None
    return left


def _chunks(pairs: Pairs) -> int:
    return 1 + sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in itertools.pairwise(pairs))


class Meteor:
    """Statistics of a report: its score, and 1 (2)."""

    names = ("meteor",)

    def __init__(self, alpha: float = 0.9, beta: float = 3.0, gamma: float = 0.5) -> None:
        from nltk.stem.porter import PorterStemmer

        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self._wordnet: Any = load_wordnet()
        self._stem = functools.lru_cache(maxsize=1 << 16)(PorterStemmer().stem)
        self._synonyms = functools.lru_cache(maxsize=1 << 14)(self._look_up)

    def _look_up(self, word: str) -> frozenset[str]:
        names = {name for synset in self._wordnet.synsets(word) for name in synset.lemma_names() if "_" not in name}
        return frozenset(names | {word})

    def align(self, prediction: Sequence[str], reference: Sequence[str]) -> Pairs:
        """Aligned places (prediction, reference) in the prediction's order; synonyms are looked up by stem, as NLTK does."""
        left: Words = prediction
        right: Words = reference
        found = _same(left, right)
        left, right = (_rest(w, (p[side] for p in found), self._stem) for side, w in enumerate((left, right)))
        stems = _same(left, right)
        left, right = (_rest(w, (p[side] for p in stems), str) for side, w in enumerate((left, right)))
        return sorted(found + stems + _alike(left, right, self._synonyms))

    def score(self, prediction: Sequence[str], reference: Sequence[str]) -> float:
        """METEOR of two lists of lower-case words."""
        pairs = self.align(prediction, reference)
        if not pairs:
            return 0.0
        precision, recall = len(pairs) / len(prediction), len(pairs) / len(reference)
        mean = precision * recall / (self.alpha * precision + (1.0 - self.alpha) * recall)
        return mean * (1.0 - self.gamma * (_chunks(pairs) / len(pairs)) ** self.beta)

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, 2)."""
        rows = np.ones((len(reports), 2))
        for i, r in enumerate(reports):
            rows[i, 0] = self.score(_words(r.report), _words(r.reference))
        return rows

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The mean from sums (..., 2)."""
        return {"meteor": sums[..., 0] / np.maximum(sums[..., 1], 1.0)}


def _words(text: str) -> list[str]:
    return list(map(str.lower, tokens_nltk(text)))
