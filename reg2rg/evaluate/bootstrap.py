"""Intervals for every number at once: a number is a function of sums over studies, and a bootstrap resamples the sums.

With S the statistics (n studies, K) of a metric and C the counts (B resamples, n) of how often each study was drawn, C @ S
gives the sums of every resample in one matrix product, for all metrics by the same C. The same C for two report files makes
their comparison paired.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .statistics import Statistics

Combine = Callable[[np.ndarray], Mapping[str, Any]]
LEVEL = (2.5, 97.5)
_AT_ONCE = 100  # resamples drawn together, fewer where the studies are many:
_CELLS = 1_000_000  # so many numbers of a draw are in memory


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One metric of one set of studies: `statistics` (n, k), `combine` (..., k) → name → (...).

    A study that the metric doesn't concern has a row of zeros. `key` says what the block is of, e.g. ("metrics", "bleu").
    """

    key: tuple[str, ...]
    statistics: Statistics
    combine: Combine

    def values(self) -> dict[str, np.ndarray]:
        """Every number over all studies."""
        return combined(self.combine, self.statistics.sum())


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; `low` and `high` are None where no bootstrap was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float]:
        """As it stands in evaluation.json."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    @property
    def interval(self) -> list[float] | None:
        """[low, high], or None."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def draw_counts(n: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of n studies is in each of `draws` resamples of n studies: float64 (draws, n)."""
    picks = generator.integers(n, size=(draws, n))
    picks += np.arange(draws)[:, None] * n
    return np.bincount(picks.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def sums_of_each(parts: Sequence[Statistics], draws: int, seed: int) -> list[np.ndarray]:
    """Sums (draws, K) of each one's resampled rows, all of the same n studies by the same draws.

    They are the same for the same n, draws and seed.
    """
    generator = np.random.default_rng(seed)
    sums = [np.zeros((draws, part.shape[1])) for part in parts]
    n = parts[0].shape[0]
    at_once = max(1, min(_AT_ONCE, _CELLS // max(n, 1)))
    for start in range(0, draws, at_once):
        counts = draw_counts(n, min(at_once, draws - start), generator)
        for found, part in zip(sums, parts, strict=True):
            found[start : start + len(counts)] = part.sums(counts)
    return sums


def combined(combine: Combine, sums: np.ndarray) -> dict[str, np.ndarray]:
    """`combine` over leading axes, row by row where it only takes one vector; numbers that aren't finite become NaN."""
    values = {name: np.asarray(value, dtype=np.float64) for name, value in combine(sums).items()}
    if any(value.shape != sums.shape[:-1] for value in values.values()):
        rows = [combine(row) for row in sums.reshape(-1, sums.shape[-1])]
        values = {name: np.array([float(r[name]) for r in rows]).reshape(sums.shape[:-1]) for name in values}
    return {name: np.where(np.isfinite(value), value, np.nan) for name, value in values.items()}


def samples(blocks: Sequence[Block], draws: int, seed: int) -> dict[tuple[str, ...], dict[str, np.ndarray]]:
    """Every number of every block in every resample: key → name → (draws,)."""
    if not blocks or draws == 0:
        return {block.key: {} for block in blocks}
    sums = sums_of_each([b.statistics for b in blocks], draws, seed)
    return {block.key: combined(block.combine, part) for block, part in zip(blocks, sums, strict=True)}


def estimate(blocks: Sequence[Block], ci: int, seed: int) -> dict[tuple[str, ...], dict[str, Estimate]]:
    """Value and 95 % percentile interval of every number, from `ci` resamples (0: values only): key → name → Estimate."""
    resamples = samples(blocks, ci, seed)
    found = {}
    for block in blocks:
        values = block.values()
        drawn = resamples[block.key]
        found[block.key] = {name: _estimate(float(value), drawn.get(name)) for name, value in values.items()}
    return found


def _estimate(value: float, drawn: np.ndarray | None) -> Estimate:
    finite = None if drawn is None else drawn[np.isfinite(drawn)]
    if not np.isfinite(value):
        return Estimate(0.0)
    if finite is None or not finite.size:
        return Estimate(value)
    low, high = np.percentile(finite, LEVEL)
    return Estimate(value, float(low), float(high))
