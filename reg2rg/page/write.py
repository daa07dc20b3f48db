"""Writes the pages: one study, a file of reports with its scores, a bench. Each is one HTML file that works offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contracts import GroundedReport, RegionMask, Volume
from ..errors import UserError
from ..files import write_text
from .bench import classes, comparison_rows, costs, evidence, groups, methods, paper_tables, run_rows
from .encode import encode_study
from .render import render
from .study import StudyView, flat_settings, view_study, warnings
from .summary import findings, recognised, score_table

StoreLoader = Callable[[str], tuple[Volume, RegionMask]]


def write_study_page(
    path: Path, *, volume: Volume, mask: RegionMask, report: GroundedReport, notes: Sequence[str] = (), title: str = ""
) -> None:
    """Writes the grounded page of one study: slices with coloured regions beside the report's sentences.

    `notes` and the report's own warnings (settings "notes", "warnings") stand in a banner at the top. The page is
    deterministic: the same input gives the same bytes. Raises UserError where mask and volume differ in shape.
    """
    banner = _banner(notes, [report])
    study = view_study(report, volume, mask, banner=banner)
    html = render(
        "study.html.j2",
        study=study,
        title=title or ("Reference report" if study.is_reference else "Grounded chest CT report"),
        notes=banner,
        grid=describe_grid(volume),
        data=encode_study(volume, mask),
    )
    write_text(Path(path), html)


def _banner(notes: Sequence[str], reports: Sequence[GroundedReport]) -> list[str]:
    """The notes, and the warnings that every report has, each once."""
    shared = [w for w in warnings(reports[0]) if all(w in warnings(r) for r in reports[1:])] if reports else []
    return list(dict.fromkeys([*notes, *shared]))


def write_reports_page(
    path: Path,
    reports: Sequence[GroundedReport],
    *,
    store_loader: StoreLoader | None = None,
    evaluation: Mapping[str, Any] | None = None,
    floors: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
    title: str = "",
    limit: int = 12,
) -> None:
    """Writes one page of many reports: their scores on top, then every study, the first `limit` of them with slices.

    `store_loader` gives a study's volume and mask by its id (a study that it refuses with UserError is shown as text);
    `evaluation` is the document of `evaluate --json`; `floors` maps a row's name to its numbers by metric, such as
    {"label prior": {"micro_f1": {"value": .28, "low": .26, "high": .3}, "bleu4": {"value": .35}}}; a row's optional "kind"
    is "floor" (the default), "ceiling" (the default for names that begin with "perfect" or "ceiling") or "model". Numbers
    lie in 0–1; a bare number stands for {"value": number}.
    """
    banner = _banner(notes, reports)
    cases, payloads = _cases(reports, store_loader, limit, banner)
    table = score_table(evaluation, floors)
    scored = evaluation or {}
    only_references = bool(cases) and all(case.is_reference for case in cases)
    html = render(
        "reports.html.j2",
        title=title or ("Reference reports" if only_references else "Grounded chest CT reports"),
        notes=banner,
        cases=cases,
        payloads=payloads,
        opened=next((case.key for case in cases if case.pictured or len(cases) == 1), ""),
        pictured=sum(case.pictured for case in cases),
        any_mistakes=any(case.mistakes for case in cases),
        evaluation={"n": scored.get("n", len(reports)), "skipped": scored.get("skipped") or {}},
        scores=table,
        whiskers=table is not None and any(c.low is not None for row in table.rows for c in row.cells.values()),
        findings=findings(scored),
        recognised=recognised(scored),
        settings=_common_settings(reports),
    )
    write_text(Path(path), html)


def _cases(
    reports: Sequence[GroundedReport], store_loader: StoreLoader | None, limit: int, banner: Sequence[str]
) -> tuple[list[StudyView], dict[str, dict[str, Any]]]:
    cases: list[StudyView] = []
    payloads: dict[str, dict[str, Any]] = {}
    for i, report in enumerate(reports):
        key = f"s{i}"
        if store_loader is None or len(payloads) >= limit:
            cases.append(view_study(report, key=key, banner=banner))
            continue
        try:
            volume, mask = store_loader(report.study)
            payloads[key] = encode_study(volume, mask)
            cases.append(view_study(report, volume, mask, key=key, banner=banner))
        except UserError as error:  # the text of a study is worth a page even where its slices are missing
            cases.append(view_study(report, key=key, banner=banner, trouble=str(error)))
    return cases, payloads


def _common_settings(reports: Sequence[GroundedReport]) -> list[tuple[str, str]]:
    """The settings that all reports share."""
    if not reports:
        return []
    others = [dict(flat_settings(r.settings)) for r in reports]
    return [(k, v) for k, v in others[0].items() if all(o.get(k) == v for o in others)]


def write_bench_page(path: Path, bench: Mapping[str, Any], *, title: str = "", notes: Sequence[str] = ()) -> None:
    """Writes a bench (the document of `bench --json`): methods, comparisons, the paper's rows beside them, the runs.

    Raises UserError where `bench` has no rows that are objects.
    """
    rows = bench.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UserError("a bench has a list 'rows' of objects", fix="Make one with: reg2rg bench --out DIR")
    made = methods(rows)
    html = render(
        "bench.html.j2",
        title=title or "Bench",
        notes=[*notes, *bench.get("notes", ())],
        rows_n=len(made),
        seeds=len({str(row.get("seed")) for row in rows}),
        both=bool(bench.get("summary")),
        groups=groups(bench),
        classes=classes(bench),
        evidence=evidence(bench),
        costs=costs(bench),
        failures=bench.get("failures") or (),
        comparisons=comparison_rows(bench.get("comparisons") or ()),
        paper=paper_tables(bench.get("paper") or ()),
        runs=run_rows(rows),
        settings=list(flat_settings(bench.get("settings") or {})),
    )
    write_text(Path(path), html)


def describe_grid(volume: Volume) -> str:
    """Voxels and their size in words."""
    shape = " × ".join(map(str, volume.shape))
    spacing = " × ".join(f"{s:.3g}" for s in volume.spacing)
    return f"{shape} voxels of {spacing} mm"
