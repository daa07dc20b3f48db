"""The train split's reports, wherever they lie: what the floors may know, and never a study that is evaluated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ..anatomy import REGIONS
from ..contracts import GroundedReport, Study
from ..data.store import Store, is_store
from ..data.tables import read_labels, read_splits, region_texts
from ..errors import UserError
from .entries import is_json
from .reading import REFERENCE_COLUMNS, REGION_COLUMNS, read_reports, read_texts
from .rows import read_rows, study_key

_KINDS = "Give a store, a region_report.csv, or a file of the train split's reports."


class Train(NamedTuple):
    """Train studies with text, where they are from, and notes on what was left out."""

    studies: list[Study]
    source: str
    notes: tuple[str, ...]


def read_train(path: str | Path, evaluated: Collection[str]) -> Train:
    """Reads `--train`: a store, a region report table (with the split.csv and labels.csv beside it) or a file of reports.

    Studies of the ids `evaluated` are left out and counted. Raises UserError where no train study with text is left.
    """
    path = Path(path)
    found = [s for s in _studies(path) if s.report or s.region_reports]
    if not found:
        raise UserError("no study of the train split has a report", path, _KINDS)
    known = {study_key(name) for name in evaluated}
    kept = [s for s in found if study_key(s.id) not in known]
    if not kept:
        raise UserError("every study of the train split is among those evaluated", path, _KINDS)
    notes = [f"The floors know the {len(kept):,} train reports of {path.name}."]
    if lost := len(found) - len(kept):
        notes.append(f"{lost:,} studies of {path.name} are among those evaluated: the floors don't know them.")
    return Train(kept, path.name, tuple(notes))


def _studies(path: Path) -> list[Study]:
    if path.is_dir():
        return _folder(path)
    if is_json(path):
        return [_as_study(r) for r in read_reports(path).reports]
    columns = {c.lower() for c in read_rows(path)[0]}
    if columns >= REGION_COLUMNS:
        return _region_table(path)
    if columns & {c.lower() for c in REFERENCE_COLUMNS}:
        return [_as_study(r) for r in read_reports(path).reports]
    ids, texts, _ = read_texts(path)
    return [_study(name, {}, text) for name, text in zip(ids, texts, strict=True)]


def _folder(path: Path) -> list[Study]:
    if is_store(path):
        store = Store(path)
        if found := store.studies("train"):
            return found
        known = ", ".join(sorted({s.split or "(none)" for s in store.studies()}))
        raise UserError("the store has no split 'train'", path, f"It has: {known}.")
    if (path / "region_report.csv").is_file():
        return _region_table(path / "region_report.csv")
    raise UserError("this folder is no store", path, _KINDS)


def _region_table(path: Path) -> list[Study]:
    """Of a table that holds every split, the train split alone, where a split.csv beside it says which that is."""
    texts = region_texts(path)
    beside = path.parent / "split.csv", path.parent / "labels.csv"
    splits = read_splits(beside[0]) if beside[0].is_file() else {}
    labels = read_labels(beside[1]) if beside[1].is_file() else {}
    ids = [name for name in texts.ids() if splits.get(name, "train") == "train"]
    return [_study(n, texts.regions.get(n, {}), texts.reports.get(n, ""), labels.get(n)) for n in ids]


def _as_study(report: GroundedReport) -> Study:
    """A report of the train split as it should be: its reference, else (in a file of true reports) its text."""
    if not report.reference:
        return _study(report.study, {}, report.report)
    regions = {s.region: s.reference for s in report.sections if s.region in REGIONS and s.reference}
    return _study(report.study, regions, report.reference)


def _study(name: str, regions: Mapping[str, str], report: str, labels: Mapping[str, int] | None = None) -> Study:
    # ids of foreign files may hold what a study's file name can't
    safe = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name) or "_"
    return Study(safe if safe not in (".", "..") else "_", "train", regions, report, labels or {})
