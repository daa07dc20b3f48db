"""The paper's Tables I–III as data, to stand beside one's own numbers: published figures, never recomputed here.

Values are in 0–1. Tables I and III are means over reports, Table II micro averages of a RadBERT classifier on both texts.
"""

from __future__ import annotations

from typing import Any

SOURCE = "Reg2RG paper"

PROTOCOL = {
    "Table I": "Means over test reports of sentence scores (mteval-13a words, one added to every order), prefixes removed; "
    "RadGenome-ChestCT 1,564 studies, CTRG-Chest 361.",
    "Table II": "Micro averages of 18 findings by a RadBERT classifier on both texts; RadGenome-ChestCT, 1,564 studies.",
    "Table III": "The area named for each region token, regions in a fixed order; RadGenome-ChestCT, 1,564 studies. "
    "Accuracy 0.8742.",
}

LANGUAGE_COLUMNS = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rougeL")
# Table I: data set → method → BLEU-1..4, METEOR, ROUGE-L
LANGUAGE: dict[str, dict[str, tuple[float, ...]]] = {
    "RadGenome-ChestCT": {
        "R2GenGPT": (0.4328, 0.3411, 0.2816, 0.2416, 0.3985, 0.3226),
        "MedVInT": (0.4428, 0.3491, 0.2875, 0.2460, 0.4039, 0.3258),
        "RadFM": (0.4420, 0.3449, 0.2806, 0.2365, 0.3994, 0.3153),
        "CT2Rep": (0.4442, 0.3443, 0.2794, 0.2356, 0.4016, 0.3099),
        "M3D": (0.4357, 0.3448, 0.2854, 0.2449, 0.3995, 0.3261),
        "Reg2RG": (0.4725, 0.3649, 0.2957, 0.2487, 0.4407, 0.3665),
    },
    "CTRG-Chest": {
        "R2GenGPT": (0.4182, 0.3637, 0.3270, 0.3010, 0.4705, 0.5093),
        "MedVInT": (0.4738, 0.3984, 0.3428, 0.3068, 0.4932, 0.4953),
        "RadFM": (0.4866, 0.4028, 0.3473, 0.3089, 0.4918, 0.4908),
        "CT2Rep": (0.4228, 0.3616, 0.3208, 0.2919, 0.4700, 0.5017),
        "M3D": (0.4627, 0.3902, 0.3423, 0.3086, 0.4926, 0.5024),
        "Reg2RG": (0.4963, 0.4143, 0.3591, 0.3204, 0.4971, 0.4776),
    },
}

# Table II: method → micro precision, recall, F1 of the eighteen findings on RadGenome-ChestCT
CLINICAL: dict[str, tuple[float, float, float]] = {
    "R2GenGPT": (0.340, 0.066, 0.110),
    "MedVInT": (0.377, 0.148, 0.212),
    "RadFM": (0.382, 0.131, 0.195),
    "CT2Rep": (0.317, 0.089, 0.139),
    "M3D": (0.407, 0.090, 0.148),
    "Reg2RG": (0.423, 0.181, 0.253),
}

# Table III: region → precision, recall, F1 of Reg2RG's region recognition on RadGenome-ChestCT
RECOGNITION: dict[str, tuple[float, float, float]] = {
    "abdomen": (0.997, 0.996, 0.997),
    "bone": (0.996, 0.998, 0.997),
    "breast": (0.945, 0.983, 0.964),
    "esophagus": (0.997, 0.999, 0.998),
    "heart": (0.995, 0.996, 0.996),
    "lung": (0.443, 0.443, 0.443),
    "mediastinum": (0.991, 0.997, 0.994),
    "pleura": (0.442, 0.441, 0.442),
    "thyroid": (0.991, 0.931, 0.960),
    "trachea and bronchie": (0.986, 0.990, 0.988),
}
RECOGNITION_ACCURACY = 0.8742


def rows() -> dict[str, list[dict[str, Any]]]:
    """Table → rows with "name", "data" (set), "source", "protocol" and "metrics": plain data for pages."""
    language = [
        _row("Table I", method, data, dict(zip(LANGUAGE_COLUMNS, values, strict=True)))
        for data, methods in LANGUAGE.items()
        for method, values in methods.items()
    ]
    kinds = ("precision", "recall", "f1")
    return {
        "Table I": language,
        "Table II": [_row("Table II", m, _GENOME, dict(zip(kinds, v, strict=True))) for m, v in CLINICAL.items()],
        "Table III": [_row("Table III", r, _GENOME, dict(zip(kinds, v, strict=True))) for r, v in RECOGNITION.items()],
    }


_GENOME = "RadGenome-ChestCT"


def _row(table: str, name: str, data: str, metrics: dict[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "data": data,
        "source": f"published: {SOURCE}, {table}",
        "protocol": PROTOCOL[table],
        "metrics": metrics,
    }
