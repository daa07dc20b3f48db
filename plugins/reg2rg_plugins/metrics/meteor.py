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

Indexed = list[tuple[int, str]]
Pairs = list[tuple[int, int]]


def _match(left: Indexed, right: Indexed, forms: Callable[[str], Iterable[str]]) -> tuple[Pairs, Indexed, Indexed]:
    """Pairs each left word, last first, with the last free right word that is one of its forms; and what is left over."""
    places: dict[str, list[int]] = {}
    for at, word in right:
        places.setdefault(word, []).append(at)
    pairs: Pairs = []
    rest: Indexed = []
    for at, word in reversed(left):
        best = max((form for form in forms(word) if places.get(form)), key=lambda form: places[form][-1], default=None)
        if best is None:
            rest.append((at, word))
        else:
            pairs.append((at, places[best].pop()))
    taken = {j for _, j in pairs}
    return pairs, rest[::-1], [(at, word) for at, word in right if at not in taken]


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

    def _look_up(self, word: str) -> tuple[str, ...]:
        names = {name for synset in self._wordnet.synsets(word) for name in synset.lemma_names() if "_" not in name}
        return (*(names | {word}),)

    def align(self, prediction: Sequence[str], reference: Sequence[str]) -> Pairs:
        """Aligned places (prediction, reference) in the prediction's order; synonyms are looked up by stem, as NLTK does."""
        left, right = list(enumerate(prediction)), list(enumerate(reference))
        exact, left, right = _match(left, right, lambda word: (word,))
        left = [(i, self._stem(word)) for i, word in left]
        right = [(i, self._stem(word)) for i, word in right]
        stems, left, right = _match(left, right, lambda word: (word,))
        synonyms, _, _ = _match(left, right, self._synonyms)
        return sorted(exact + stems + synonyms)

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
    return [token.lower() for token in tokens_nltk(text)]
