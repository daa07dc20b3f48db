"""The CSV and JSON tables beside a data set: region sentences, whole reports, labels, splits.

In: a file. Out: plain dictionaries by study id (a volume's name without its ending). A table without the needed columns is
refused naming the columns found, those wanted, and near names.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..anatomy import FINDINGS, region_name
from ..ct import bare_name
from ..errors import UserError, suggest

SPLITS = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
# Column names under which tables in the wild keep a study's id and its whole report.
ID_COLUMNS = ("Volumename", "AccNum", "AccessionNo", "study", "id", "image_id", "image", "name", "filename")
REPORT_COLUMNS = ("report", "finding", "findings", "Findings_EN", "report_text", "caption", "text")
# What CT-RATE writes where a report has no such part.
NO_TEXT = ("not given",)

Rows = list[dict[str, str]]


def read_table(path: Path, only: Iterable[str] = ()) -> Rows:
    """The rows of a CSV file, or of a JSON list of objects (or an object of such lists, whose names become `split`).

    `only` keeps these columns of a wide CSV file, so that a large one needs little memory.
    """
    if not path.is_file():
        raise UserError("no such table", path, "Check the path.")
    csv.field_size_limit(1 << 27)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(json.loads(text)) if path.suffix.lower() == ".json" else _csv_rows(text, {_plain(c) for c in only})
    except UnicodeDecodeError as error:
        raise UserError("the table isn't UTF-8 text", path, "Save it as CSV in UTF-8.") from error
    except (csv.Error, ValueError) as error:
        raise UserError(f"the table can't be read ({error})", path, "Save it as CSV with a header line.") from error
    if not rows:
        raise UserError("the table has no rows", path, "Its first line names the columns, each other line is a row.")
    return rows


def _csv_rows(text: str, only: Container[str]) -> Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    kept = [k for k in reader.fieldnames or () if not only or _plain(k) in only]
    return [{k.strip(): row[k] or "" for k in kept} for row in reader]


def _json_rows(data: Any) -> Rows:
    if isinstance(data, dict):
        parts = [(name, rows) for name, rows in data.items() if isinstance(rows, list)]
        return [{"split": str(name), **row} for name, rows in parts for row in _json_rows(rows)]
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError("not a list of objects")
    return [{str(k): "" if v is None else str(v) for k, v in row.items()} for row in data]


def column(rows: Rows, names: Iterable[str]) -> str | None:
    """The table's own spelling of the first of `names` that it has; case, blanks and underscores are free."""
    found = {_plain(name): name for name in reversed(list(rows[0]))}
    return next((found[_plain(name)] for name in names if _plain(name) in found), None)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def columns(rows: Rows, wanted: Iterable[str], path: Path) -> list[str]:
    """The table's spelling of each wanted column; raises UserError naming all that are missing."""
    wanted = list(wanted)
    found = [column(rows, [name]) for name in wanted]
    if missing := [name for name, have in zip(wanted, found, strict=True) if have is None]:
        hints = " ".join(suggest(name, rows[0]) for name in missing[:1] if len(missing) < len(wanted))
        raise UserError(
            f"the table has no column {', '.join(repr(m) for m in missing)} (its columns are {', '.join(rows[0])})",
            path,
            f"Wanted: {', '.join(wanted[:6])}{', …' if len(wanted) > 6 else ''}. {hints}".strip(),
        )
    return [str(name) for name in found]


def study_id(cell: str) -> str:
    """The id that a cell names: the volume's name without folder and ending."""
    return bare_name(cell.strip().replace("\\", "/").rpartition("/")[2])


class Texts:
    """Report texts by study: `regions[id][region]`, `reports[id]`, and remarks on what was left out.

    `written[id]`: a whole report as it stands in its table, where it has several lines (`reports` has single blanks).
    """

    def __init__(self) -> None:
        self.regions: dict[str, dict[str, str]] = {}
        self.reports: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}

    def __contains__(self, study: str) -> bool:
        return study in self.regions or study in self.reports

    def ids(self) -> list[str]:
        """All studies that have a text."""
        return list(dict.fromkeys([*self.regions, *self.reports]))

    def add(self, other: Texts) -> None:
        """Takes over another table's texts; they win where both have one."""
        self.regions.update(other.regions)
        new = {study: text for study, text in other.reports.items() if text or study not in self.reports}
        self.reports.update(new)
        self.written = {study: text for study, text in self.written.items() if study not in new} | other.written
        for study, said in other.notes.items():
            for remark in said:
                self.note(study, remark)

    def note(self, study: str, text: str) -> None:
        """Keeps a remark on one study, once."""
        if text not in self.notes.setdefault(study, []):
            self.notes[study].append(text)


def region_texts(path: Path, rows: Rows | None = None) -> Texts:
    """A region report table: Volumename, Anatomy, Sentence; an empty Anatomy holds the whole report.

    Texts are kept to the blank and a later row for the same study and region wins, as in the official code (the study gets a
    note); rows of areas outside the ten regions are left out with a note.
    """
    rows = read_table(path) if rows is None else rows
    volume, anatomy, sentence = columns(rows, ("Volumename", "Anatomy", "Sentence"), path)
    texts = Texts()
    for row in rows:
        study, area, text = study_id(row[volume]), row[anatomy].strip(), row[sentence]
        if not study or not text.strip():
            continue
        region = region_name(area) if area else ""
        if region is None:
            texts.note(study, f"sentences of the unknown area '{area}' were left out")
            continue
        kept = texts.regions.setdefault(study, {}) if region else texts.reports
        key = region or study
        if kept.get(key, text) != text:
            texts.note(study, f"a later row of the report table replaced an earlier one of '{region or 'the whole report'}'")
        kept[key] = text
    return texts


def whole_texts(path: Path, rows: Rows, names: Mapping[str, str]) -> tuple[Texts, dict[str, str]]:
    """A table of one report a study, and the splits where it has them; `names` maps id, report, split to columns."""
    ids = _named(rows, names, "id", ID_COLUMNS, path)
    reports = _named(rows, names, "report", REPORT_COLUMNS, path)
    split = column(rows, [names.get("split", "split")])
    texts, splits = Texts(), {}
    for row in rows:
        if study := study_id(row[ids]):
            text = " ".join(row[reports].split())
            text = "" if text.lower().rstrip(".") in NO_TEXT else text
            if texts.reports.setdefault(study, text) != text:
                raise UserError(
                    f"the table has several rows for '{study}' and no column that tells them apart (its columns are "
                    f"{', '.join(rows[0])})",
                    path,
                    "Give one report a study, or a region report table with the columns Volumename, Anatomy, Sentence.",
                )
            if text and "\n" in row[reports].strip():
                texts.written[study] = row[reports]
            if split and row[split].strip():
                splits[study] = _split(row[split], path)
    return texts, splits


def _named(rows: Rows, names: Mapping[str, str], key: str, known: tuple[str, ...], path: Path) -> str:
    if key in names:
        return columns(rows, [names[key]], path)[0]
    if (found := column(rows, known)) is None:
        raise UserError(
            f"the table has no column for the {'study' if key == 'id' else 'report'} (its columns are {', '.join(rows[0])})",
            path,
            f"Known names are {', '.join(known)}; name yours with --columns {key}=NAME. A region report table has the columns "
            "Volumename, Anatomy, Sentence.",
        )
    return found


def read_splits(path: Path) -> dict[str, str]:
    """A split table: Volumename, Split (train, valid or test)."""
    rows = read_table(path)
    volume, split = columns(rows, ("Volumename", "Split"), path)
    return {study_id(row[volume]): _split(row[split], path) for row in rows if row[volume].strip()}


def _split(text: str, path: Path) -> str:
    if name := SPLITS.get(text.strip().lower()):
        return name
    raise UserError(f"'{text.strip()}' is no split", path, "Splits are train, valid and test.")


def read_labels(path: Path) -> dict[str, dict[str, int]]:
    """A label table: VolumeName and the 18 finding columns of CT-RATE, 0 or 1; blank cells are unknown."""
    rows = read_table(path)
    ids = column(rows, ID_COLUMNS)
    if ids is None:
        columns(rows, ("VolumeName",), path)
    named = dict(zip(FINDINGS, columns(rows, FINDINGS, path), strict=True))
    return {study_id(row[str(ids)]): _labels(row, named, path) for row in rows if row[str(ids)].strip()}


def _labels(row: dict[str, str], named: Mapping[str, str], path: Path) -> dict[str, int]:
    out = {}
    for finding, name in named.items():
        cell = row[name].strip()
        if cell in ("0", "0.0", "1", "1.0"):
            out[finding] = int(cell[0])
        elif cell:
            raise UserError(f"the label '{finding}' holds '{cell}'", path, "Labels are 0 or 1.")
    return out
