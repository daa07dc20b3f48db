"""N-grams named by 64-bit hashes, so that parts of a large set can be counted one after another and still be told apart.

An n-gram's number is the sum of its words' mixed numbers times one odd constant a place. Among the 25 million n-grams of
25,000 long reports, two share a number with a chance of one in 60,000.
"""

from __future__ import annotations

import array
import dataclasses
import tempfile
from collections.abc import Iterable
from typing import IO

import numpy as np

# odd constants of splitmix64 and of two linear congruential generators; any odd ones do
_PLACES = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD1342543DE82EF95], dtype=np.uint64)

_HELD = 1_000_000  # words in memory; more go to disk


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers spread over 64 bits (the finaliser of splitmix64, which is one to one): uint64."""
    x = numbers.astype(np.uint64) + _PLACES[0]
    x = (x ^ (x >> np.uint64(30))) * _PLACES[1]
    x = (x ^ (x >> np.uint64(27))) * _PLACES[2]
    return x ^ (x >> np.uint64(31))


@dataclasses.dataclass(frozen=True, slots=True)
class Bag:
    """Distinct n-grams of n texts: for each its text (0..n-1), its number and how often it stands there; each (grams,).

    `key` names text and n-gram in one number; the bag is sorted by it.
    """

    n: int
    key: np.ndarray
    report: np.ndarray
    gram: np.ndarray
    count: np.ndarray

    def shared(self, other: Bag) -> tuple[np.ndarray, np.ndarray]:
        """Places in this bag and in the other of what text i of both holds."""
        if not other.key.size:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        at = np.minimum(np.searchsorted(other.key, self.key), other.key.size - 1)
        found = np.flatnonzero(other.key[at] == self.key)
        return found, at[found]


class Corpus:
    """The words of many texts as numbers, int32; those of large sets lie on disk. `vocabulary` is filled, and shared by what is
    compared.
    """

    def __init__(self, texts: Iterable[str], vocabulary: dict[str, int]) -> None:
        numbers, lengths = array.array("i"), array.array("q")
        self._file: IO[bytes] | None = None
        for text in texts:
            words = text.split()
            numbers.extend([vocabulary.setdefault(word, len(vocabulary)) for word in words])
            lengths.append(len(words))
            if len(numbers) > _HELD:
                self._file = self._file or tempfile.TemporaryFile(prefix="reg2rg-")  # noqa: SIM115 - lives as long as the words
                numbers.tofile(self._file)
                numbers = array.array("i")
        if self._file is not None:
            numbers.tofile(self._file)
        self._words = np.frombuffer(numbers, dtype=np.int32) if numbers else np.zeros(0, np.int32)
        self.lengths = np.array(lengths, dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._last: tuple[slice, int, tuple[int, int], Bag] | None = None

    @property
    def n(self) -> int:
        """How many texts."""
        return len(self.lengths)

    @property
    def size(self) -> int:
        """How many words."""
        return int(self._starts[-1])

    def bag(self, part: slice, order: int, share: tuple[int, int] = (0, 1)) -> Bag:
        """The n-grams of `order` words of the texts in `part`; asked for twice in a row they are counted once.

        `share` (i, k), k a power of two: the i-th of k shares of all n-grams, the same ones for every text.
        """
        if self._last is None or self._last[:3] != (part, order, share):
            self._last = part, order, share, self._bag(part, order, share)
        return self._last[3]

    def _numbers(self, start: int, count: int) -> np.ndarray:
        if self._file is None:
            return self._words[start : start + count]
        self._file.seek(4 * start)
        return np.frombuffer(self._file.read(4 * count), dtype=np.int32)

    def _bag(self, part: slice, order: int, share: tuple[int, int]) -> Bag:
        lengths = self.lengths[part]
        words = _mixed(self._numbers(int(self._starts[part.start]), int(lengths.sum())))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        size = max(words.size - order + 1, 0)
        gram = np.zeros(size, dtype=np.uint64)
        for place in range(order):
            gram += words[place : place + size] * _PLACES[place]
        kept = owner[:size] == owner[order - 1 : order - 1 + size]  # an n-gram across two texts is none
        if share[1] > 1:
            kept &= _mixed(gram) & np.uint64(share[1] - 1) == share[0]
        return _counted(len(lengths), owner[:size][kept], gram[kept])


def _counted(n: int, owner: np.ndarray, gram: np.ndarray) -> Bag:
    key = gram + _mixed(np.arange(n))[owner]
    order = np.argsort(key)  # faster than np.unique, whose sort is a stable one
    key = key[order]
    at = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: key.size])
    first = order[at]
    return Bag(n, key[at], owner[first], gram[first], np.diff(at, append=key.size))
