"""Region recognition (Table III): the area that the model named for each region token, against the area of its mask.

A right name is a true positive; a wrong known name a false positive for it and a false negative for the truth; an unknown or
missing name a false negative only. Accuracy is the mean over studies of the share of right names. No epsilon anywhere; 0
where a denominator is 0. The official script's definition is in `recognition_official.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import REGIONS
from ..contracts import GroundedReport
from ..errors import UserError
from .bootstrap import Block
from .prefixes import slots
from .statistics import Rows

NONE = "none"
_SHOWN = 20  # unknown names that a result lists
_R = len(REGIONS)
_AT_ONCE = 2000  # studies whose tables are in memory together


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Confusion:
    """Names of n studies: `rows` float64 (n, 32) as `statistics` gives them; `table` float64 (10, 11), true area × named area
    over all studies (last column: unknown or missing).

    `missing`: masks without a name; `named`: sections with one; `unknown`: names that are none of the ten; `repeated`: names
    used again in the same study, once for each further use; `extra`: named sections that no mask has.
    """

    rows: np.ndarray
    table: np.ndarray
    missing: int = 0
    named: int = 0
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    repeated: Mapping[str, int] = dataclasses.field(default_factory=dict)
    extra: int = 0


def confusion(pairs: Iterable[Sequence[tuple[str, str]]]) -> Confusion:
    """Counts (true area, name) pairs of each study; the area is "" where a section has no mask.

    A true area that isn't one of the ten raises UserError.
    """
    rows, table = [np.zeros((0, 2 + 3 * _R))], np.zeros((_R, _R + 1))
    unknown, repeated = Counter[str](), Counter[str]()
    missing = named = extra = 0
    studies = iter(pairs)
    while some := list(itertools.islice(studies, _AT_ONCE)):
        counts = np.zeros((len(some), _R, _R + 1))
        for of, study in zip(counts, some, strict=True):
            for truth, name in study:
                if truth:
                    of[_place(truth), REGIONS.index(name) if name in REGIONS else _R] += 1
                missing += bool(truth) and not name
                named += bool(name)
                extra += not truth
            names = Counter(name for _, name in study if name)
            unknown.update({name: n for name, n in names.items() if name not in REGIONS})
            repeated.update({name: n - 1 for name, n in names.items() if name in REGIONS and n > 1})
        rows.append(statistics(counts))
        table += counts.sum(axis=0)
    return Confusion(np.concatenate(rows), table, missing, named, _ordered(unknown), _ordered(repeated), extra)


def _place(region: str) -> int:
    if region not in REGIONS:
        raise UserError(f"the reference names the unknown region '{region}'", fix=f"Known: {', '.join(REGIONS)}.")
    return REGIONS.index(region)


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def named_pairs(report: GroundedReport) -> list[tuple[str, str]]:
    """(area of the mask, name written) of each section that has a mask, and ("", name) of each that has a name alone."""
    return [(s.region if s.region in REGIONS else "", s.named) for s in report.sections if s.region in REGIONS or s.named]


def statistics(counts: np.ndarray) -> np.ndarray:
    """(n, 32): share of right names, 1 where the study has regions, then TP, FP and FN of the ten regions."""
    square = counts[:, :, :_R]
    hits = np.einsum("nii->ni", square)
    regions = counts.sum(axis=(1, 2))
    accuracy = ratio(hits.sum(axis=1), regions)
    positives, truths = square.sum(axis=1), counts.sum(axis=2)
    return np.concatenate([accuracy[:, None], (regions > 0)[:, None], hits, positives - hits, truths - hits], axis=1)


def combine(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, and precision, recall and F1 of each region and their macro means, from sums (..., 32)."""
    tp, fp, fn = (sums[..., 2 + i * _R : 2 + (i + 1) * _R] for i in range(3))
    scores = {"precision": ratio(tp, tp + fp), "recall": ratio(tp, tp + fn), "f1": ratio(2 * tp, 2 * tp + fp + fn)}
    found = {"accuracy": ratio(sums[..., 0], sums[..., 1])}
    supported = (tp + fn) > 0
    for score, values in scores.items():
        found[f"macro/{score}"] = ratio((values * supported).sum(axis=-1), supported.sum(axis=-1))
        found |= {f"{region}/{score}": values[..., i] for i, region in enumerate(REGIONS)}
    return found


def block(found: Confusion) -> Block:
    """The recognition block of the bootstrap."""
    return Block(("region_recognition",), Rows(found.rows), combine)


def corrected(samples: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """The definition above, from (id, reference, prediction) texts with prefixes; every row counts.

    Gives mean and population std of the accuracy, TP, FP, FN, precision, recall and F1 by region. Raises UserError where a
    reference names no region or an unknown one.
    """
    pairs = []
    for name, reference, prediction in samples:
        truth, written = slots(reference), slots(prediction)
        if not truth:
            raise UserError("the reference names no region", name)
        pairs.append([(area, written.get(slot, "")) for slot, area in truth.items()])
    rows = confusion(pairs).rows
    sums = rows.sum(axis=0)
    scores = combine(sums)
    counts = {key: sums[2 + i * _R : 2 + (i + 1) * _R] for i, key in enumerate(("TP", "FP", "FN"))}
    return {
        "mean_accuracy": float(rows[:, 0].mean()),
        "std_accuracy": float(rows[:, 0].std()),
        **{key: {r: int(v) for r, v in zip(REGIONS, values, strict=True)} for key, values in counts.items()},
        **{s: {r: float(scores[f"{r}/{s}"]) for r in REGIONS} for s in ("precision", "recall", "f1")},
    }


def summary(found: Confusion, scores: Mapping[str, Any]) -> dict[str, Any]:
    """The part `region_recognition` of an evaluation; `scores` are the block's estimates."""
    support = found.table.sum(axis=1)
    shown = [r for r, n in zip(REGIONS, support, strict=True) if n]
    kinds = ("precision", "recall", "f1")
    result: dict[str, Any] = {
        "accuracy": scores["accuracy"].value,
        "macro": {k: scores[f"macro/{k}"].value for k in kinds},
        "per_region": {
            r: {**{k: scores[f"{r}/{k}"].value for k in kinds}, "support": int(support[REGIONS.index(r)])} for r in shown
        },
        "confusion": {"truth": list(REGIONS), "named": [*REGIONS, NONE], "counts": found.table.astype(int).tolist()},
        "missing": found.missing,
        "unknown": sum(found.unknown.values()),
        "unknown_names": dict(list(found.unknown.items())[:_SHOWN]),
        "repeated": sum(found.repeated.values()),
        "repeated_names": dict(found.repeated),
        "extra": found.extra,
    }
    if scores["accuracy"].interval:
        result["accuracy_interval"] = scores["accuracy"].interval
        result["macro_interval"] = {k: scores[f"macro/{k}"].interval for k in kinds}
        result["per_region_interval"] = {r: {k: scores[f"{r}/{k}"].interval for k in kinds} for r in shown}
    return result
