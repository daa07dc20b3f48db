"""Finding labels as CSV (an id column and the 18 CT-RATE columns, 0/1), read and written; and the labelers' side of it."""

from __future__ import annotations

import contextlib
import contextvars
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..anatomy import FINDINGS
from ..errors import UserError, suggest
from ..files import write_text
from ..plugins import resolve
from ..progress import Progress, silent
from .choice import Choice, Named
from .rows import cell, find_id_column, read_rows, study_key
from .shelf import Reports, parts, texts_alone

Labels = dict[str, dict[str, int]]


class _Memory:
    """What a labeler has read, 12 bytes a text: a text's 64-bit digest → its labels as bits.

    Among a million texts two share a digest with a chance of one in 40 million.
    """

    def __init__(self) -> None:
        self._digests, self._bits = np.zeros(0, np.uint64), np.zeros(0, np.uint32)

    def look_up(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which digests are known, and the labels of those (others: none)."""
        if not self._digests.size:
            return np.zeros(len(digests), bool), np.zeros(len(digests), np.uint32)
        at = np.minimum(np.searchsorted(self._digests, digests), self._digests.size - 1)
        found = self._digests[at] == digests
        return found, np.where(found, self._bits[at], np.uint32(0))

    def add(self, digests: np.ndarray, labels: np.ndarray) -> None:
        """New digests, each once, with labels (n, 18)."""
        bits = labels.astype(np.uint32) @ _WEIGHTS
        every = np.concatenate([self._digests, digests])
        order = np.argsort(every, kind="stable")
        self._digests, self._bits = every[order], np.concatenate([self._bits, bits])[order]


_WEIGHTS = np.uint32(1) << np.arange(len(FINDINGS), dtype=np.uint32)

# what each labeler has read within `remembering`
_memory: contextvars.ContextVar[dict[str, _Memory] | None] = contextvars.ContextVar("_memory", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Within it no labeler reads a text twice: scores, floors, comparisons and examples are of the same texts."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def digests(texts: Iterable[str]) -> np.ndarray:
    """A 64-bit number for each text: uint64 (n,)."""
    parts = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(parts), dtype=np.uint64)


def distinct(texts: Iterable[str]) -> int:
    """How many different texts there are."""
    return len(np.unique(digests(texts)))


def label_texts(texts: Sequence[str], labeler: Named, progress: Progress = silent) -> np.ndarray:
    """uint8 (n, 18): the labels of each text by the plugin `labeler`; raises UserError where it breaks its contract."""
    return _Judge(Choice.of(labeler), progress).read(texts)


def label_reports(
    reports: Reports, labeler: Named, progress: Progress = silent, sides: Sequence[str] = ("report", "reference")
) -> list[np.ndarray]:
    """The labels of each side's texts, uint8 (n, 18) a side, with few texts in memory at once."""
    n, reports = len(reports), texts_alone(reports)
    judge = _Judge(Choice.of(labeler), progress, n * len(sides))
    found = [np.zeros((n, len(FINDINGS)), dtype=np.uint8) for _ in sides]
    for part in parts(n):
        some = reports[part]
        for labels, side in zip(found, sides, strict=True):
            labels[part] = judge.read([getattr(r, side) for r in some])
    return found


class _Judge:
    """A labeler that is made once, at its first text, and reads what isn't remembered; `total`: texts that it will be given."""

    def __init__(self, choice: Choice, progress: Progress, total: int = 0) -> None:
        self._choice, self._progress, self._total, self._before = choice, progress, total, 0
        memory = _memory.get()
        key = f"{choice.name} {sorted(choice.options.items())!r}"
        self._memory = None if memory is None else memory.setdefault(key, _Memory())
        self._plugin: Any = None

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """uint8 (n, 18)."""
        if not texts:
            return np.zeros((0, len(FINDINGS)), dtype=np.uint8)
        found = self._labelled(texts) if self._memory is None else self._remembered(texts, self._memory)
        self._before += len(texts)
        return found

    def _remembered(self, texts: Sequence[str], memory: _Memory) -> np.ndarray:
        names = digests(texts)
        new, first = np.unique(names, return_index=True)
        unknown = ~memory.look_up(new)[0]
        if unknown.any():
            order = np.sort(first[unknown])  # as they came
            memory.add(names[order], self._labelled([texts[i] for i in order]))
        bits = memory.look_up(names)[1]
        return (bits[:, None] >> np.arange(len(FINDINGS), dtype=np.uint32) & 1).astype(np.uint8)

    def _labelled(self, texts: Sequence[str]) -> np.ndarray:
        if self._plugin is None:
            self._plugin = resolve("labeler", self._choice.name, self._choice.options, progress=self._shifted)
        found = np.asarray(self._plugin.label(list(texts)))
        if found.shape != (len(texts), len(FINDINGS)):
            raise UserError(
                f"labeler '{self._choice.name}' gave an array of {found.shape} for {len(texts)} texts",
                fix="It must be (n, 18).",
            )
        return found.astype(np.uint8)

    def _shifted(self, name: str, done: int, total: int, note: str = "") -> None:
        """The labeler's progress on one part, as that on all texts."""
        self._progress(name, self._before + done, max(self._total, self._before + total), note)


def read_labels(path: Path, id_column: str | None = None) -> Labels:
    """Study (without file ending) → finding → 0/1. Raises UserError for missing columns, other values and repeated ids."""
    columns, rows = read_rows(path)
    lower = {c.lower(): c for c in columns}
    if missing := [f for f in FINDINGS if f.lower() not in lower]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"the finding column '{missing[0]}'{more} is missing", path, suggest(missing[0], columns))
    key = find_id_column(columns, id_column, path)
    if key is None:
        raise UserError("no column with the study ids was found", path, "Name it with --id-column COLUMN.")
    labels: Labels = {}
    for number, row in enumerate(rows, start=2):
        name = study_key(cell(row.get(key)))
        if not name:
            raise UserError(f"row {number} has no id in column '{key}'", path)
        values = {f: _bit(row.get(lower[f.lower()]), f, number, path) for f in FINDINGS}
        if labels.setdefault(name, values) != values:
            raise UserError(f"row {number} labels '{name}' again, and otherwise", path, "Keep one row a study.")
    if not labels:
        raise UserError("the file has a header but no row", path)
    return labels


def _bit(value: str | None, finding: str, number: int, path: Path) -> int:
    try:
        bit = float(cell(value))
    except ValueError:
        bit = -1.0
    if bit not in (0.0, 1.0):
        raise UserError(f"row {number}, column '{finding}' holds {value!r}, not 0 or 1", path)
    return int(bit)


def write_labels(path: Path, ids: Sequence[str], labels: np.ndarray, id_column: str = "VolumeName") -> None:
    """Writes ids and 0/1 labels (n, 18) as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([id_column, *FINDINGS])
    writer.writerows([name, *map(int, row)] for name, row in zip(ids, labels, strict=True))
    write_text(path, text.getvalue())


def matched(ids: Sequence[str], labels: Mapping[str, Mapping[str, int]]) -> list[Mapping[str, int] | None]:
    """The labels of each id, file endings ignored on both sides; None where there are none."""
    by_key = {study_key(name): row for name, row in labels.items()}
    return [by_key.get(study_key(name)) for name in ids]
