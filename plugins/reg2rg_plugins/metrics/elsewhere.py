"""Metrics whose packages can't live beside ours: they are asked in another Python, which holds them and older libraries.

In: pairs of texts. Out: the package's numbers for each pair, which here become sums over studies. The other Python is started
once and kept; it is told to stay offline, so that weights come from folders only. See docs/metrics.md, "Extras".
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from reg2rg.contracts import GroundedReport
from reg2rg.errors import UserError

from ..elsewhere import OtherPython, other_python

VARIABLE = "REG2RG_METRICS_PYTHON"  # the Python that has the metrics' packages
CHUNK = 32  # pairs in one request
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
Progress = Callable[..., None]


class Elsewhere:
    """A metric that another Python computes: the mean over reports of each of `names`. An empty report scores 0.

    `tool`: its name in worker.py; `packages`: what to install there. Statistics of a report: its numbers, and 1.
    """

    names: tuple[str, ...]
    tool: ClassVar[str]
    packages: ClassVar[str]

    def __init__(self, python: str | None, settings: Mapping[str, Any], progress: Progress | None = None) -> None:
        given = python or os.environ.get(VARIABLE)
        if not given:
            raise UserError(f"the metric '{self.tool}' needs a Python of its own, and none is named", fix=self.how())
        self.progress = progress
        script, arguments = Path(__file__).with_name("worker.py"), (self.tool, json.dumps(settings, sort_keys=True))
        self._ask = other_python(f"the metric '{self.tool}'", given, script, arguments, self.how(), OFFLINE)

    @classmethod
    def how(cls) -> str:
        """How the other Python is made and named."""
        make = f"python -m venv metrics && metrics/bin/pip install {cls.packages}"
        return f"Make it: {make}; and name it: {VARIABLE}=metrics/bin/python, or --metric-options {cls.tool}.python=FILE."

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, k + 1). Raises UserError where the other Python fails."""
        # a pair that recurs is asked once; only the pairs of one request are in memory
        names = np.array([_digest(*_texts(r)) for r in reports], dtype="S32")
        known, first, place = np.unique(names, return_index=True, return_inverse=True)
        asked = np.sort(first[known != _EMPTY]).tolist()
        numbers = np.zeros((len(known), len(self.names)))
        for start in range(0, len(asked), CHUNK):
            self._tell(start, len(asked))
            chunk = asked[start : start + CHUNK]
            numbers[place[chunk]] = _scores(self._ask, [_texts(reports[i]) for i in chunk], len(self.names))
        self._tell(len(asked), len(asked))
        return np.concatenate([numbers[place], np.ones((len(reports), 1))], axis=1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The means from sums (..., k + 1)."""
        return {name: sums[..., i] / np.maximum(sums[..., -1], 1.0) for i, name in enumerate(self.names)}

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.tool, done, total)


def _texts(report: GroundedReport) -> tuple[str, str]:
    return report.report.strip(), report.reference.strip()


def _digest(report: str, reference: str) -> bytes:
    """What names a pair of texts; `_EMPTY` where one of them is."""
    whole = f"{len(report)} {report}{reference}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).hexdigest().encode() if report and reference else _EMPTY


_EMPTY = b""


def _scores(worker: OtherPython, pairs: Sequence[tuple[str, str]], width: int) -> list[list[float]]:
    """`width` numbers for each pair (report, reference)."""
    reports, references = zip(*pairs, strict=True)
    rows: list[list[float]] = worker.ask({"reports": reports, "references": references})
    if np.shape(rows) != (len(pairs), width) or not np.isfinite(rows).all():
        raise worker.failed(f"it gave numbers of shape {np.shape(rows)}, or some that aren't finite, for {len(pairs)} reports")
    return rows


def folder(given: str | None, option: str, files: Sequence[str], what: str) -> str:
    """The absolute path of a folder with `files`. Raises UserError that says which are missing and what belongs there."""
    if not given:
        raise UserError(f"the option '{option}' is missing", fix=f"{what} Say: --metric-options {option}=FOLDER")
    path = Path(given).expanduser().resolve()
    if absent := [name for name in files if not (path / name).exists()]:
        raise UserError(f"the folder lacks {' and '.join(absent)}", path, what)
    return str(path)
