"""Report length (Fig. 3): how the lengths of written reports are distributed against the references'.

Lengths in words are smoothed with a Gaussian kernel (Scott's bandwidth, n^(-1/5) · std, at least one word) on a grid of 256
points from 0 to the longest report + 3 bandwidths; KL is the divergence of the prediction from the reference, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..contracts import GroundedReport
from .bootstrap import Block, Estimate
from .shelf import texts_alone
from .statistics import Beside, Coded, Rows

GRID = 256
_FLOOR = 1e-10  # of the density, so that a length that is never written costs much but not infinitely much


def lengths(reports: Sequence[GroundedReport]) -> tuple[np.ndarray, np.ndarray]:
    """Words, split at blanks, of each reference and of each written report: two float64 (n,)."""
    both = np.array(
        [(len(r.reference.split()), len(r.report.split())) for r in texts_alone(reports)], dtype=np.float64
    ).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def bandwidth(lengths: np.ndarray) -> float:
    """Scott's rule, at least one word."""
    return float(max(1.0, lengths.std(ddof=1) * len(lengths) ** -0.2)) if len(lengths) > 1 else 1.0


def kernels(lengths: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """Each study's share of the density on the grid, by the kernel's width: float64 (n, points)."""
    return np.exp(-0.5 * ((grid - lengths[:, None]) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def divergence(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """KL(reference ‖ predicted) of densities on a grid (..., points), each brought to sum 1."""
    p, q = (x + _FLOOR for x in (reference, predicted))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return (p * np.log(p / q)).sum(axis=-1)


def _combine(sums: np.ndarray) -> dict[str, np.ndarray]:
    count = np.maximum(sums[..., :1], 1.0)
    return {
        "kl": divergence(sums[..., 3 : 3 + GRID] / count, sums[..., 3 + GRID :] / count),
        "mean_reference": sums[..., 1] / count[..., 0],
        "mean_prediction": sums[..., 2] / count[..., 0],
    }


def block(reference: np.ndarray, predicted: np.ndarray, n: int | None = None, places: np.ndarray | None = None) -> Block:
    """The length block from both sides' `lengths`: 1, both lengths, and both kernels on the grid (n, 3 + 2·256).

    The lengths are those of the studies at `places` among n, or of all. Bandwidths stay fixed in resamples.
    """
    grid = _grid(reference, predicted)
    every = np.arange(len(reference)) if places is None else places
    n = len(reference) if n is None else n
    parts = [_kernel_rows(x, grid, n, every) for x in (reference, predicted)]
    own = Rows(np.stack([np.ones(len(reference)), reference, predicted], axis=1), n, every)
    return Block(("length",), Beside((own, *parts)), _combine)


def _kernel_rows(of: np.ndarray, grid: np.ndarray, n: int, places: np.ndarray) -> Coded:
    """A row of kernels for each length: there are far fewer lengths than studies."""
    values, codes = np.unique(of, return_inverse=True)
    spread = np.full(n, -1, dtype=np.int32)
    spread[places] = codes
    return Coded(spread, kernels(values, grid, bandwidth(of)))


def _grid(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.linspace(0.0, max(x.max(initial=0.0) + 3 * bandwidth(x) for x in (reference, predicted)), GRID)


def _mean_kernel(of: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """`kernels` averaged over studies, each length once."""
    values, counts = np.unique(of, return_counts=True)
    return counts @ kernels(values, grid, bandwidth(of)) / len(of)


def summary(reference: np.ndarray, predicted: np.ndarray, scores: Mapping[str, Estimate]) -> dict[str, Any]:
    """The part `length` of an evaluation; the curves of Fig. 3 as each side's density per word, to four digits."""
    found: dict[str, Any] = {"kl": scores["kl"].value, "unit": "words", "kernel": "Gaussian, Scott's bandwidth"}
    grid = _grid(reference, predicted)
    found["density"] = {"words": [round(float(x), 2) for x in grid]}
    for side, of in (("reference", reference), ("prediction", predicted)):
        quartiles = [float(q) for q in np.percentile(of, (25, 50, 75))]
        found[side] = {"mean": scores[f"mean_{side}"].value, "quartiles": quartiles, "bandwidth": bandwidth(of)}
        found["density"][side] = [float(f"{y:.4g}") for y in _mean_kernel(of, grid)]
    if scores["kl"].interval:
        found["kl_interval"] = scores["kl"].interval
    return found
