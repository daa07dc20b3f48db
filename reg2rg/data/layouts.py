"""Where a data set keeps its volumes, masks and texts → a list of `Source`s, one a study.

`radgenome`: volumes/**/NAME.nii.gz, masks/seg_NAME/REGION.nii.gz or masks/seg_NAME.nii.gz, region_report.csv, labels.csv,
split.csv; and the published data sets' own folder names, with CT-RATE's metadata (see `ctrate`). `ctrg`: volumes and one table
of whole reports. `folder`: every image file and every DICOM series is a study. Of two rows for the same volume and region the
later one wins, as in the official code; the whole report is the row with an empty Anatomy, else CT-RATE's findings, else the
region sentences in the order of the regions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..anatomy import REGIONS, region_name
from ..contracts import Study
from ..ct import Facts, Scan, bare_name, find_scans
from ..errors import UserError, suggest
from . import ctrate, tables

_MASK_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One study to be: its `scan`, its `masks` (a folder or a file, or None), its texts and labels; `notes` in sentences.

    `written`: the whole report with its line breaks, where it has any. `region_sentences`: how these came about, where a
    splitter made them of the whole report (`left_to_another`: by another one in the end). Paths and texts aren't shown with the
    object, so that no scheduler's log keeps them.
    """

    id: str
    scan: Scan
    masks: Path | None = dataclasses.field(default=None, repr=False)
    split: str = ""
    region_reports: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    report: str = dataclasses.field(default="", repr=False)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: str = dataclasses.field(default="", repr=False)
    region_sentences: str = ""
    left_to_another: bool = False

    def study(self, provenance: Mapping[str, Any]) -> Study:
        """The study's text and facts as the store keeps them; its provenance says how region sentences were made, if so."""
        kept = {key: value for key, value in provenance.items() if key != "region_sentences"}
        made = {"region_sentences": self.region_sentences} if self.region_sentences else {}
        return Study(self.id, self.split, dict(self.region_reports), self.report, dict(self.labels), {**kept, **made})


@dataclasses.dataclass(frozen=True, slots=True)
class _Tables:
    """What a layout found beside its scans."""

    texts: tables.Texts = dataclasses.field(default_factory=tables.Texts)
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    masks: tuple[Path, ...] = ()


def discover(
    source: Path,
    layout: str = "auto",
    masks: Path | None = None,
    reports: Path | None = None,
    split: Path | None = None,
    *,
    keep_ids: bool = False,
    columns: Mapping[str, str] | None = None,
) -> list[Source]:
    """The studies of `source` (a folder, or one scan), sorted by id.

    `masks`, `reports` and `split` win over what the layout has; `columns` names the columns of a table of whole reports
    (`id`, `report`, `split`). Raises UserError where nothing is there or a table doesn't fit.
    """
    source = Path(source)
    if not source.exists():
        raise UserError("no such file or folder", source, "Check the path.")
    for path, option in ((masks, "--masks"), (reports, "--reports"), (split, "--split")):
        if path is not None and not path.exists():
            raise UserError(f"{option} names nothing that exists", path, "Check the path.")
    scans, found = _layout(layout, source)(source, masks, reports, columns or {}, keep_ids)
    if not scans:
        raise UserError("the folder holds no scan", source, "Known are NIfTI, NRRD, MHA/MHD, DICOM and zip files of those.")
    splits = tables.read_splits(split) if split else found.splits
    _check_overlap(scans, found.texts, reports)
    finder = _MaskFinder((masks,) if masks else found.masks, alone=len(scans) == 1)
    return [_source(scan, found, splits, finder.find(scan.id)) for scan in scans]


def _layout(name: str, source: Path) -> Callable[..., tuple[list[Scan], _Tables]]:
    known = {"radgenome": _radgenome, "ctrg": _ctrg, "folder": _folder}
    if name == "auto":
        name = detect(source)
    if name not in known:
        raise UserError(f"no layout is called '{name}'", "--layout", suggest(name, ["auto", *known]), 2)
    return known[name]


def detect(source: Path) -> str:
    """The layout that a folder looks like."""
    if not source.is_dir():
        return "folder"
    if (source / "volumes").is_dir() or ctrate.is_published(source):
        return "radgenome"
    return "ctrg" if _report_tables(source) else "folder"


def _report_tables(source: Path) -> list[Path]:
    return [p for name in ("reports.csv", "report.csv", "reports.json", "annotation.json") if (p := source / name).is_file()]


def _radgenome(
    source: Path, masks: Path | None, reports: Path | None, columns: Mapping[str, str], keep_ids: bool
) -> tuple[list[Scan], _Tables]:
    mask_folders = tuple(ctrate.mask_folders(source))
    skip = [*mask_folders, *ctrate.left_out(source), *([masks] if masks else [])]
    folders = [p for p in [source / "volumes", *ctrate.preprocessed(source)] if p.is_dir()] or [source]
    scans = [scan for folder in folders for scan in find_scans(folder, keep_ids=keep_ids, skip=skip)]
    scans = _with_facts(sorted(scans, key=lambda s: s.id), source)
    texts, splits = tables.Texts(), {s.id: split for s in scans if (split := ctrate.split_of(s.files[0], source))}
    # the region tables come last: their whole report wins over CT-RATE's
    for path in [reports] if reports else [*ctrate.report_tables(source), *ctrate.region_tables(source)]:
        more, more_splits = _texts(path, columns)
        texts.add(more)
        splits.update(more_splits)
    if (path := source / "split.csv").is_file():
        splits = tables.read_splits(path)
    own = [path] if (path := source / "labels.csv").is_file() else ctrate.label_tables(source)
    labels = {study: row for path in own for study, row in tables.read_labels(path).items()}
    return scans, _Tables(texts, splits, labels, mask_folders)


def _with_facts(scans: list[Scan], source: Path) -> list[Scan]:
    """The scans with what CT-RATE's metadata says of them; RadGenome's resampled volumes are no longer what it describes."""
    if not (found := ctrate.metadata_tables(source)):
        return scans
    facts = {study: row for path in found for study, row in ctrate.read_facts(path).items()}
    unknown = Facts(notes=("the metadata table has no row for it: its header's rescale and spacing were taken",))
    resampled = ctrate.preprocessed(source)

    def described(scan: Scan) -> bool:
        return scan.kind == "image" and not any(scan.files[0].is_relative_to(folder) for folder in resampled)

    return [dataclasses.replace(s, facts=facts.get(s.id, unknown)) if described(s) else s for s in scans]


def _texts(path: Path, columns: Mapping[str, str]) -> tuple[tables.Texts, dict[str, str]]:
    """Region sentences, or whole reports where the table has no column of areas."""
    rows = tables.read_table(path)
    if not columns and tables.column(rows, ["Anatomy", "Sentence"]):
        return tables.region_texts(path, rows), {}
    if not columns and path.name.endswith("region_report.csv"):
        return tables.region_texts(path, rows), {}
    return tables.whole_texts(path, rows, columns)


def _ctrg(
    source: Path, masks: Path | None, reports: Path | None, columns: Mapping[str, str], keep_ids: bool
) -> tuple[list[Scan], _Tables]:
    scans, found = _radgenome(source, masks, None, {}, keep_ids)
    found_tables = [reports] if reports else _report_tables(source)
    if not found_tables:
        raise UserError("the folder holds no table of reports", source, "Name it with --reports FILE (CSV or JSON).")
    texts, splits = _texts(found_tables[0], columns)
    if not reports:
        # a table of region sentences beside the whole reports adds to them
        texts.regions.update(found.texts.regions)
    return scans, dataclasses.replace(found, texts=texts, splits=splits or found.splits)


def _folder(
    source: Path, masks: Path | None, reports: Path | None, columns: Mapping[str, str], keep_ids: bool
) -> tuple[list[Scan], _Tables]:
    texts, splits = _texts(reports, columns) if reports else (tables.Texts(), {})
    skip = [masks] if masks and masks.resolve() != source.resolve() else []
    return find_scans(source, keep_ids=keep_ids, skip=skip), _Tables(texts, splits)


def _check_overlap(scans: Iterable[Scan], texts: tables.Texts, reports: Path | None) -> None:
    """A table that the user named and that fits no study at all is the wrong one, or its ids are written otherwise."""
    ids = [scan.id for scan in scans]
    if reports and not any(i in texts for i in ids):
        example = next(iter(texts.ids()), "nothing")
        raise UserError(
            f"none of the table's studies is among the {len(ids)} scans (it names '{example}', a scan is called '{ids[0]}')",
            reports,
            "The table's ids are the volumes' names, with or without ending.",
        )


def _source(scan: Scan, found: _Tables, splits: Mapping[str, str], masks: Path | None) -> Source:
    regions = found.texts.regions.get(scan.id, {})
    ordered = {r: regions[r] for r in REGIONS if r in regions}
    return Source(
        id=scan.id,
        scan=scan,
        masks=masks,
        split=splits.get(scan.id, ""),
        region_reports=ordered,
        report=found.texts.reports.get(scan.id) or " ".join(ordered.values()),
        labels=found.labels.get(scan.id, {}),
        notes=tuple(found.texts.notes.get(scan.id, ())),
        written=found.texts.written.get(scan.id, ""),
    )


class _MaskFinder:
    """The masks of a study by its id: `seg_ID` or `ID`, a folder or a file, in any of the mask folders (listed once)."""

    def __init__(self, roots: Iterable[Path], alone: bool) -> None:
        self._roots, self._alone = list(roots), alone
        self._names = {p.name: p for root in reversed(self._roots) if root.is_dir() for p in root.iterdir()}

    def find(self, id: str) -> Path | None:
        """The masks of study `id`, or None."""
        for stem in (f"seg_{id}", id):
            for name in (stem, *(stem + ending for ending in _MASK_ENDINGS)):
                if name in self._names:
                    return self._names[name]
        if self._alone and len(self._roots) == 1:
            root = self._roots[0]
            if root.is_file() or any(region_name(bare_name(name)) for name in self._names):
                return root
        return None
