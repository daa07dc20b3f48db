"""The statistics of a metric, a row of numbers for each study, in the form that takes the least memory.

All that is ever asked of them is their sum, and their sums in resamples: counts of studies (B, n) times rows (n, K).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .scratch import Scratch

_PART = 8192  # studies whose rows are in memory at once
_LIMIT = 1 << 20  # bytes of rows that stay in memory


class Statistics(Protocol):
    """Rows (n, K) of n studies; `shape` is (n, K)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Studies and numbers."""
        ...

    def sum(self) -> np.ndarray:
        """Over the studies: float64 (K,)."""
        ...

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Over resamples, of counts float64 (B, n): float64 (B, K)."""
        ...


class Rows:
    """Rows as a metric gave them: float64 (m, K) of the studies at `places` among n, all others zero; many lie on disk."""

    def __init__(self, rows: np.ndarray, n: int | None = None, places: Sequence[int] | np.ndarray | None = None) -> None:
        self._n = len(rows) if n is None else n
        every = places is None or (len(rows) == self._n and np.array_equal(places, np.arange(self._n)))
        self._places = None if every else np.asarray(places, dtype=np.int64)
        self._length, self._width = rows.shape
        self._total = rows.sum(axis=0)
        self._file: Scratch | None = None
        self._rows = rows
        if rows.nbytes > _LIMIT:
            self._file = Scratch("the statistics")
            self._file.add(np.ascontiguousarray(rows, dtype=np.float64).data.cast("B"))
            self._rows = np.zeros((0, self._width))

    @property
    def shape(self) -> tuple[int, int]:
        """Studies and numbers."""
        return self._n, self._width

    def sum(self) -> np.ndarray:
        """Over the studies: float64 (K,)."""
        return self._total

    def _part(self, start: int, stop: int) -> np.ndarray:
        if self._file is None:
            return self._rows[start:stop]
        found = self._file.read(start * self._width * 8, (stop - start) * self._width * 8)
        return np.frombuffer(found).reshape(-1, self._width)

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Over resamples, of counts float64 (B, n): float64 (B, K)."""
        total = np.zeros((len(counts), self._width))
        for start in range(0, self._length, _PART):
            stop = min(start + _PART, self._length)
            of = counts[:, start:stop] if self._places is None else counts[:, self._places[start:stop]]
            total += of @ self._part(start, stop)
        return total


@dataclasses.dataclass(frozen=True, slots=True)
class Coded:
    """Rows that are few, and shared: study i has row `codes[i]` of `table` (rows, K); -1 stands for zeros."""

    codes: np.ndarray
    table: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Studies and numbers."""
        return len(self.codes), self.table.shape[1]

    def _often(self, counts: np.ndarray) -> np.ndarray:
        """How often each row stands in each resample: (B, rows)."""
        rows, used = len(self.table), self.codes >= 0
        own = self.codes[used]
        return np.stack([np.bincount(own, count[used], minlength=rows) for count in counts])

    def sum(self) -> np.ndarray:
        """Over the studies: float64 (K,)."""
        return self.sums(np.ones((1, len(self.codes))))[0]

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Over resamples, of counts float64 (B, n): float64 (B, K)."""
        return self._often(counts) @ self.table


@dataclasses.dataclass(frozen=True, slots=True)
class Beside:
    """Statistics of the same studies side by side."""

    parts: tuple[Statistics, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Studies and numbers."""
        return self.parts[0].shape[0], sum(part.shape[1] for part in self.parts)

    def sum(self) -> np.ndarray:
        """Over the studies: float64 (K,)."""
        return np.concatenate([part.sum() for part in self.parts])

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Over resamples, of counts float64 (B, n): float64 (B, K)."""
        return np.concatenate([part.sums(counts) for part in self.parts], axis=1)
