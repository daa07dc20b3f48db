"""CT-RATE's and RadGenome-ChestCT's own folders and tables, as they come from the hub.

CT-RATE: {train,valid}[_fixed]/train_1/train_1_a/train_1_a_1.nii.gz, metadata/*_metadata.csv (rescale and spacing, which the
volumes' headers have wrong), radiology_text_reports/*_reports.csv, multi_abnormality_labels/*_labels.csv. RadGenome:
{train,valid}_preprocessed/train_1/train_1a/train_1_a_1.nii.gz (resampled to 1×1×3 mm, in HU), *_region_mask/seg_NAME/,
radgenome_files/*region_report.csv. All of it in the folder itself or in its `dataset/`. In: a folder. Out: paths, `Facts`.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

from ..ct import Facts, plausible
from ..errors import UserError
from .tables import Rows, column, read_table, study_id

_PARTS = ("train", "valid")
_COLUMNS = ("VolumeName", "RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing")
_SHAPE = ("Columns", "Rows", "NumberofSlices")


def roots(source: Path) -> list[Path]:
    """The folder and its `dataset/`: people name either."""
    return [source, *([source / "dataset"] if (source / "dataset").is_dir() else [])]


def _glob(source: Path, *patterns: str) -> list[Path]:
    return [path for root in roots(source) for pattern in patterns for path in sorted(root.glob(pattern))]


def region_tables(source: Path) -> list[Path]:
    """RadGenome's tables of region sentences."""
    return _glob(source, "*region_report.csv", "radgenome_files/*region_report.csv")


def report_tables(source: Path) -> list[Path]:
    """CT-RATE's tables of whole reports."""
    return _glob(source, "radiology_text_reports/*_reports.csv")


def label_tables(source: Path) -> list[Path]:
    """CT-RATE's tables of findings (a classifier's output)."""
    return _glob(source, "multi_abnormality_labels/*_labels.csv")


def metadata_tables(source: Path) -> list[Path]:
    """CT-RATE's metadata; a table of that name beside the volumes counts where it has the columns."""
    beside = [path for path in _glob(source, "*metadata.csv", "volumes/*metadata.csv") if _is_metadata(path)]
    return _glob(source, "metadata/*metadata.csv") + beside


def _is_metadata(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = {name.strip() for name in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return "VolumeName" in names and bool(names & set(_COLUMNS[1:]))


def preprocessed(source: Path) -> list[Path]:
    """RadGenome's folders of resampled volumes."""
    return [path for path in _glob(source, "*_preprocessed") if path.is_dir()]


def mask_folders(source: Path) -> list[Path]:
    """Folders of region masks: our layout's and RadGenome's."""
    return [path for path in [source / "masks", *_glob(source, "*_region_mask")] if path.is_dir()]


def left_out(source: Path) -> list[Path]:
    """Folders that hold no volumes of their own: finer masks, and a first release beside its re-release."""
    finer = [path for path in _glob(source, "*_anatomy_mask*", "*_region_mask*") if path.is_dir()]
    older = [root / part for root in roots(source) for part in _PARTS if (root / f"{part}_fixed").is_dir()]
    return finer + older


def is_published(source: Path) -> bool:
    """Whether a folder looks like one of the two data sets."""
    found = (region_tables, report_tables, label_tables, metadata_tables, preprocessed)
    return any(find(source) for find in found)


def split_of(path: Path, source: Path) -> str:
    """The split that a published folder's name tells: train or valid, else ""."""
    names = {part + ending for part in _PARTS for ending in ("", "_fixed", "_preprocessed")}
    inside = path.relative_to(source).parts[:2] if path.is_relative_to(source) else ()
    return next((part.partition("_")[0] for part in inside if part in names), "")


def read_facts(path: Path) -> dict[str, Facts]:
    """A metadata table by study: VolumeName, RescaleSlope, RescaleIntercept, XYSpacing (DICOM's pair), ZSpacing.

    Cells that make no sense are left out with a note on the study; two rows that differ leave neither. Raises UserError where
    the table has none of the columns.
    """
    rows = read_table(path, only=(*_COLUMNS, *_SHAPE))
    name = column(rows, _COLUMNS[:1])
    if name is None or not any(column(rows, [c]) for c in _COLUMNS[1:]):
        raise UserError(
            "the metadata table lacks its columns", path, f"Wanted: {', '.join(_COLUMNS)}. Take it away if it is another table."
        )
    found: dict[str, Facts] = {}
    for study, facts in _facts(rows, name):
        if found.setdefault(study, facts) != facts:
            found[study] = Facts(notes=("the metadata table has rows for it that differ: none was used",))
    return found


def _facts(rows: Rows, name: str) -> Iterator[tuple[str, Facts]]:
    own = {c: column(rows, [c]) for c in (*_COLUMNS[1:], *_SHAPE)}
    for row in rows:
        if study := study_id(row[name]):
            yield study, _row({c: row[key].strip() for c, key in own.items() if key is not None})


def _row(cells: dict[str, str]) -> Facts:
    notes = []
    slope, intercept = _number(cells.get("RescaleSlope", "")), _number(cells.get("RescaleIntercept", ""))
    if slope == 0 or (slope is None) != (intercept is None):
        slope = intercept = None
        notes.append("the metadata table's rescale makes no sense: it was not used")
    spacing = _spacing(cells.get("XYSpacing", ""), cells.get("ZSpacing", ""))
    if spacing is None and any(cells.get(c) for c in _COLUMNS[3:]):
        notes.append("the metadata table's spacing makes no sense: the header's was kept")
    sides = [_number(cells.get(c, "")) for c in _SHAPE]
    whole = [int(n) for n in sides if n is not None and n >= 1]
    shape = (whole[0], whole[1], whole[2]) if len(whole) == 3 else None
    return Facts(slope, intercept, spacing, shape, tuple(notes))


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _spacing(plane: str, height: str) -> tuple[float, float, float] | None:
    """x, y, z in mm from "[0.7, 0.7]" and "1.5"; DICOM's pair is that of rows (y) and columns (x)."""
    try:
        pair = json.loads(plane.replace("(", "[").replace(")", "]").replace("'", ""))
        y, x = (float(n) for n in pair)
        spacing = (x, y, float(height))
    except (ValueError, TypeError):
        return None
    return spacing if all(map(math.isfinite, spacing)) and plausible(spacing) else None
