"""`reg2rg view`: the grounded page of a study, a store, a reports file, an evaluation, a bench or a report's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import EXIT_USAGE, UserError
from .console import say

if TYPE_CHECKING:
    from ..contracts import GroundedReport, RegionMask, Study, Volume

_KINDS = (
    "Give a study's .h5 file, a store, a store's qc.csv, a reports file (.jsonl or .csv), an evaluation.json, a bench.json or "
    "bench folder, a demo's folder, or the folder of reg2rg report."
)


def command(
    path: Annotated[
        Path, typer.Argument(help="Study (.h5), store, its qc.csv, reports file, evaluation.json, bench or report folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The page to write (.html).")],
    data: Annotated[Path | None, typer.Option("--data", help="Store with the slices of a reports file's studies.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Scores to show; default: evaluation.json beside the reports, if it fits them.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a store, only this split's studies.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Studies shown with slices, the others as text.")] = 12,
    most: Annotated[int, typer.Option(min=1, help="Studies shown at all.")] = 500,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "",
) -> None:
    """Writes one self-contained page that works offline: slices with coloured regions beside the sentences.

    A click on a sentence shows its region. Reports without --data are shown as text only.

    Example: reg2rg view runs/demo/reports.jsonl --data runs/demo/store --out page.html
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError("the page's name must end in .html", out, "For example: --out page.html", EXIT_USAGE)
    if out.is_dir():
        raise UserError("this is a folder, not a page's name", out, f"For example: --out {out / 'page.html'}", EXIT_USAGE)
    if not path.exists():
        raise UserError("no such file or folder", path, _KINDS)
    options = {"data": data, "evaluation": evaluation, "split": split, "limit": limit, "most": most, "title": title}
    said = _maker(path)(path, out, options)
    size = out.stat().st_size / 1e6
    say(f"{out}: {said}, {size:.1f} MB. Open it in any browser; it needs no network.")


Options = Mapping[str, Any]
Maker = Callable[[Path, Path, Options], str]


def _maker(path: Path) -> Maker:
    """What writes the page of this kind of path. Raises UserError where no kind fits."""
    if path.is_dir():
        for name, maker in _FOLDERS.items():
            if (path / name).is_file():
                return maker
        if (path / "recipe.yaml").is_file():
            raise UserError("a run has no page", path, "Write its reports first: reg2rg generate RUN --data STORE --out FILE")
        raise UserError("nothing in this folder has a page", path, _KINDS)
    if path.name == "qc.csv" and (path.parent / "store.json").is_file():
        return _contact
    if path.suffix.lower() not in _FILES:
        raise UserError(f"a file that ends in '{path.suffix or path.name}' has no page", path, _KINDS)
    return _FILES[path.suffix.lower()]


def _study(path: Path, out: Path, options: Options) -> str:
    from ..data.store import read_mask, read_study, read_volume
    from ..page import write_study_page

    report = _reference(read_study(path))
    write_study_page(out, volume=read_volume(path), mask=read_mask(path), report=report, title=options["title"])
    return f"study {report.study} with its reference report" if report.sections else f"study {report.study}, without text"


def _reference(study: Study) -> GroundedReport:
    from ..page import reference_report

    return reference_report(study.id, study.region_reports, study.report)


def _store(path: Path, out: Path, options: Options) -> str:
    from ..data.store import Store

    store = Store(path)
    ids = store.ids(options["split"])
    if not ids:
        where = f" in its split '{options['split']}'" if options["split"] else ""
        raise UserError(f"the store has no study{where}", path, "List what it holds with: reg2rg inspect STORE")
    reports = [_reference(store.study(i)) for i in ids[: options["most"]]]
    return _reports_page(out, reports, len(ids), options, store=path)


def _contact(path: Path, out: Path, options: Options) -> str:
    from .contact import write_sheet

    pages = write_sheet(path.parent, out, split=options["split"], title=options["title"])
    return "contact sheet" if pages == 1 else f"contact sheet, with {pages - 1} pages in {out.with_suffix('')}"


def _reports(path: Path, out: Path, options: Options) -> str:
    from ..evaluate import read_reports

    reports = read_reports(path).reports
    scores = _scores(path, len(reports), options["evaluation"])
    return _reports_page(out, reports[: options["most"]], len(reports), options, store=options["data"], evaluation=scores)


def _demo(path: Path, out: Path, options: Options) -> str:
    store = options["data"] or (path / "store" if (path / "store" / "store.json").is_file() else None)
    return _reports(path / "reports.jsonl", out, {**options, "data": store})


def _scores(path: Path, n: int, named: Path | None) -> dict[str, Any] | None:
    """The evaluation that was named, or the one beside the reports where it counts as many studies."""
    beside = path.parent / "evaluation.json"
    if named is None and not beside.is_file():
        return None
    scores = _json(named or beside)
    if named is None and scores.get("n") != n:
        say(f"{beside} is of {scores.get('n')} studies, these are {n}: it is left out. --evaluation shows it anyway.")
        return None
    return scores


def _reports_page(
    out: Path,
    reports: Sequence[GroundedReport],
    n: int,
    options: Options,
    *,
    store: Path | None,
    evaluation: dict[str, Any] | None = None,
) -> str:
    from ..page import write_reports_page

    notes = [f"The first {len(reports)} of {n} studies; --most shows more."] if len(reports) < n else []
    loader = _loader(store, {r.study for r in reports}) if store else None
    if loader is None:
        notes.append("Text only: the store with the slices wasn't given (--data STORE).")
    write_reports_page(
        out,
        reports,
        store_loader=loader,
        evaluation=evaluation,
        floors=(evaluation or {}).get("floors"),
        notes=notes,
        title=options["title"],
        limit=options["limit"],
    )
    pictured = f"the first {min(options['limit'], len(reports))} with slices" if loader else "text only (slices: --data STORE)"
    return f"{len(reports)} {'study' if len(reports) == 1 else 'studies'}, {pictured}"


def _loader(path: Path, wanted: set[str]) -> Callable[[str], tuple[Volume, RegionMask]]:
    from ..data.store import Store

    store = Store(path)
    known = wanted & set(store.ids())
    if not known:
        raise UserError("the store holds none of these studies", path, f"The reports are of '{min(wanted)}' and others.")
    if lost := sorted(wanted - known):
        say(f"{len(lost)} of {len(wanted)} studies aren't in {path} ('{lost[0]}' …): they are shown as text.")
    return lambda study: (store.volume(study), store.mask(study))


def _report_folder(path: Path, out: Path, options: Options) -> str:
    """With a store the page is made anew; else the folder's own page, which holds its slices, is copied."""
    from ..contracts import GroundedReport

    report = GroundedReport.from_json(_json(path / "report.json"))
    made = path / "page.html"
    if options["data"] or not made.is_file():
        return _reports_page(out, [report], 1, options, store=options["data"])
    if not (out.exists() and out.samefile(made)):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, out)
    return f"study {report.study}, as reg2rg report drew it"


def _bench(path: Path, out: Path, options: Options) -> str:
    from ..page import write_bench_page

    bench = _json(path / "bench.json" if path.is_dir() else path)
    try:
        write_bench_page(out, bench, title=options["title"])
    except UserError as error:
        raise UserError(error.what, path, error.fix) from error
    return f"bench with {len(bench['rows'])} rows"


def _evaluation(path: Path, out: Path, options: Options) -> str:
    """The page of scores alone; `evaluate --out` writes the one with the studies' texts."""
    from ..evaluate.published import rows
    from ..page.evaluation import write_evaluation_page

    found = _json(path / "evaluation.json" if path.is_dir() else path)
    try:
        write_evaluation_page(out, found, published=rows(), title=options["title"])
    except UserError as error:
        raise UserError(error.what, path, error.fix) from error
    return f"the scores of {found['n']} studies"


def _json_file(path: Path, out: Path, options: Options) -> str:
    """A .json file is a bench, an evaluation, one report, or a reports file of another format."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None  # the reader of reports says what is wrong with it
    if isinstance(found, dict) and "rows" in found:
        return _bench(path, out, options)
    if isinstance(found, dict) and "study" in found:
        from ..contracts import GroundedReport

        return _reports_page(out, [GroundedReport.from_json(found)], 1, options, store=options["data"])
    if isinstance(found, dict) and "metrics" in found:
        return _evaluation(path, out, options)
    return _reports(path, out, options)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"can't be read ({error.strerror or error})", path) from error
    except ValueError as error:
        raise UserError(f"this isn't valid JSON ({error})", path) from error
    if not isinstance(found, dict):
        raise UserError(f"a JSON object was expected, this is a {type(found).__name__}", path)
    return found


_FOLDERS: dict[str, Maker] = {
    "store.json": _store,
    "bench.json": _bench,
    "report.json": _report_folder,
    "reports.jsonl": _demo,
    "evaluation.json": _evaluation,
}
_FILES: dict[str, Maker] = {
    ".h5": _study,
    ".jsonl": _reports,
    ".csv": _reports,
    ".json": _json_file,
}
