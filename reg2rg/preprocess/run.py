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
from ..data import store
from ..data.layouts import Source, discover
from ..errors import UserError
from ..progress import Progress, silent
from ..shares import share
from .pool import run_all
from .study import Job, Outcome, Settings, fingerprint, run_job

COLUMNS = ("study", "stage", "error", "hint")


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended; `failures` are the rows of failures.csv that it wrote, `traces` their tracebacks when debugging."""

    studies: int
    done: int
    skipped: int
    refused: int
    seconds: float
    store: str
    failures: tuple[dict[str, str], ...] = ()
    traces: tuple[str, ...] = ()

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
    workers: int = 0,
    cluster: str = "",
    shard: str = "",
    force: bool = False,
    keep_ids: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Makes a store of every study in `source`.

    `workers` 0 works in this process; `shard` "I/N" takes the I-th of N parts (from 1); `force` makes finished studies
    again; `keep_ids` keeps DICOM's SeriesInstanceUID as the study's id instead of a salted hash. Raises UserError where
    nothing can be begun; a study that is refused is a row of failures.csv and of the summary.
    """
    began = time.monotonic()
    given = str(Path(masks).resolve()) if masks else ""
    settings = Settings(segmenter, json.dumps(dict(options or {}), sort_keys=True, default=str), given, keep_ids)
    print_ = fingerprint(settings)
    sources = discover(Path(source), layout, masks, reports, split, keep_ids=keep_ids, columns=columns)
    _check_ids(sources)
    part = share(sources, shard)
    out = Path(out)
    phantom = (Path(source) / "phantom.json").is_file()
    info = _info(settings, print_, layout, phantom)
    _open(out, info, force)
    jobs, skipped, renewed = _plan(part, out, settings, print_, force, progress)
    outcomes = [Outcome(i, "done") for i in renewed]
    try:
        _work(jobs, outcomes, workers, cluster, progress)
    finally:
        _sweep(out, None if part == sources else {s.id for s in part})
        failures = _close(out, info, outcomes, part, whole=part == sources)
    done = sum(o.status == "done" for o in outcomes)
    traces = tuple(o.trace for o in outcomes if o.trace)
    seconds = round(time.monotonic() - began, 3)
    return Summary(len(part), done, skipped, len(failures), seconds, str(out), tuple(failures), traces)


def _work(jobs: list[Job], outcomes: list[Outcome], workers: int, cluster: str, progress: Progress) -> None:
    """Adds the outcome of each job to `outcomes` as it ends, so that an interrupted run knows what it did."""
    total = len(outcomes) + len(jobs)
    with contextlib.closing(run_all(run_job, jobs, workers, cluster)) as running:
        for outcome in running:
            outcomes.append(outcome)
            progress("preprocess", len(outcomes), total, outcome.id)


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
    elif out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir()):
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


def _plan(
    sources: Iterable[Source], out: Path, settings: Settings, print_: str, force: bool, progress: Progress
) -> tuple[list[Job], int, list[str]]:
    """The jobs to do, how many studies are finished, and the ids whose text alone was renewed."""
    jobs, skipped, renewed = [], 0, []
    sources = list(sources)
    for i, source in enumerate(sources):
        path = out / "studies" / f"{source.id}.h5"
        state = "missing" if force or not path.exists() else _state(path, source, print_)
        if state == "finished":
            skipped += 1
        elif state == "other text":
            store.rewrite_text(path, source.study(store.read_study(path).provenance))
            renewed.append(source.id)
        else:
            jobs.append(Job(source, path, settings))
        if path.exists():
            progress("look for finished studies", i + 1, len(sources))
    return jobs, skipped, renewed


def _state(path: Path, source: Source, print_: str) -> str:
    try:
        if store.study_fingerprint(path) != print_:
            return "stale"
        kept = store.read_study(path)
    except UserError:
        return "broken"
    wanted = source.study(kept.provenance)
    return "finished" if kept == wanted else "other text"


def _sweep(out: Path, own: set[str] | None) -> None:
    """Removes what killed workers left half-written: all of it, or (`own`) only of this part's studies."""
    for path in (out / "studies").glob(".*.tmp"):
        name = path.name[1:].partition(".h5.")[0]
        if own is None or name in own:
            path.unlink(missing_ok=True)


def _close(out: Path, info: dict[str, Any], outcomes: list[Outcome], part: list[Source], whole: bool) -> list[dict[str, str]]:
    """Writes failures.csv and the counts; rows of other parts of the data set stay."""
    rows = [{c: str(getattr(o, "id" if c == "study" else c)) for c in COLUMNS} for o in outcomes if o.status == "refused"]
    for row in rows:
        _drop_stale(out / "studies" / f"{row['study']}.h5", info["segmenter"]["fingerprint"])
    with _locked(out):
        own = {source.id for source in part}
        kept = [] if whole else [r for r in read_failures(out) if r["study"] not in own]
        merged = sorted([*rows, *kept], key=lambda r: r["study"])
        store.replace_file(out / "failures.csv", lambda temp: _write_rows(temp, merged))
        finished = sum(1 for p in (out / "studies").iterdir() if p.suffix == ".h5" and p.name[0] != ".")
        store.write_info(out, {**info, "counts": {"studies": finished, "refused": len(merged)}})
    return rows


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
def _locked(folder: Path) -> Iterator[None]:
    """Keeps the parts of a job array from writing one file at once, where the file system has locks."""
    handle = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
