"""CSV files as people have them: BOM, other delimiters, odd headers; and a clear sentence where they can't be read."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ..errors import UserError, suggest
from .opening import open_text

Row = dict[str, str]
Refused = Callable[[str, int], None]  # why, and in which line of the file
_EMPTY = {"", "nan", "none", "null", "n/a", "<na>"}
_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".zip", ".h5")
ID_COLUMNS = ("study", "AccNum", "Volumename", "VolumeName", "AccessionNo", "input_image_name", "id", "ID", "name")
TOO_MANY, TOO_FEW = "the row has more cells than the header", "the row is cut short"
_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"?')
_SEPARATOR = re.compile(r"sep=(.)\s*$", re.IGNORECASE)


def cell(value: Any) -> str:
    """A cell's text, "" where it is missing or says so (NaN)."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _EMPTY else text


def study_key(name: str) -> str:
    """A study's id without the ending of an image file: what ids of different files are matched by."""
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def read_rows(path: Path, refused: Refused | None = None) -> tuple[list[str], Iterator[Row]]:
    """Column names and rows of a CSV with a header, read bit by bit; a comma, semicolon, tab or bar separates cells.

    `refused` is told of each row that doesn't fit the header, and the row is left out; without it such a row raises
    UserError, as an unreadable file, an empty one, a name that stands twice and a quote without its partner do. A row that
    ends early lacks its last columns' keys.
    """
    lines = _Lines(path)
    columns = next(lines.records, [])
    if not any(c.strip() for c in columns):
        raise UserError("the file is empty", path)
    columns = [c.strip() for c in columns]
    if twice := sorted({c for c in columns if c and columns.count(c) > 1}):
        raise UserError(f"the column '{_short(twice[0])}' stands twice", path, "Rename one of them.")

    def refuse(why: str, line: int) -> None:
        raise UserError(f"line {line}: {why}", path, "Put texts that hold the separator into quotes.")

    def rows() -> Iterator[Row]:
        for values in lines.records:
            if any(v.strip() for v in values[len(columns) :]):
                (refused or refuse)(TOO_MANY, lines.number)
            elif values:
                yield dict(zip(columns, values, strict=False))

    return columns, rows()


class _Lines:
    """The records of a CSV, and the line at which the last one ends."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.records = self._read()

    def _read(self) -> Iterator[list[str]]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        with open_text(self.path) as file:
            first, skipped = self._first(file)
            delimiter = ","
            if chosen := _SEPARATOR.match(first):  # Excel's own way to name it
                delimiter, first, skipped = chosen[1], file.readline(), skipped + 1
            else:
                bare = _QUOTED.sub("", first)
                delimiter = max(_DELIMITERS, key=bare.count)  # the first of them where none stands in the header
            # strict: without it, a quote that is never closed would swallow the rest of the file in silence
            reader = csv.reader(itertools.chain([first], file), delimiter=delimiter, skipinitialspace=True, strict=True)
            try:
                for record in reader:
                    self.number = skipped + reader.line_num
                    yield record
            except csv.Error as error:
                raise _unreadable(error, skipped + reader.line_num, self.number + 1, self.path) from error

    @staticmethod
    def _first(file: TextIO) -> tuple[str, int]:
        """The first line that isn't blank, and how many stand before it."""
        for skipped, line in enumerate(file):
            if line.strip():
                return line, skipped
        return "", 0


def _unreadable(error: csv.Error, line: int, start: int, path: Path) -> UserError:
    if "unexpected end of data" in str(error):
        return UserError(f"the quote that opens in the row at line {start} is never closed", path, "Is the file cut short?")
    fix = "A quote inside a quoted text must be doubled." if "expected after" in str(error) else ""
    return UserError(f"line {line} isn't readable CSV ({error})", path, fix)


def find_column(columns: Sequence[str], wanted: str | None, known: Sequence[str], meaning: str, option: str, path: Path) -> str:
    """The column that `option` names, else the first of `known` that the file has. Raises UserError with the near names."""
    if wanted:
        if wanted in columns:
            return wanted
        raise UserError(f"there is no column '{wanted}' ({meaning})", path, suggest(wanted, map(_short, columns)))
    lower = {c.lower(): c for c in columns}
    for name in known:
        if name.lower() in lower:
            return lower[name.lower()]
    shown = ", ".join(f"'{_short(c)}'" for c in columns[:12]) or "none"
    raise UserError(f"no column with the {meaning} was found among {shown}", path, f"Name it with {option} COLUMN.")


def _short(name: str) -> str:
    """A name for a message: a file without a header has whole reports for names."""
    name = " ".join(name.split())
    return name if len(name) <= 40 else f"{name[:39]}…"


def find_id_column(columns: Sequence[str], wanted: str | None, path: Path) -> str | None:
    """The column of study ids, or None where no name fits."""
    try:
        return find_column(columns, wanted, ID_COLUMNS, "study ids", "--id-column", path)
    except UserError:
        if wanted:
            raise
        return None
