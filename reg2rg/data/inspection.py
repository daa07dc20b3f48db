"""What quality control keeps in a study's file: facts as JSON (attribute `qc`) and a small picture (dataset `qc_picture`).

Both are optional: a file of an earlier version has neither. Here they are only kept; `preprocess.qc` makes them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """`quality`: JSON-able facts; `picture`: the bytes of a PNG."""

    quality: Mapping[str, Any]
    picture: bytes


def write_inspection(file: Any, inspection: Inspection) -> None:
    """Writes both into an open file, in place of those that are there."""
    file.attrs["qc"] = json.dumps(inspection.quality, sort_keys=True)
    if "qc_picture" in file:
        del file["qc_picture"]
    file.create_dataset("qc_picture", data=np.frombuffer(inspection.picture, dtype=np.uint8))


def read_quality(file: Any) -> Any:
    """The facts in an open file, or None where it holds none."""
    return json.loads(file.attrs["qc"]) if "qc" in file.attrs else None


def read_picture(file: Any) -> bytes:
    """The picture in an open file; empty where it holds none."""
    return file["qc_picture"][()].tobytes() if "qc_picture" in file else b""
