"""N-grams of many reports counted at once: words become numbers, n-grams become numbers, and sorting counts them.

An n-gram's number is made from the number of its first n - 1 words and its last word, so each order reuses the one before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from reg2rg.contracts import GroundedReport

CHUNK, WORDS = 1000, 1_000_000  # reports, and their words on both sides, that are counted at once: memory stays flat
_LETTERS = 6  # characters a word, about
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """Distinct n-grams of one side's reports: for each its report, its number and how often it stands there."""

    report: np.ndarray
    gram: np.ndarray
    count: np.ndarray

    def total(self, n: int) -> np.ndarray:
        """N-grams of each of n reports: float64 (n,)."""
        return np.bincount(self.report, self.count, minlength=n).astype(np.float64)  # integers where nothing was counted


@dataclasses.dataclass(frozen=True, slots=True)
class Grams:
    """N-grams of one order in n predictions and their references; `left`, `right` index the n-grams that a pair shares."""

    n: int
    predicted: Side
    reference: Side
    left: np.ndarray
    right: np.ndarray

    def matches(self) -> np.ndarray:
        """Clipped matches of each pair: float64 (n,)."""
        clipped = np.minimum(self.predicted.count[self.left], self.reference.count[self.right])
        return np.bincount(self.predicted.report[self.left], clipped, minlength=self.n).astype(np.float64)


def chunks(sizes: Sequence[int] | np.ndarray) -> Iterator[slice]:
    """Slices that cover reports of these many words: `CHUNK` reports each at most, and `WORDS` words but for a single one."""
    start = 0
    for some in _grouped(sizes, int):
        yield slice(start, start + len(some))
        start += len(some)


def batches(reports: Sequence[GroundedReport]) -> Iterator[list[GroundedReport]]:
    """The reports in lists as `chunks` has them, read once."""
    return _grouped(reports, lambda r: (len(r.report) + len(r.reference)) // _LETTERS)


def _grouped(items: Iterable[T], words: Callable[[T], int]) -> Iterator[list[T]]:
    group: list[T] = []
    total = 0
    for item in items:
        size = words(item)
        if group and (len(group) == CHUNK or total + size > WORDS):
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group


def _numbered(texts: Iterable[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Word numbers of all texts in a row, and the text that each word belongs to; both int64 (words,)."""
    vocabulary: dict[str, int] = {}
    numbers: list[int] = []
    lengths: list[int] = []
    for tokens in texts:
        numbers.extend([vocabulary.setdefault(token, len(vocabulary)) for token in tokens])
        lengths.append(len(tokens))
    return np.asarray(numbers, dtype=np.int64), np.repeat(np.arange(len(lengths)), lengths)


def _orders(words: np.ndarray, owner: np.ndarray, highest: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each order 1..highest: n-gram numbers and their owners, n-grams across two texts left out."""
    width = int(words.max(initial=0)) + 1
    start = np.arange(words.size)
    codes = words
    for order in range(1, highest + 1):
        if order > 1:
            end = start + order - 1
            keep = end < words.size
            keep[keep] &= owner[end[keep]] == owner[start[keep]]
            codes, start = codes[keep], start[keep]
            _, codes = np.unique(codes * width + words[start + order - 1], return_inverse=True)
        yield codes, owner[start]


def count_grams(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], highest: int) -> Iterator[Grams]:
    """The n-grams of word lists, order by order from 1 to `highest`."""
    n = len(predictions)
    words, owner = _numbered([*predictions, *references])
    for codes, owners in _orders(words, owner, highest):
        width = int(codes.max(initial=0)) + 1
        split = int(np.searchsorted(owners, n))
        left, left_counts = np.unique(owners[:split] * width + codes[:split], return_counts=True)
        right, right_counts = np.unique((owners[split:] - n) * width + codes[split:], return_counts=True)
        _, i, j = np.intersect1d(left, right, assume_unique=True, return_indices=True)
        yield Grams(n, Side(left // width, left % width, left_counts), Side(right // width, right % width, right_counts), i, j)
