"""Region recognition as the official script counts it, kept so that published numbers can be repeated and explained.

It reads one word after "is" (so "trachea and bronchie" is "trachea", and "lung and pleura" counts as "lung"), adds 1e-5 to
every denominator, F1's too, and keeps the accuracy by id, so that a repeated id keeps its last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import REGIONS
from ..errors import UserError

_OFFICIAL = (*REGIONS[:-1], "trachea")
_OFFICIAL_SLOT = re.compile(r"The region (\d+) is (\w+)")
_EPSILON = 1e-5


def as_is(samples: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """The official script's definition, from (id, reference, prediction) texts.

    Gives what `recognition.corrected` gives, and the means without lung and pleura. Raises UserError where the script stops
    with an error: a reference that names no region, or one that it doesn't know.
    """
    counts: dict[str, dict[str, int]] = {key: dict.fromkeys(_OFFICIAL, 0) for key in ("TP", "FP", "FN")}
    accuracy: dict[str, float] = {}
    for name, reference, prediction in samples:
        truth, written = dict(_OFFICIAL_SLOT.findall(reference)), dict(_OFFICIAL_SLOT.findall(prediction))
        if not truth or set(truth.values()) - set(_OFFICIAL):
            raise UserError("the reference names no region, or one that the official script doesn't know", name)
        for slot, area in truth.items():
            word = written.get(slot)
            if word != area and word in counts["FP"]:
                counts["FP"][word] += 1
            counts["TP" if word == area else "FN"][area] += 1
        accuracy[name] = sum(written.get(slot) == area for slot, area in truth.items()) / len(truth)
    values = list(accuracy.values())
    return {
        "mean_accuracy": float(np.mean(values)),
        "std_accuracy": float(np.std(values)),
        **counts,
        **_official_scores(counts),
    }


def _official_scores(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {"precision": {}, "recall": {}, "f1": {}}
    for region in _OFFICIAL:
        tp, fp, fn = (counts[key][region] for key in ("TP", "FP", "FN"))
        precision, recall = tp / (tp + fp + _EPSILON), tp / (tp + fn + _EPSILON)
        scores["precision"][region], scores["recall"][region] = precision, recall
        scores["f1"][region] = 2 * precision * recall / (precision + recall + _EPSILON)
    kept = [r for r in _OFFICIAL if r not in ("lung", "pleura")]
    mean = {s: float(np.mean([values[r] for r in kept])) for s, values in scores.items()}
    return {**scores, "mean_without_lung_pleura": mean}
