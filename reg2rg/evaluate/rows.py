"""CSV files as people have them: BOM, other delimiters, odd headers; and a clear sentence where they can't be read."""

from __future__ import annotations

import csv
import difflib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UserError, suggest

Row = dict[str, str]
_EMPTY = {"", "nan", "none", "null", "n/a", "<na>"}
_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".zip", ".h5")
ID_COLUMNS = ("study", "AccNum", "Volumename", "VolumeName", "AccessionNo", "input_image_name", "id", "ID", "name")


def cell(value: str | None) -> str:
    """A cell's text, "" where it is missing or says so (NaN)."""
    text = (value or "").strip()
    return "" if text.lower() in _EMPTY else text


def study_key(name: str) -> str:
    """A study's id without the ending of an image file: what ids of different files are matched by."""
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def read_text(path: Path) -> str:
    """The file's text. Raises UserError where there is none, or it isn't UTF-8."""
    if not path.exists():
        raise UserError("there is no such file", path, _near(path))
    if path.is_dir():
        raise UserError("this is a folder, not a file", path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the text isn't UTF-8 (byte {error.object[error.start]:#04x} at position {error.start})",
            path,
            "Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
        ) from error
    if not text.strip():
        raise UserError("the file is empty", path)
    return text


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.6)
    return "Did you mean " + " or ".join(f"'{name}'" for name in near) + "?" if near else ""


def read_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Column names and rows of a CSV with a header; the delimiter is the comma, or else a semicolon or tab in the header."""
    text = read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = max(";\t", key=header.count) if "," not in header and set(header) & {";", "\t"} else ","
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [c.strip() for c in reader.fieldnames or ()]
    except csv.Error as error:
        raise UserError(f"this isn't a readable CSV ({error})", path) from error
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise UserError(f"the column '{twice[0]}' stands twice", path, "Rename one of them.")
    reader.fieldnames = columns

    def rows() -> Iterator[Row]:
        try:
            yield from reader
        except csv.Error as error:
            raise UserError(f"line {reader.line_num} isn't readable CSV ({error})", path) from error

    return columns, rows()


def find_column(columns: Sequence[str], wanted: str | None, known: Sequence[str], meaning: str, option: str, path: Path) -> str:
    """The column that `option` names, else the first of `known` that the file has. Raises UserError with the near names."""
    if wanted:
        if wanted in columns:
            return wanted
        raise UserError(f"there is no column '{wanted}' ({meaning})", path, suggest(wanted, columns))
    lower = {c.lower(): c for c in columns}
    for name in known:
        if name.lower() in lower:
            return lower[name.lower()]
    shown = ", ".join(f"'{c}'" for c in columns[:12]) or "none"
    raise UserError(f"no column with the {meaning} was found among {shown}", path, f"Name it with {option} COLUMN.")


def find_id_column(columns: Sequence[str], wanted: str | None, path: Path) -> str | None:
    """The column of study ids, or None where no name fits."""
    try:
        return find_column(columns, wanted, ID_COLUMNS, "study ids", "--id-column", path)
    except UserError:
        if wanted:
            raise
        return None
