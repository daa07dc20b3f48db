"""An evaluation made on the spot for the pages' tests."""

from __future__ import annotations

import math
from typing import Any


def _bump(middle: float) -> list[float]:
    return [math.exp(-0.5 * ((x - middle) / 5) ** 2) / 12.5 for x in range(61)]


EVALUATION: dict[str, Any] = {
    "n": 20,
    "metrics": {
        "bleu4": {"value": 0.41, "low": 0.38, "high": 0.44},
        "rougeL": {"value": 0.5},
        "cider": {"value": 1.5, "low": 1.2, "high": 1.9},
    },
    "floors": {
        "most frequent report": {"micro_f1": {"value": 0.0}, "bleu4": {"value": 0.39, "low": 0.37, "high": 0.41}},
        "this file's reports, shuffled": {"bleu4": {"value": 0.35}},
    },
    "clinical": {
        "micro": {"precision": 0.7, "recall": 0.72, "f1": 0.71},
        "micro_interval": {"f1": [0.68, 0.74]},
        "macro": {"precision": 0.6, "recall": 0.7, "f1": 0.66},
        "per_label": {
            "Emphysema": {"precision": 0.25, "recall": 0.5, "f1": 0.333, "support": 2},
            "Lung nodule": {"precision": 0.5, "recall": 0.4, "f1": 0.444, "support": 8},
        },
        "per_label_interval": {"Lung nodule": {"f1": [0.3, 0.6]}},
        "crg": 0.36,
        "crg_interval": [0.35, 0.37],
        "reference": "rules",
    },
    "per_region": {
        "lung": {"n": 18, "missing": 2, "bleu4": {"value": 0.3}, "clinical": {"micro": {"f1": 0.4}}},
        "trachea and bronchie": {
            "n": 20, "missing": 0, "bleu1": {"value": 0.7}, "bleu4": {"value": 0.6}, "meteor": {"value": 0.6},
            "rougeL": {"value": 0.6},
        },
    },
    "region_recognition": {
        "accuracy": 0.775,
        "accuracy_interval": [0.7, 0.9],
        "per_region": {"lung": {"precision": 0.94, "recall": 0.75, "f1": 0.83, "support": 20}},
        "confusion": {"truth": ["heart", "lung", "pleura"], "named": ["lung", "pleura", "none"],
                      "counts": [[0, 0, 0], [15, 4, 1], [1, 19, 0]]},
        "missing": 1,
        "unknown": 2,
        "repeated": 3,
    },
    "length": {
        "kl": 1.25,
        "kl_interval": [1.1, 1.4],
        "reference": {"mean": 30.0},
        "prediction": {"mean": 20.0},
        "density": {"words": list(range(61)), "reference": _bump(30), "prediction": _bump(20)},
    },
    "distinct_reports": 1,
    "distinct_references": 19,
    "empty_predictions": 0,
    "excluded": {"the id stood before": {"n": 3, "studies": ["a", "b", "c"]}},
    "skipped": {"meteor": "WordNet isn't installed"},
    "notes": ["A note."],
    "warnings": ["Only 1 distinct report was written."],
    "settings": {"metrics": ["bleu"], "ci": 1000, "seed": 0, "labeler": "rules", "reports": "mine.jsonl"},
}  # fmt: skip

COMPARISON: dict[str, Any] = {
    "this": "mine.jsonl",
    "other": "other.jsonl",
    "n": 18,
    "excluded": {"only in this file": {"n": 2, "studies": ["s1", "s2"]}},
    "distinct_reports": {"this": 1, "other": 17},
    "rows": [
        {"metric": "bleu4", "value": 0.41, "other": 0.31, "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.002},
        {"metric": "micro_f1", "value": 0.71, "other": 0.7, "difference": 0.01, "low": -0.2, "high": 0.2, "p": 0.9},
        {"metric": "length_kl", "value": 1.2, "other": 1.8, "difference": -0.6, "low": -0.9, "high": -0.3, "p": 0.002,
         "lower_is_better": True},
    ],
    "per_label": [{"finding": "Emphysema", "value": 0.3, "other": 0.3, "difference": 0.0, "low": -0.1, "high": 0.1, "p": 1.0}],
}  # fmt: skip


def study(name: str, score: float = 0.5) -> dict[str, Any]:
    """One study with a matched, a missed and an invented sentence."""
    return {
        "study": name,
        "score": score,
        "overlap": 0.6,
        "reference": [
            {"text": "A nodule is seen.", "state": "matched", "findings": {"Lung nodule": "matched"}},
            {"text": "The heart is large.", "state": "missed", "findings": {"Cardiomegaly": "missed"}},
        ],
        "report": [
            {"text": "There is a nodule.", "state": "matched", "findings": {"Lung nodule": "matched"}},
            {"text": "There is emphysema.", "state": "invented", "findings": {"Emphysema": "invented"}},
            {"text": "The bones are intact.", "state": "", "findings": {}},
        ],
        "matched": ["Lung nodule"],
        "missed": ["Cardiomegaly"],
        "invented": ["Emphysema"],
    }


EXAMPLES: dict[str, Any] = {
    "measure": "F1 of the study's findings",
    "worst": [study(f"bad {i}", 0.1) for i in range(3)],
    "best": [study(f"good {i}", 0.9) for i in range(3)],
}

PUBLISHED: dict[str, Any] = {
    "Table I": [
        {"name": "Reg2RG", "data": data, "source": "published", "protocol": "Means over test reports.", "metrics": numbers}
        for data, numbers in (("RadGenome-ChestCT", {"bleu4": 0.2487, "meteor": 0.44}), ("CTRG-Chest", {"bleu4": 0.32}))
    ],
    "Table II": [
        {"name": "Reg2RG", "data": "RadGenome-ChestCT", "protocol": "Micro.",
         "metrics": {"precision": 0.42, "recall": 0.18, "f1": 0.25}}
    ],
    "Table III": [
        {"name": region, "data": "RadGenome-ChestCT", "protocol": "Names.",
         "metrics": {"precision": 0.4, "recall": 0.4, "f1": 0.4}}
        for region in ("heart", "lung")
    ],
}  # fmt: skip
