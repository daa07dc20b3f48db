"""Clinical efficacy (Table II): the eighteen findings in the written report against those of the reference.

Micro, macro and weighted precision, recall and F1, each finding's own, the mean over studies (`samples`, example-based), and
the CRG score. All are functions of sums over studies. 0 where a denominator is 0, as scikit-learn has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDINGS
from .bootstrap import Block
from .recognition import ratio
from .statistics import Rows

KINDS = ("precision", "recall", "f1")
AVERAGES = ("micro", "macro", "weighted", "samples")
_F = len(FINDINGS)


def label_matrix(labels: Sequence[Mapping[str, int]]) -> np.ndarray:
    """uint8 (n, 18) from one mapping finding → 0/1 a study; a finding that isn't mentioned is 0."""
    return np.array([[int(bool(row.get(f, 0))) for f in FINDINGS] for row in labels], dtype=np.uint8).reshape(-1, _F)


def statistics(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, 58) from 0/1 matrices (n, 18): TP, FP, FN of each finding, then precision, recall and F1 of the study, and 1."""
    predicted, truth = predicted.astype(bool), truth.astype(bool)
    tp, fp, fn = predicted & truth, predicted & ~truth, ~predicted & truth
    own = [x.sum(axis=1) for x in (tp, fp, fn)]
    study = np.stack([ratio(own[0], own[0] + own[1]), ratio(own[0], own[0] + own[2]), _f1(*own)], axis=1)
    return np.concatenate([tp, fp, fn, study, np.ones((len(tp), 1))], axis=1).astype(np.float64)


def _f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return ratio(2 * tp, 2 * tp + fp + fn)


def combine(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Every number of the clinical part from sums (..., 58): "micro/f1", "per_label/Emphysema/f1", …, "crg"."""
    tp, fp, fn = (sums[..., i * _F : (i + 1) * _F] for i in range(3))
    each = {"precision": ratio(tp, tp + fp), "recall": ratio(tp, tp + fn), "f1": _f1(tp, fp, fn)}
    total = [x.sum(axis=-1) for x in (tp, fp, fn)]
    found = {
        "micro/precision": ratio(total[0], total[0] + total[1]),
        "micro/recall": ratio(total[0], total[0] + total[2]),
        "micro/f1": _f1(*total),
        "crg": crg(total[0], total[1], total[2], sums[..., -1]),
    }
    support = tp + fn
    for i, kind in enumerate(KINDS):
        found[f"macro/{kind}"] = each[kind].mean(axis=-1)
        found[f"weighted/{kind}"] = ratio((each[kind] * support).sum(axis=-1), support.sum(axis=-1))
        found[f"samples/{kind}"] = ratio(sums[..., 3 * _F + i], sums[..., -1])
        found |= {f"per_label/{finding}/{kind}": each[kind][..., j] for j, finding in enumerate(FINDINGS)}
    return found


def crg(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, exams: np.ndarray) -> np.ndarray:
    """CRG score U / (2U - s): X = findings × exams, A = positives, r = (X - A) / 2A, U = (X - A) / 2, s = r·TP - r·FN - FP.

    NaN where the reference has no positive; reports that are always normal get 1/3.
    """
    cells, positives = _F * exams, np.asarray(tp + fn, dtype=np.float64)
    reward = np.divide(cells - positives, 2 * positives, out=np.full(positives.shape, np.nan), where=positives > 0)
    upper = (cells - positives) / 2
    with np.errstate(invalid="ignore", divide="ignore"):  # every cell positive: no negative is left to be right about
        return np.divide(upper, 2 * upper - (reward * tp - reward * fn - fp))


def block(predicted: np.ndarray, truth: np.ndarray, n: int | None = None, places: np.ndarray | None = None) -> Block:
    """The clinical block of the bootstrap; the labels are those of the studies at `places` among n, or of all."""
    return Block(("clinical",), Rows(statistics(predicted, truth), n, places), combine)


def summary(scores: Mapping[str, Any], truth: np.ndarray) -> dict[str, Any]:
    """The part `clinical` of an evaluation; `scores` are the block's estimates."""
    support = truth.astype(int).sum(axis=0)
    values: dict[str, Any] = {a: {k: scores[f"{a}/{k}"].value for k in KINDS} for a in AVERAGES}
    values["per_label"] = {
        f: {**{k: scores[f"per_label/{f}/{k}"].value for k in KINDS}, "support": int(n)}
        for f, n in zip(FINDINGS, support, strict=True)
    }
    if support.any():
        values["crg"] = scores["crg"].value
    if scores["micro/f1"].interval:
        values |= {f"{a}_interval": {k: scores[f"{a}/{k}"].interval for k in KINDS} for a in AVERAGES}
        values["per_label_interval"] = {f: {k: scores[f"per_label/{f}/{k}"].interval for k in KINDS} for f in FINDINGS}
        if support.any():
            values["crg_interval"] = scores["crg"].interval
    return values
