"""The paper's tables as data: published figures, shown beside one's own and never mixed into them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..evaluate.published import CLINICAL, LANGUAGE, LANGUAGE_COLUMNS

COLUMNS = ("precision", "recall", "micro_f1", "bleu1", "bleu4", "meteor", "rougeL")
PROTOCOL = "RadGenome-ChestCT, 1,564 studies, RadBERT labels, full size"
CTRG_PROTOCOL = "CTRG-Chest, 361 studies, full size"

# table → row → precision, recall and F1 of findings (micro), BLEU-1, BLEU-4, METEOR, ROUGE-L
TABLES: dict[str, dict[str, tuple[float, ...]]] = {
    "Table IV": {
        "LFD on": (0.423, 0.181, 0.253, 0.4725, 0.2487, 0.4407, 0.3665),
        "LFD off": (0.349, 0.140, 0.200, 0.4685, 0.2569, 0.4374, 0.3764),
    },
    "Table V": {
        "(d) texture, geometry, global, RRA": (0.423, 0.181, 0.253, 0.4725, 0.2487, 0.4407, 0.3665),
        "(c) texture, geometry, global": (0.372, 0.176, 0.239, 0.4621, 0.2353, 0.4294, 0.3701),
        "(b) texture, geometry": (0.394, 0.143, 0.210, 0.4531, 0.2335, 0.4179, 0.3720),
        "(a) texture": (0.336, 0.089, 0.141, 0.4372, 0.2077, 0.3982, 0.3512),
        "baseline: global": (0.382, 0.131, 0.195, 0.4420, 0.2365, 0.3994, 0.3153),
    },
    "Table VI": {
        "LLaMA2-7B": (0.423, 0.181, 0.253, 0.4725, 0.2487, 0.4407, 0.3665),
        "GPT-2": (0.357, 0.169, 0.229, 0.3547, 0.1472, 0.3576, 0.2518),
    },
}


def rows(tables: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of the named tables, as they stand in bench.json."""
    found = []
    for table in dict.fromkeys(tables):
        if table == "Table I":
            for data, methods in LANGUAGE.items():
                protocol = PROTOCOL if data == "RadGenome-ChestCT" else CTRG_PROTOCOL
                found += [_row(f"Table I, {data}", name, LANGUAGE_COLUMNS, v, protocol) for name, v in methods.items()]
        elif table == "Table II":
            found += [_row(table, name, COLUMNS[:3], values, PROTOCOL) for name, values in CLINICAL.items()]
        else:
            found += [_row(table, name, COLUMNS, values, PROTOCOL) for name, values in TABLES[table].items()]
    return found


def _row(table: str, name: str, columns: Iterable[str], values: Iterable[float], protocol: str) -> dict[str, Any]:
    return {"table": table, "name": name, "protocol": protocol, "metrics": dict(zip(columns, values, strict=True))}
