"""Evaluation: reports against references → numbers with intervals.

`read_reports` takes any reports file; `evaluate` scores it; `floors` scores what knows nothing of the scans.
"""

from .choice import Choice
from .evaluation import DEFAULT, PARTS, evaluate
from .floors import floors
from .labels import label_texts, read_labels, write_labels
from .reading import ReportsFile, read_reports
from .training import read_train

__all__ = [
    "DEFAULT",
    "PARTS",
    "Choice",
    "ReportsFile",
    "evaluate",
    "floors",
    "label_texts",
    "read_labels",
    "read_reports",
    "read_train",
    "write_labels",
]
