"""Metrics whose packages can't live beside ours: they are asked in another Python, which holds them and older libraries.

In: pairs of texts. Out: the package's numbers for each pair, which here become sums over studies. The other Python is started
once and kept; it is told to stay offline, so that weights come from folders only. See docs/metrics.md, "Extras".
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from reg2rg.contracts import GroundedReport
from reg2rg.errors import UserError

VARIABLE = "REG2RG_METRICS_PYTHON"  # the Python that has the metrics' packages
CHUNK = 32  # pairs in one request
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
        self._ask = _worker(given, self.tool, json.dumps(settings, sort_keys=True), self.how())

    @classmethod
    def how(cls) -> str:
        """How the other Python is made and named."""
        make = f"python -m venv metrics && metrics/bin/pip install {cls.packages}"
        return f"Make it: {make}; and name it: {VARIABLE}=metrics/bin/python, or --metric-options {cls.tool}.python=FILE."

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        """float64 (n, k + 1). Raises UserError where the other Python fails."""
        pairs = [(r.report.strip(), r.reference.strip()) for r in reports]
        asked = list(dict.fromkeys(pair for pair in pairs if all(pair)))  # a pair that recurs is asked once
        known: dict[tuple[str, str], list[float]] = {}
        for start in range(0, len(asked), CHUNK):
            self._tell(start, len(asked))
            chunk = asked[start : start + CHUNK]
            known |= dict(zip(chunk, self._ask.scores(chunk, len(self.names)), strict=True))
        self._tell(len(asked), len(asked))
        nothing = [0.0] * len(self.names)
        return np.array([[*known.get(pair, nothing), 1.0] for pair in pairs], dtype=np.float64).reshape(-1, len(self.names) + 1)

    def combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The means from sums (..., k + 1)."""
        return {name: sums[..., i] / np.maximum(sums[..., -1], 1.0) for i, name in enumerate(self.names)}

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.tool, done, total)


class Worker:
    """A running worker.py. Raises UserError where it can't be started or says why it failed."""

    def __init__(self, python: str, tool: str, settings: str, how: str) -> None:
        self.python, self.tool, self.how = python, tool, how
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        script = Path(__file__).with_name("worker.py").read_text(encoding="utf-8")
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        try:
            self._process = subprocess.Popen(
                [str(Path(python).expanduser()), "-c", script, tool, settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env={**os.environ, **offline},
            )
        except OSError as error:
            raise UserError(f"the metric '{tool}' can't start its Python ({error.strerror})", python, how) from error
        weakref.finalize(self, _stop, self._process)
        self._read()

    def scores(self, pairs: Sequence[tuple[str, str]], width: int) -> list[list[float]]:
        """`width` numbers for each pair (report, reference)."""
        assert self._process.stdin is not None
        try:
            reports, references = zip(*pairs, strict=True)
            self._process.stdin.write(json.dumps({"reports": reports, "references": references}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed("it ended") from error
        rows = self._read()
        if np.shape(rows) != (len(pairs), width) or not np.isfinite(rows).all():
            raise self._failed(
                f"it gave numbers of shape {np.shape(rows)}, or some that aren't finite, for {len(pairs)} reports"
            )
        return rows

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._failed(self._last_words()) from error
        if isinstance(answer, dict) and "error" in answer:
            raise self._failed(answer["error"])
        return answer

    def _failed(self, reason: str) -> UserError:
        _worker.cache_clear()  # the next metric starts another one
        return UserError(f"the metric '{self.tool}' failed in its Python ({reason.rstrip('.')})", self.python, self.how)

    def _last_words(self) -> str:
        """The last line that the process wrote before it ended."""
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else f"it ended with code {self._process.returncode}"


@functools.lru_cache(maxsize=4)
def _worker(python: str, tool: str, settings: str, how: str) -> Worker:
    return Worker(python, tool, settings, how)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a worker: it stops by itself when there is nothing more to read, and is made to where it doesn't."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def folder(given: str | None, option: str, files: Sequence[str], what: str) -> str:
    """The absolute path of a folder with `files`. Raises UserError that says which are missing and what belongs there."""
    if not given:
        raise UserError(f"the option '{option}' is missing", fix=f"{what} Say: --metric-options {option}=FOLDER")
    path = Path(given).expanduser().resolve()
    if absent := [name for name in files if not (path / name).exists()]:
        raise UserError(f"the folder lacks {' and '.join(absent)}", path, what)
    return str(path)
