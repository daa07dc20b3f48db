"""Finding labels as CSV (an id column and the 18 CT-RATE columns, 0/1), read and written; and the labelers' side of it."""

from __future__ import annotations

import contextlib
import contextvars
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..anatomy import FINDINGS
from ..errors import UserError, suggest
from ..files import write_text
from ..plugins import resolve
from ..progress import Progress, silent
from .choice import Choice, Named
from .rows import cell, find_id_column, read_rows, study_key

Labels = dict[str, dict[str, int]]


# what each labeler has read within `remembering`: labeler → text → labels (18,)
_memory: contextvars.ContextVar[dict[str, dict[str, np.ndarray]] | None] = contextvars.ContextVar("_memory", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Within it no labeler reads a text twice: scores, floors, comparisons and examples are of the same texts."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def label_texts(texts: Sequence[str], labeler: Named, progress: Progress = silent) -> np.ndarray:
    """uint8 (n, 18): the labels of each text by the plugin `labeler`; raises UserError where it breaks its contract."""
    choice, memory = Choice.of(labeler), _memory.get()
    if memory is None:
        return _labelled(texts, choice, progress)
    known = memory.setdefault(f"{choice.name} {sorted(choice.options.items())!r}", {})
    new = [text for text in dict.fromkeys(texts) if text not in known]
    known.update(zip(new, _labelled(new, choice, progress), strict=True))
    return np.stack([known[text] for text in texts]) if texts else np.zeros((0, len(FINDINGS)), dtype=np.uint8)


def _labelled(texts: Sequence[str], choice: Choice, progress: Progress) -> np.ndarray:
    if not texts:
        return np.zeros((0, len(FINDINGS)), dtype=np.uint8)
    found = np.asarray(resolve("labeler", choice.name, choice.options, progress=progress).label(list(texts)))
    if found.shape != (len(texts), len(FINDINGS)):
        raise UserError(
            f"labeler '{choice.name}' gave an array of {found.shape} for {len(texts)} texts", fix="It must be (n, 18)."
        )
    return found.astype(np.uint8)


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
