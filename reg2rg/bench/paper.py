"""The paper's ablation tables as data: published figures, shown beside one's own and never mixed into them."""

from __future__ import annotations

from typing import Any

COLUMNS = ("precision", "recall", "micro_f1", "bleu1", "bleu4", "meteor", "rougeL")
PROTOCOL = "RadGenome-ChestCT, 1,564 studies, RadBERT labels, full size"

# table → row → precision, recall and F1 of findings (micro), BLEU-1, BLEU-4, METEOR, ROUGE-L
TABLES: dict[str, dict[str, tuple[float, ...]]] = {
    "Table IV": {
        "LFD off": (0.349, 0.140, 0.200, 0.4685, 0.2569, 0.4374, 0.3764),
        "LFD on": (0.423, 0.181, 0.253, 0.4725, 0.2487, 0.4407, 0.3665),
    },
    "Table V": {
        "baseline: global": (0.382, 0.131, 0.195, 0.4420, 0.2365, 0.3994, 0.3153),
        "(a) texture": (0.336, 0.089, 0.141, 0.4372, 0.2077, 0.3982, 0.3512),
        "(b) texture, geometry": (0.394, 0.143, 0.210, 0.4531, 0.2335, 0.4179, 0.3720),
        "(c) texture, geometry, global": (0.372, 0.176, 0.239, 0.4621, 0.2353, 0.4294, 0.3701),
        "(d) texture, geometry, global, RRA": (0.423, 0.181, 0.253, 0.4725, 0.2487, 0.4407, 0.3665),
    },
}


def rows(tables: list[str]) -> list[dict[str, Any]]:
    """The rows of the named tables, as they stand in bench.json."""
    return [
        {"table": table, "name": name, "protocol": PROTOCOL, "metrics": dict(zip(COLUMNS, values, strict=True))}
        for table in dict.fromkeys(tables)
        for name, values in TABLES[table].items()
    ]
