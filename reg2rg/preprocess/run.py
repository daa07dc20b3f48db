"""A whole data set → a store: what is to be done, what is done already, what was refused and why.

The same command goes on where it was interrupted; the sum always adds up: studies = done + skipped + refused.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..anatomy import REGIONS
from ..contracts import Study
from ..data import store
from ..data.layouts import Source, discover
from ..data.splitting import Splitter, lacks_sentences, with_sentences
from ..errors import UserError
from ..files import shared_file
from ..progress import Progress, silent
from ..shares import share
from .cluster import Elsewhere
from .pool import run_all
from .qc_table import Row, read_row, write_table
from .study import Job, Outcome, Settings, fingerprint, run_job

COLUMNS = ("study", "stage", "error", "hint")


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended; `failures` are the rows of failures.csv that it wrote, `traces` their tracebacks when debugging.

    `unsplit` counts studies with a whole report and no region sentences; `fallbacks` those that their splitter left to another;
    `rest` the studies of the data set that no part has come to yet.
    """

    studies: int
    done: int
    skipped: int
    refused: int
    seconds: float
    store: str
    failures: tuple[dict[str, str], ...] = ()
    traces: tuple[str, ...] = ()
    unsplit: int = 0
    fallbacks: int = 0
    rest: int = 0

    def to_json(self) -> dict[str, Any]:
        """The summary as `preprocess --json` prints it."""
        data = dataclasses.asdict(self)
        return {key: data[key] for key in ("studies", "done", "skipped", "refused", "seconds", "store")}


def preprocess(
    source: Path,
    out: Path,
    *,
    segmenter: str = "threshold",
    options: Mapping[str, Any] | None = None,
    masks: Path | None = None,
    layout: str = "auto",
    reports: Path | None = None,
    split: Path | None = None,
    columns: Mapping[str, str] | None = None,
    splitter: Splitter | None = None,
    workers: int = 0,
    cluster: str = "",
    shard: str = "",
    force: bool = False,
    keep_ids: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Makes a store of every study in `source`.

    `splitter` makes region sentences of whole reports that come without them. `workers` 0 works in this process; `shard`
    "I/N" takes the I-th of N parts (from 1); `force` makes finished studies again; `keep_ids` keeps DICOM's SeriesInstanceUID
    as the study's id instead of a salted hash. Raises UserError where nothing can be begun; a study that is refused is a row
    of failures.csv and of the summary.
    """
    began = time.monotonic()
    if cluster:  # its workers stand in another folder
        source, out, masks = Path(source).absolute(), Path(out).absolute(), Path(masks).absolute() if masks else None
    given = str(Path(masks).resolve()) if masks else ""
    settings = Settings(segmenter, json.dumps(dict(options or {}), sort_keys=True, default=str), given, keep_ids)
    print_ = fingerprint(settings)
    sources = discover(Path(source), layout, masks, reports, split, keep_ids=keep_ids, columns=columns)
    _check_ids(sources)
    part, out = share(sources, shard), Path(out)
    total, whole = len(sources), len(part) == len(sources)
    del sources  # one part's run needn't hold the texts of all
    part = with_sentences(part, splitter, progress)
    phantom = (Path(source) / "phantom.json").is_file()
    info = _info(settings, print_, layout, phantom)
    _open(out, info, force)
    tally = _Tally(len(part), progress)
    jobs = _plan(part, out, settings, None if force else print_, tally)
    try:
        with contextlib.closing(run_all(Elsewhere(print_) if cluster else run_job, jobs, workers, cluster)) as running:
            for outcome in running:
                tally.end(outcome)
    finally:
        _sweep(out, None if whole else {s.id for s in part})
        failures, settled = _close(out, info, tally, part, whole)
    done = sum(o.status == "done" for o in tally.outcomes)
    traces = tuple(o.trace for o in tally.outcomes if o.trace)
    seconds = round(time.monotonic() - began, 3)
    unsplit, left = sum(map(lacks_sentences, part)), sum(s.left_to_another for s in part)
    counts = (len(part), done, len(tally.skipped), len(failures))
    return Summary(*counts, seconds, str(out), tuple(failures), traces, unsplit, left, max(0, total - settled))


@dataclasses.dataclass(slots=True)
class _Tally:
    """What became of the studies so far, so that an interrupted run knows what it did."""

    total: int
    progress: Progress
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    skipped: set[str] = dataclasses.field(default_factory=set)
    rows: dict[str, Row] = dataclasses.field(default_factory=dict)

    def end(self, outcome: Outcome) -> None:
        """A study was stored, refused, or there already."""
        if outcome.status == "skipped":
            self.skipped.add(outcome.id)
        else:
            self.outcomes.append(outcome)
        if outcome.row:
            self.rows[outcome.id] = outcome.row
        self.progress("preprocess", len(self.outcomes) + len(self.skipped), self.total, outcome.id)

    def settled(self) -> set[str]:
        """The studies that the run came to."""
        return self.skipped.union(o.id for o in self.outcomes)


def _check_ids(sources: list[Source]) -> None:
    seen: set[str] = set()
    for source in sources:
        if source.id in seen:
            raise UserError(f"two scans are called '{source.id}'", fix="Give each volume a name of its own.")
        seen.add(source.id)


def _info(settings: Settings, print_: str, layout: str, phantom: bool) -> dict[str, Any]:
    return {
        "format": store.FORMAT,
        "reg2rg": __version__,
        "segmenter": {"name": settings.segmenter, "options": json.loads(settings.options), "fingerprint": print_},
        "settings": {"layout": layout, "keep_ids": settings.keep_ids},
        "regions": list(REGIONS),
        "phantom": phantom,
        "counts": {"studies": 0, "refused": 0},
    }


def _open(out: Path, info: dict[str, Any], force: bool) -> None:
    """Makes the store's folder, or checks that the one there was made the same way."""
    if out.exists() and not out.is_dir():
        raise UserError("the store is a folder, this is a file", out, "Name a new folder with --out.")
    if store.is_store(out):
        _check_same(out, info, force)
        info = {**info, "counts": store.Store(out).info.get("counts", info["counts"])}  # until the end counts anew
    elif out.is_dir() and any(not p.name.startswith(".") and p.name != "studies" for p in out.iterdir()):
        raise UserError("the folder isn't empty and is no store", out, "Name a new folder with --out.")
    try:
        (out / "studies").mkdir(parents=True, exist_ok=True)
        store.write_info(out, info)
    except OSError as error:
        raise UserError(f"the store can't be written ({error.strerror})", out, "Choose another folder with --out.") from error


def _check_same(out: Path, info: dict[str, Any], force: bool) -> None:
    before = store.Store(out).info.get("segmenter", {})
    names = [f"'{s.get('name')}' {s.get('options') or ''}".strip() for s in (before, info["segmenter"])]
    if names[0] != names[1] and not force:
        raise UserError(
            f"the store was made with the segmenter {names[0]}, not {names[1]}",
            out,
            "Name another folder with --out, or make its studies again with --force.",
        )


def _plan(sources: Iterable[Source], out: Path, settings: Settings, print_: str | None, tally: _Tally) -> Iterator[Job]:
    """What is to be done, found out as workers ask for it, so that a long data set's first study doesn't wait for its last.

    Studies made with the fingerprint `print_` (None: make all) are left as they are, or get their new text; those that an
    earlier version stored without measuring their quality are measured.
    """
    for source in sources:
        path = out / "studies" / f"{source.id}.h5"
        if print_ is None or (kept := _kept(path, print_)) is None:
            yield Job(source, path, settings)
            continue
        wanted, status = source.study(kept.provenance), "skipped"
        if kept != wanted:
            store.rewrite_text(path, wanted)
            status = "done"
        if row := read_row(path):
            tally.end(Outcome(source.id, status, row=row))
        else:
            yield Job(source, path, settings, stored_as=status)


def _kept(path: Path, print_: str) -> Study | None:
    """The text of a study that is there, whole and made as this run makes it; None of any other."""
    try:
        return store.read_study(path) if path.exists() and store.study_fingerprint(path) == print_ else None
    except UserError:
        return None


def _sweep(out: Path, own: set[str] | None) -> None:
    """Removes what killed workers left half-written: all of it, or (`own`) only of this part's studies."""
    for path in (out / "studies").glob(".*.tmp"):
        name = path.name[1:].partition(".h5.")[0]
        if own is None or name in own:
            path.unlink(missing_ok=True)


def _close(out: Path, info: dict[str, Any], tally: _Tally, part: list[Source], whole: bool) -> tuple[list[dict[str, str]], int]:
    """Writes the tables and the counts; rows of other parts stay, and those of studies that this run didn't come to.

    Gives this run's refusals, and how many studies of all parts are stored or refused by now.
    """
    rows = [{c: str(getattr(o, "id" if c == "study" else c)) for c in COLUMNS} for o in tally.outcomes if o.status == "refused"]
    for row in rows:
        _drop_stale(out / "studies" / f"{row['study']}.h5", info["segmenter"]["fingerprint"])
    with locked(out):
        own, settled = {source.id for source in part}, tally.settled()
        known = [r for r in read_failures(out) if r["study"] not in settled]
        kept = [r for r in known if not whole or r["study"] in own]
        merged = sorted([*rows, *kept], key=lambda r: r["study"])
        with shared_file(out / "failures.csv") as temp:
            _write_rows(temp, merged)
        write_table(out, tally.rows)
        finished = sum(1 for p in (out / "studies").iterdir() if p.suffix == ".h5" and p.name[0] != ".")
        store.write_info(out, {**info, "counts": {"studies": finished, "refused": len(merged)}})
    return rows, finished + len(merged)


def _drop_stale(path: Path, print_: str) -> None:
    """A study that is refused now leaves no older version made otherwise; one of the same making (--force) stays."""
    with contextlib.suppress(UserError):
        if store.study_fingerprint(path) == print_:
            return
    path.unlink(missing_ok=True)


def read_failures(out: Path) -> list[dict[str, str]]:
    """The rows of a store's failures.csv."""
    path = out / "failures.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{c: row.get(c) or "" for c in COLUMNS} for row in csv.DictReader(file)]


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps the parts of a job array from writing one file at once, where the file system has locks.

    The lock is on a file of its own, open for writing: network file systems lock nothing else.
    """
    handle = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
