"""Report files → `GroundedReport`s: JSON lines, CSVs (the published ones too), a folder of region CSVs, VLM3D's JSON.

What can't be scored is left out and counted, with its reason, in `excluded`; an empty prediction is kept, for it scores 0.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..anatomy import REGIONS
from ..contracts import GroundedReport
from ..data.tables import region_texts
from ..errors import UserError
from .entries import VLM3D, entries, is_json, is_report, to_report, vlm3d_texts
from .prefixes import plain
from .prompts import Prompts
from .rows import ID_COLUMNS, TOO_FEW, cell, find_column, find_id_column, read_rows, study_key
from .sections import grounded, region_report
from .shelf import Reports, Shelf, read

PREDICTION_COLUMNS = (
    "Pred_whole_report", "Pred_combined_report", "prediction", "predicted", "pred", "generated", "generated_report", "output",
    "hypothesis", "report",
)  # fmt: skip
REFERENCE_COLUMNS = (
    "GT_whole_report", "GT_combined_report", "reference", "ground_truth", "groundtruth", "gt", "target", "label_report",
)  # fmt: skip
REGION_COLUMNS = {"volumename", "anatomy", "sentence"}
LONGEST = 100_000  # characters; the longest report of CT-RATE has 9,000
_SHOWN = 20
_REGION_FILE = "_reports.csv"


@dataclasses.dataclass(frozen=True, slots=True)
class ReportsFile:
    """The reports of a file; `excluded`: reason → {"n", "studies" (the first 20)}; `notes`: what was assumed, in sentences.

    `source` is the file's name, without its folder.
    """

    reports: Reports
    excluded: dict[str, Any]
    notes: tuple[str, ...] = ()
    source: str = ""


class Excluded:
    """Counts what is left out, by reason."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add(self, reason: str, study: str) -> None:
        """One more study (or row) for `reason`."""
        entry = self.found.setdefault(reason, {"n": 0, "studies": []})
        entry["n"] += 1
        if len(entry["studies"]) < _SHOWN:
            entry["studies"].append(study)


class _Wanted(NamedTuple):
    """The columns that the user named; None where they are looked for."""

    prediction: str | None = None
    reference: str | None = None
    id: str | None = None


def read_reports(
    path: str | Path,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    id_column: str | None = None,
    references: str | Path | None = None,
) -> ReportsFile:
    """Reads a reports file, a CSV, a VLM3D JSON or a folder of `<region>_reports.csv`.

    `references` names a second file (any of these, or a region report table) with the reference texts, matched by study id.
    Raises UserError where the file is missing, empty, unreadable, or lacks the columns (near names are given).
    """
    path = Path(path)
    wanted = _Wanted(prediction_column, reference_column, id_column)
    excluded, notes = Excluded(), list[str]()
    if path.is_dir():
        reports: Iterable[GroundedReport] = _region_folder(path, wanted, excluded)
        notes.append("The files hold regions alone: whole reports are the regions' texts joined in alphabetical order.")
    else:
        reader = _json if is_json(path) else _csv
        reports = reader(path, wanted, references is None, notes, excluded)
    if references is not None:
        reports = _with_references(reports, Path(references), wanted, excluded)
    kept = _once(reports, excluded)
    if not kept:
        raise UserError("no report is left to read", path, _why(excluded) or "The file has a header but no row.")
    return ReportsFile(kept, excluded.found, tuple(notes), path.name)


def _why(excluded: Excluded) -> str:
    return "; ".join(f"{reason}: {entry['n']}" for reason, entry in excluded.found.items())


def _once(reports: Iterable[GroundedReport], excluded: Excluded) -> Reports:
    seen, kept = set[str](), Shelf()
    for report in reports:
        key = study_key(report.study)
        if key in seen:
            excluded.add("the id stood before", report.study)
        elif max(len(report.report), len(report.reference)) > LONGEST:
            excluded.add(f"a text has more than {LONGEST:,} characters", report.study)
        else:
            seen.add(key)
            kept.append(report)
    return kept


# --- tables ------------------------------------------------------------------------------------------------------------


def _csv(path: Path, wanted: _Wanted, needs_reference: bool, notes: list[str], excluded: Excluded) -> Iterator[GroundedReport]:
    columns, rows = read_rows(path, lambda why, line: excluded.add(why, f"line {line}"))
    return _table(path, columns, rows, wanted, needs_reference, notes, excluded)


def _table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    wanted: _Wanted,
    needs_reference: bool,
    notes: list[str],
    excluded: Excluded,
) -> Iterator[GroundedReport]:
    """The reports of rows with named columns. Raises UserError at once for a column that is missing."""
    prediction = find_column(columns, wanted.prediction, PREDICTION_COLUMNS, "predicted reports", "--prediction-column", path)
    reference = wanted.reference
    if needs_reference or reference:
        reference = find_column(columns, reference, REFERENCE_COLUMNS, "reference reports", "--reference-column", path)
    name = find_id_column(columns, wanted.id, path)
    if name is None:
        notes.append("No column with study ids was found: rows are numbered.")
    prompts, region = Prompts(columns), _region_of(path)

    def made() -> Iterator[GroundedReport]:
        nameless = 0
        for number, row in enumerate(rows, start=1):
            study = cell(row.get(name)) if name else ""
            nameless += bool(name) and not study
            study = study or f"row {number}"
            if prediction not in row:
                excluded.add(TOO_FEW, study)
                continue
            texts = prompts.without(cell(row[prediction]), row), cell(row.get(reference)) if reference else ""
            yield region_report(study, {region: texts}) if region else grounded(study, *texts)
        notes.extend(prompts.notes())
        if nameless:
            notes.append(f"{nameless} rows have no id in the column '{name}' and are numbered.")

    return made()


def _region_of(path: Path) -> str | None:
    name = path.name.removesuffix(_REGION_FILE)
    return name if name != path.name and name in REGIONS else None


def _region_folder(folder: Path, wanted: _Wanted, excluded: Excluded) -> Iterator[GroundedReport]:
    files = {region: folder / f"{region}{_REGION_FILE}" for region in REGIONS}
    files = {region: file for region, file in files.items() if file.is_file()}
    if not files:
        others = sorted(p.name for ending in ("*.jsonl", "*.csv") for p in folder.glob(ending))
        fix = f"Name a file of it instead, for example {folder / others[0]}" if others else "Name a reports file instead."
        raise UserError("the folder holds no '<region>_reports.csv'", folder, fix)
    places: dict[str, dict[str, int]] = {}
    rows = Shelf()
    for region, file in files.items():
        for report in _csv(file, wanted, True, [], excluded):
            of = places.setdefault(report.study, {})
            if region not in of:
                of[region] = len(rows)
                rows.append(report)
    for study, of in places.items():
        texts = zip(of, read(rows, list(of.values())), strict=True)
        yield region_report(study, {region: (row.report, row.reference) for region, row in texts})


# --- JSON --------------------------------------------------------------------------------------------------------------


def _json(path: Path, wanted: _Wanted, needs_reference: bool, notes: list[str], excluded: Excluded) -> Iterator[GroundedReport]:
    found = entries(path)
    number, first = next(found, (0, None))
    if number == 0:
        raise UserError("the file's list is empty", path)
    if isinstance(first, Mapping) and VLM3D in first:
        return (grounded(name, cell(text), "") for name, text in vlm3d_texts(first, path))
    every = itertools.chain([(number, first)], found)
    if isinstance(first, Mapping) and _has_columns(first, wanted.prediction):
        rows = (_row(entry, i, path) for i, entry in every)
        return _table(path, list(first), rows, wanted, needs_reference, notes, excluded)
    return (to_report(entry, i, path) for i, entry in every)


def _has_columns(entry: Mapping[str, Any], wanted: str | None) -> bool:
    """Whether a JSON object is a row with columns of any names, and not a report of our own form."""
    if wanted in entry or is_report(entry):
        return wanted in entry
    return wanted is not None or any(name.lower() in map(str.lower, PREDICTION_COLUMNS) for name in entry)


def _row(entry: Any, number: int, path: Path) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise UserError(f"entry {number} isn't a JSON object", path)
    return entry


# --- references in a second file ---------------------------------------------------------------------------------------


def _with_references(
    reports: Iterable[GroundedReport], path: Path, wanted: _Wanted, excluded: Excluded
) -> Iterator[GroundedReport]:
    places: dict[str, int] = {}
    texts = Shelf()
    for study, text in _reference_texts(path, wanted):
        if study not in places:
            places[study] = len(texts)
            texts.append(GroundedReport(study, (), text))
        elif texts[places[study]].report != text:
            excluded.add("another reference of the id stood before", study)
    used = set()
    for report in reports:
        study = study_key(report.study)
        if study in places:
            used.add(study)
            yield dataclasses.replace(report, reference=plain(texts[places[study]].report))
        else:
            excluded.add("the id has no partner among the references", report.study)
    for study in places:
        if study not in used:
            excluded.add("the reference has no prediction", study)


def _reference_texts(path: Path, wanted: _Wanted) -> Iterator[tuple[str, str]]:
    if is_json(path):
        found = _json(path, _Wanted(wanted.reference, None, None), False, [], Excluded())
        yield from ((study_key(r.study), r.reference or r.report) for r in found)
        return
    columns, rows = read_rows(path)
    if {c.lower() for c in columns} >= REGION_COLUMNS and not wanted.reference:
        yield from whole_texts(path).items()
        return
    known = (*REFERENCE_COLUMNS, "report", "report_text", "Findings_EN")
    column = find_column(columns, wanted.reference, known, "reference reports", "--reference-column", path)
    named = wanted.id if wanted.id in columns else None
    name = find_column(columns, named, ID_COLUMNS, "study ids", "--id-column", path)
    yield from ((study_key(cell(row.get(name))), cell(row.get(column))) for row in rows)


def whole_texts(path: Path) -> dict[str, str]:
    """Whole texts of a region report table: as it has them, else the regions' sentences in the regions' order."""
    found = region_texts(path)
    joined = {study: " ".join(texts[r] for r in REGIONS if r in texts) for study, texts in found.regions.items()}
    return joined | found.reports


# --- texts alone -------------------------------------------------------------------------------------------------------

TEXT_COLUMNS = ("report_text", "report", "Findings_EN", "text", "Sentence", *PREDICTION_COLUMNS)


def read_texts(path: str | Path, column: str | None = None, id_column: str | None = None) -> tuple[list[str], list[str], str]:
    """Ids, texts and the name of the id column of any reports file; rows of one id (region sentences) are joined.

    `column` names the CSV column, or "report" or "reference" in JSON. Raises UserError as `read_reports` does.
    """
    path = Path(path)
    joined: dict[str, list[str]] = {}
    if is_json(path):
        if column not in (None, "report", "reference"):
            raise UserError(f"a reports file has no text field '{column}'", path, "Name 'report' or 'reference'.")
        for report in _json(path, _Wanted(), False, [], Excluded()):
            joined.setdefault(report.study, []).append(report.reference if column == "reference" else report.report)
        name: str | None = None
    else:
        columns, rows = read_rows(path)
        column = find_column(columns, column, TEXT_COLUMNS, "report texts", "--text-column", path)
        name = find_id_column(columns, id_column, path)
        for number, row in enumerate(rows, start=1):
            study = (cell(row.get(name)) if name else "") or f"row {number}"
            joined.setdefault(study, []).append(plain(cell(row.get(column))))
    if not joined:
        raise UserError("the file has a header but no row", path)
    return list(joined), [" ".join(texts) for texts in joined.values()], name or "VolumeName"
