"""Tables that say which label of a label map is which region or TotalSegmentator class: YAML, JSON or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reg2rg.anatomy import REGIONS, region_name
from reg2rg.errors import UserError, suggest

from ._maskfile import LARGEST
from ._total_classes import is_class

_FIX = "Write one line a label, such as `1: lung` (YAML) or `1,lung` (CSV)."


def read_names(path: Path) -> dict[int, str]:
    """label → region or class. Several labels may be one region; `lung: [1, 2]` is read as well as `1: lung`.

    Raises UserError where the file can't be read, a label isn't a whole number above 0, or a name is unknown.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the table of label names can't be read", path, "Check the path.") from error
    rows = _csv_rows(text) if path.suffix.lower() in (".csv", ".tsv") else _mapping_rows(text, path)
    table: dict[int, str] = {}
    for key, value in rows:
        label, name = _pair(key, value, path)
        if table.get(label, name) != name:
            raise UserError(f"label {label} is both '{table[label]}' and '{name}'", path, "Give each label one region.")
        table[label] = name
    if not table:
        raise UserError("the table names no label", path, _FIX)
    return table


def _csv_rows(text: str) -> Iterable[tuple[Any, Any]]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = [r for r in csv.reader(text.splitlines(), delimiter=delimiter) if any(cell.strip() for cell in r)]
    if rows and not any(cell.strip().isdigit() for cell in rows[0]):
        rows = rows[1:]  # the head
    return [(r[0], r[1] if len(r) > 1 else "") for r in rows]


def _mapping_rows(text: str, path: Path) -> Iterable[tuple[Any, Any]]:
    import yaml

    try:
        data = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise UserError("the table of label names can't be parsed", path, _FIX) from error
    if not isinstance(data, dict):
        raise UserError("the table of label names isn't a mapping", path, _FIX)
    return [(key, one) for key, value in data.items() for one in (value if isinstance(value, list) else [value])]


def _pair(key: Any, value: Any, path: Path) -> tuple[int, str]:
    """(label, name) of a row in either order; a name of both kinds is the region's."""
    label, given = (key, value) if _is_label(key) else (value, key)
    if not _is_label(label):
        raise UserError(f"'{key}: {value}' holds no label (a whole number above 0)", path, _FIX)
    number, name = int(str(label).strip()), str(given).strip()
    if number > LARGEST:
        raise UserError(f"label {number} is too large", path, f"Number labels up to {LARGEST}.")
    region = region_name(name)
    if region is None and not is_class(name):
        raise UserError(f"label {number} has the unknown region '{name}'", path, suggest(name, REGIONS))
    return number, region or name


def _is_label(value: Any) -> bool:
    return not isinstance(value, bool) and str(value).strip().isdigit() and int(str(value).strip()) > 0
