"""Report files → `GroundedReport`s: JSON lines, CSVs (the published ones too), a folder of region CSVs, VLM3D's JSON.

What can't be scored is left out and counted, with its reason, in `excluded`; an empty prediction is kept, for it scores 0.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..anatomy import REGIONS
from ..contracts import GroundedReport, RegionSection
from ..errors import UserError
from .prefixes import Mention, has_prefixes, mentions, plain
from .rows import ID_COLUMNS, cell, find_column, find_id_column, read_rows, read_text, study_key

PREDICTION_COLUMNS = (
    "Pred_whole_report", "Pred_combined_report", "prediction", "predicted", "pred", "generated", "generated_report", "output",
    "hypothesis", "report",
)  # fmt: skip
REFERENCE_COLUMNS = (
    "GT_whole_report", "GT_combined_report", "reference", "ground_truth", "groundtruth", "gt", "target", "label_report",
)  # fmt: skip
_SHOWN = 20
_REGION_FILE = "_reports.csv"
Record = tuple[str, str, str]  # id, prediction, reference


@dataclasses.dataclass(frozen=True, slots=True)
class ReportsFile:
    """The reports of a file; `excluded`: reason → {"n", "studies" (the first 20)}; `notes`: what was assumed, in sentences."""

    reports: list[GroundedReport]
    excluded: dict[str, Any]
    notes: tuple[str, ...] = ()


class _Excluded:
    """Counts what is left out, by reason."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add(self, reason: str, study: str) -> None:
        entry = self.found.setdefault(reason, {"n": 0, "studies": []})
        entry["n"] += 1
        if len(entry["studies"]) < _SHOWN:
            entry["studies"].append(study)


def read_reports(
    path: str | Path,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    id_column: str | None = None,
    references: str | Path | None = None,
) -> ReportsFile:
    """Reads a reports file, a CSV, a VLM3D JSON or a folder of `<region>_reports.csv`.

    `references` names a second file (CSV or VLM3D JSON) with the reference texts, matched by study id. Raises UserError where
    the file is missing, empty, unreadable, or lacks the columns (near names are given).
    """
    path = Path(path)
    excluded, notes = _Excluded(), list[str]()
    if path.is_dir():
        reports = _region_folder(path)
        notes.append("The files hold regions alone: whole reports are the regions' texts joined in alphabetical order.")
    elif _is_json(path):
        reports = _json(path)
    else:
        reports = _csv(path, (prediction_column, reference_column, id_column), references is None, notes)
    if references is not None:
        reports = _with_references(reports, Path(references), reference_column, id_column, excluded)
    kept = _once(reports, excluded)
    if not kept:
        raise UserError("no report is left to read", path, "; ".join(f"{r}: {e['n']}" for r, e in excluded.found.items()))
    return ReportsFile(kept, excluded.found, tuple(notes))


def _once(reports: Iterable[GroundedReport], excluded: _Excluded) -> list[GroundedReport]:
    kept: dict[str, GroundedReport] = {}
    for report in reports:
        if report.study in kept:
            excluded.add("the id stood before", report.study)
        else:
            kept[report.study] = report
    return list(kept.values())


# --- CSV ---------------------------------------------------------------------------------------------------------------


def _csv(
    path: Path, wanted: tuple[str | None, str | None, str | None], needs_reference: bool, notes: list[str]
) -> list[GroundedReport]:
    prediction, reference, name = wanted
    columns, rows = read_rows(path)
    prediction = find_column(columns, prediction, PREDICTION_COLUMNS, "predicted reports", "--prediction-column", path)
    if needs_reference or reference:
        reference = find_column(columns, reference, REFERENCE_COLUMNS, "reference reports", "--reference-column", path)
    name = find_id_column(columns, name, path)
    if name is None:
        notes.append("No column with study ids was found: rows are numbered.")
    region = _region_of(path)
    reports = []
    for number, row in enumerate(rows, start=1):
        study = (cell(row.get(name)) if name else "") or f"row {number}"
        texts = cell(row.get(prediction)), cell(row.get(reference)) if reference else ""
        reports.append(region_report(study, {region: texts}) if region else grounded(study, *texts))
    if not reports:
        raise UserError("the file has a header but no row", path)
    return reports


def grounded(study: str, prediction: str, reference: str) -> GroundedReport:
    """A report from two texts; region prefixes and the CTRG tail become sections and leave the whole texts."""
    if not (has_prefixes(prediction) or has_prefixes(reference)):
        return GroundedReport(study, (), prediction, reference)
    return GroundedReport(study, _sections(mentions(prediction), mentions(reference)), plain(prediction), plain(reference))


def _sections(written: list[Mention], truth: list[Mention]) -> tuple[RegionSection, ...]:
    """Sections by slot; the last mention of a slot stands for it, earlier ones and slots without a truth have no region."""
    true = {m.slot: m for m in truth if m.name in REGIONS}
    last = {m.slot: i for i, m in enumerate(written)}
    sections = []
    for i, m in enumerate(written):
        area = true.get(m.slot) if last[m.slot] == i else None
        sections.append(RegionSection(m.slot, area.name if area else "", m.name, None, m.text, area.text if area else ""))
    sections += [RegionSection(m.slot, m.name, "", None, "", m.text) for m in true.values() if m.slot not in last]
    return tuple(sorted(sections, key=lambda s: s.index))


def _region_of(path: Path) -> str | None:
    name = path.name.removesuffix(_REGION_FILE)
    return name if name != path.name and name in REGIONS else None


def region_report(study: str, texts: Mapping[str, tuple[str, str]]) -> GroundedReport:
    """A report from region → (prediction, reference); no region is *named*, so recognition isn't scored."""
    ordered = [(r, *texts[r]) for r in REGIONS if r in texts]
    sections = tuple(RegionSection(i, r, "", None, p, t) for i, (r, p, t) in enumerate(ordered))
    return GroundedReport(study, sections, " ".join(s.report for s in sections), " ".join(s.reference for s in sections))


def _region_folder(folder: Path) -> list[GroundedReport]:
    files = {region: folder / f"{region}{_REGION_FILE}" for region in REGIONS}
    files = {region: file for region, file in files.items() if file.is_file()}
    if not files:
        raise UserError("the folder holds no '<region>_reports.csv'", folder, "Name a reports file instead.")
    texts: dict[str, dict[str, tuple[str, str]]] = {}
    for region, file in files.items():
        for report in _csv(file, (None, None, None), True, []):
            texts.setdefault(report.study, {}).setdefault(region, (report.report, report.reference))
    return [region_report(study, regions) for study, regions in texts.items()]


# --- JSON --------------------------------------------------------------------------------------------------------------


def _is_json(path: Path) -> bool:
    if path.suffix.lower() in (".json", ".jsonl"):
        return True
    if path.suffix.lower() in (".csv", ".tsv") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] in (b"{", b"[")


def _json(path: Path) -> list[GroundedReport]:
    text = read_text(path)
    document = _document(text)
    if isinstance(document, Mapping) and "generated_reports" in document:
        return [_vlm3d(row, i, path) for i, row in enumerate(document["generated_reports"])]
    if isinstance(document, list):
        return [_line(row, i + 1, path) for i, row in enumerate(document)]
    if isinstance(document, Mapping):
        return [_line(document, 1, path)]
    return [_line(_parsed(line, i, path), i, path) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # more than one document: JSON lines
        return None


def _parsed(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UserError(f"line {number} isn't valid JSON ({error})", path, "Is the file cut short?") from error


def _line(data: Any, number: int, path: Path) -> GroundedReport:
    if not isinstance(data, Mapping):
        raise UserError(f"entry {number} isn't a JSON object", path)
    try:
        return GroundedReport.from_json(data)
    except (UserError, TypeError, ValueError) as error:
        fact = error.what if isinstance(error, UserError) else str(error)
        raise UserError(f"entry {number}: {fact}", path, error.fix if isinstance(error, UserError) else "") from error


def _vlm3d(row: Any, number: int, path: Path) -> GroundedReport:
    if not isinstance(row, Mapping) or not isinstance(row.get("input_image_name"), str):
        raise UserError(f"report {number} of 'generated_reports' has no 'input_image_name'", path)
    return grounded(row["input_image_name"], cell(row.get("report")), "")


# --- references in a second file ---------------------------------------------------------------------------------------


def _with_references(
    reports: list[GroundedReport], path: Path, column: str | None, id_column: str | None, excluded: _Excluded
) -> list[GroundedReport]:
    texts = dict(_reference_texts(path, column, id_column))
    paired = []
    for report in reports:
        text = texts.pop(study_key(report.study), None)
        if text is None:
            excluded.add("the id has no partner among the references", report.study)
        else:
            paired.append(dataclasses.replace(report, reference=plain(text)))
    for study in texts:
        excluded.add("the reference has no prediction", study)
    return paired


def _reference_texts(path: Path, column: str | None, id_column: str | None) -> Iterable[tuple[str, str]]:
    if _is_json(path):
        yield from ((study_key(r.study), r.reference or r.report) for r in _json(path))
        return
    columns, rows = read_rows(path)
    known = (*REFERENCE_COLUMNS, "report", "report_text", "Findings_EN")
    column = find_column(columns, column, known, "reference reports", "--reference-column", path)
    name = find_column(columns, id_column if id_column in columns else None, ID_COLUMNS, "study ids", "--id-column", path)
    yield from ((study_key(cell(row.get(name))), cell(row.get(column))) for row in rows)


# --- texts alone -------------------------------------------------------------------------------------------------------

TEXT_COLUMNS = ("report_text", "report", "Findings_EN", "text", "Sentence", *PREDICTION_COLUMNS)


def read_texts(path: str | Path, column: str | None = None, id_column: str | None = None) -> tuple[list[str], list[str], str]:
    """Ids, texts and the name of the id column of any reports file; rows of one id (region sentences) are joined.

    `column` names the CSV column, or "report" or "reference" in JSON. Raises UserError as `read_reports` does.
    """
    path = Path(path)
    joined: dict[str, list[str]] = {}
    if _is_json(path):
        if column not in (None, "report", "reference"):
            raise UserError(f"a reports file has no text field '{column}'", path, "Name 'report' or 'reference'.")
        for report in _json(path):
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
