"""JSON files of reports, entry by entry: JSON lines, one list, one object, and the VLM3D challenge's document."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..contracts import GroundedReport
from ..errors import UserError
from .opening import open_text

Entry = tuple[int, Any]  # line or place in the list, from 1
VLM3D = "generated_reports"
_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)


def is_json(path: Path) -> bool:
    """By the ending, else by the first character. Raises UserError where the file can't be read."""
    if path.suffix.lower() in (".json", ".jsonl"):
        return True
    if path.suffix.lower() in (".csv", ".tsv") or not path.is_file():
        return False
    with open_text(path) as file:
        return file.read(64).lstrip()[:1] in ("{", "[")


def entries(path: Path) -> Iterator[Entry]:
    """The file's objects, JSON lines one at a time. Raises UserError where the file is empty or a line isn't JSON."""
    with open_text(path) as file:
        number, first = next(((i, line) for i, line in enumerate(file, start=1) if line.strip()), (0, ""))
        if not first:
            raise UserError("the file is empty", path)
        if first.lstrip()[:1] not in ("{", "["):
            raise UserError(f"line {number} isn't valid JSON ('{first.strip()[:20]}' …)", path, "A CSV ends in .csv.")
        start = _parsed(first)
        if isinstance(start, ValueError | RecursionError):
            start = _parsed(first + file.read())  # one document over several lines
            if isinstance(start, ValueError | RecursionError):
                raise _invalid(start, number, path)
            yield from _spread(start)
        elif isinstance(start, list):
            yield from _spread(start)
            if file.read().strip():
                raise UserError("after the list the file goes on", path, "Give one list, or one object a line.")
        else:
            yield number, start
            for line_number, line in enumerate(file, start=number + 1):
                if line.strip():
                    value = _parsed(line)
                    if isinstance(value, ValueError | RecursionError):
                        raise _invalid(value, line_number, path)
                    yield line_number, value


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # half a character, as some programs leave it, can't be written again: "?" stands for it
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value
    except (ValueError, RecursionError) as error:  # RecursionError: lists in lists in lists
        return error


def _spread(document: Any) -> Iterator[Entry]:
    return enumerate(document, start=1) if isinstance(document, list) else iter([(1, document)])


def _invalid(error: Exception, number: int, path: Path) -> UserError:
    if isinstance(error, json.JSONDecodeError):
        number += error.lineno - 1
        return UserError(f"line {number} isn't valid JSON ({error.msg}, column {error.colno})", path, "Is the file cut short?")
    return UserError(f"line {number} isn't readable JSON ({type(error).__name__})", path)


def is_report(entry: Any) -> bool:
    """Whether the entry is of our own form; others are read by their columns' names, as a CSV is."""
    return not isinstance(entry, Mapping) or ("study" in entry and "report" in entry) or "regions" in entry


def to_report(entry: Any, number: int, path: Path) -> GroundedReport:
    """An entry of our own form; a text that is null or NaN is empty. Raises UserError naming the entry."""
    if not isinstance(entry, Mapping):
        raise UserError(f"entry {number} isn't a JSON object", path)
    try:
        return GroundedReport.from_json({**entry, **_mended(entry)})
    except (UserError, TypeError, ValueError) as error:
        fact = error.what if isinstance(error, UserError) else str(error)
        raise UserError(f"entry {number}: {fact}", path, error.fix if isinstance(error, UserError) else "") from error


def _mended(entry: Mapping[str, Any]) -> dict[str, str]:
    """What tables written by pandas have: NaN and null for no text, whole numbers for ids."""
    mended = {key: "" for key in ("report", "reference") if key in entry and _missing(entry[key])}
    name = entry.get("study")
    return mended | ({"study": str(name)} if isinstance(name, int) and not isinstance(name, bool) else {})


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def vlm3d_texts(document: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Names and texts of a VLM3D document. Raises UserError where a report has no name."""
    rows = document[VLM3D]
    if not isinstance(rows, list):
        raise UserError(f"'{VLM3D}' isn't a list", path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) or not isinstance(row.get("input_image_name"), str):
            raise UserError(f"report {number} of '{VLM3D}' has no 'input_image_name'", path)
        yield row["input_image_name"], row.get("report")
