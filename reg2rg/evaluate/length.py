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

GRID = 256
_FLOOR = 1e-10  # of the density, so that a length that is never written costs much but not infinitely much


def words(texts: Sequence[str]) -> np.ndarray:
    """Words of each text, split at blanks: float64 (n,)."""
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


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


def block(reports: Sequence[GroundedReport]) -> Block:
    """The length block: 1, both lengths, and both kernels on the grid (n, 3 + 2·256); bandwidths stay fixed in resamples."""
    reference, predicted = words([r.reference for r in reports]), words([r.report for r in reports])
    grid = _grid(reference, predicted)
    columns = [np.ones((len(reports), 1)), reference[:, None], predicted[:, None]]
    densities = [kernels(x, grid, bandwidth(x)) for x in (reference, predicted)]
    return Block(("length",), np.concatenate([*columns, *densities], axis=1), _combine)


def _grid(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.linspace(0.0, max(x.max(initial=0.0) + 3 * bandwidth(x) for x in (reference, predicted)), GRID)


def _densities(reports: Sequence[GroundedReport]) -> tuple[list[float], dict[str, list[float]]]:
    """The curves of Fig. 3: the grid in words, and each side's density per word, to four digits."""
    sides = {"reference": words([r.reference for r in reports]), "prediction": words([r.report for r in reports])}
    grid = _grid(*sides.values())
    curves = {side: _mean_kernel(lengths, grid) for side, lengths in sides.items()}
    return [round(float(x), 2) for x in grid], {k: [float(f"{y:.4g}") for y in curve] for k, curve in curves.items()}


def _mean_kernel(lengths: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """`kernels` averaged over studies, each length once: there are far fewer lengths than studies."""
    values, counts = np.unique(lengths, return_counts=True)
    return counts @ kernels(values, grid, bandwidth(lengths)) / len(lengths)


def summary(reports: Sequence[GroundedReport], scores: Mapping[str, Estimate]) -> dict[str, Any]:
    """The part `length` of an evaluation."""
    found: dict[str, Any] = {"kl": scores["kl"].value, "unit": "words", "kernel": "Gaussian, Scott's bandwidth"}
    for side in ("reference", "prediction"):
        lengths = words([r.reference if side == "reference" else r.report for r in reports])
        quartiles = [float(q) for q in np.percentile(lengths, (25, 50, 75))]
        found[side] = {"mean": scores[f"mean_{side}"].value, "quartiles": quartiles, "bandwidth": bandwidth(lengths)}
    grid, densities = _densities(reports)
    found["density"] = {"words": grid, **densities}
    if scores["kl"].interval:
        found["kl_interval"] = scores["kl"].interval
    return found
