"""Runs a bench: encoders, then every run in a process of its own, then the scores; what is there already is kept.

A run that fails is a line under "failures" and stops no other; the same command goes on after a kill. At the end stand
bench.json, the tables, the CSV and the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.store import Store
from ..errors import UserError
from ..evaluate.labels import remembering
from ..files import write_text
from ..page import write_bench_page
from ..phantom import EVIDENCE
from ..progress import Progress, silent
from . import paper
from .evidence import check
from .jobs import Ended, Job, run_jobs
from .plan import Plan, Row, encoder_key, encoders
from .row import Place, finished, make_encoder, make_run
from .scores import Measured, differences, measure, over_seeds
from .tables import as_csv, as_latex, as_markdown
from .together import RANK, WORLD

DRAWS = 1000
STEPS, TRIAL = 450, 100  # of the evidence check; and how few steps a row has where the bench is only tried


def bench(
    plan: Plan, place: Place, *, jobs: int = 1, notes: Sequence[str] = (), progress: Progress = silent
) -> tuple[dict[str, Any], list[str]]:
    """Trains and compares the plan's rows on the place's store, `jobs` at a time, and writes the results into its folder.

    Gives bench.json's document ({} in all but the first of a launcher's processes) and the tracebacks of what failed, where
    REG2RG_DEBUG is set. Raises UserError where every row failed, and where there is nothing to train or to score.
    """
    store, out = Store(place.store), place.out
    for split in ("train", place.split):
        store.chosen(split)
    failed, traces = _train(plan, place, jobs, progress)
    if RANK != 0:
        return {}, traces
    document = _document(plan, place, store, failed, list(notes), progress)
    if document["classes"] and document["rows"]:
        few = min(row.recipe.pretraining.max_steps or STEPS for row in plan.rows)
        document["evidence"] = _evidence(place, store, document["classes"], few if few < TRIAL else STEPS, progress)
    if not document["rows"]:
        raise UserError(f"every row failed; the first: {next(iter(failed.values()))}", out)
    write_results(out, document)
    return document, traces


def write_results(out: Path, document: Mapping[str, Any]) -> None:
    """bench.json, .csv, .md, .tex and page.html."""
    write_text(out / "bench.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "bench.csv", as_csv(document))
    write_text(out / "bench.md", as_markdown(document))
    write_text(out / "bench.tex", as_latex(document))
    write_bench_page(out / "page.html", document)


def _train(plan: Plan, place: Place, jobs: int, progress: Progress) -> tuple[dict[str, str], list[str]]:
    """Does what is left, encoders first, since several runs may need the same; gives run → error, and tracebacks.

    Runs whose encoder failed aren't tried: they failed for its reason.
    """
    left = [row for row in plan.runs.values() if finished(place, row) is None]
    failed, traces = dict[str, str](), list[str]()
    if place.pretrained:
        ended = _stage("Encoders", [_job(make_encoder, place, row) for row in encoders(left).values()], jobs, progress)
        broken = {encoder_key(e.job.arguments[1].recipe): e.error for e in ended if e.error}
        failed = {row.run: broken[key] for row in left if (key := encoder_key(row.recipe)) in broken}
        traces = [e.trace for e in ended if e.trace]
    wanted = [_job(make_run, place, row) for row in left if row.run not in failed]
    ended = _stage("Runs", wanted, jobs, progress)
    failed |= {e.job.arguments[1].run: e.error for e in ended if e.error}
    return failed, [*traces, *(e.trace for e in ended if e.trace)]


def _stage(name: str, tasks: Sequence[Job], jobs: int, progress: Progress) -> list[Ended]:
    ended = []
    for each in _work(tasks, jobs, progress):
        ended.append(each)
        progress(name, len(ended), len(tasks), each.job.name)
    return ended


def _job(work: Any, place: Place, row: Row) -> Job:
    return Job(f"{row.name}, seed {row.seed}", work, (place, row))


def _work(tasks: Sequence[Job], jobs: int, progress: Progress) -> Iterator[Ended]:
    """Each job as it ends: in processes of their own, or, where a launcher made the processes, in this one."""
    if WORLD == 1:
        yield from run_jobs(tasks, jobs, progress)
        return
    for job in tasks:
        try:
            job.work(*job.arguments, progress)
            yield Ended(job, "", 0.0, 0.0)
        except UserError as error:
            yield Ended(job, str(error), 0.0, 0.0)


def _document(
    plan: Plan, place: Place, store: Store, failed: Mapping[str, str], notes: list[str], progress: Progress
) -> dict[str, Any]:
    studies = store.studies(place.split)
    labels = {s.id: s.labels for s in studies if s.labels} or None
    phantom = bool(store.info.get("phantom"))
    classes = by_class() if phantom else {}
    facts: dict[str, dict[str, Any]] = {}
    measured: dict[str, Measured] = {}
    with remembering():
        for number, (key, row) in enumerate(plan.runs.items(), start=1):
            if (done := finished(place, row)) is not None:
                facts[key], measured[key] = done[0], measure(done[1], labels, classes, draws=DRAWS)
            progress("Scores", number, len(plan.runs))
    rows = [row for row in plan.rows if row.run in measured]
    by_name: dict[str, dict[int, Measured]] = {}
    for row in rows:
        by_name.setdefault(row.name, {})[row.seed] = measured[row.run]
    return {
        "rows": [_line(row, facts[row.run], measured[row.run]) for row in rows],
        "summary": [_summary(name, found, rows, facts) for name, found in by_name.items()],
        "comparisons": _comparisons(plan, by_name),
        "paper": paper.rows(plan.tables),
        "classes": {name: list(findings) for name, findings in classes.items()},
        "titles": dict(plan.titles),
        "failures": [
            {"name": row.name, "seed": row.seed, "error": failed[row.run]}
            for row in plan.rows
            if row.run in failed and row.run not in measured
        ],
        "notes": notes,
        "settings": {
            "train_studies": len(store.ids("train")),
            "test_studies": len(studies),
            "seeds": len({row.seed for row in plan.rows}),
            "data": place.data,
            "draws": DRAWS,
        },
    }


def _evidence(
    place: Place, store: Store, classes: Mapping[str, Sequence[str]], steps: int, progress: Progress
) -> list[dict[str, Any]]:
    """The evidence check of the phantoms' classes, made once for their store."""
    kept = place.out / "evidence" / f"{place.data}-{steps}.json"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        write_text(kept, json.dumps(check(store, classes, steps=steps, progress=progress), indent=2) + "\n")
    rows: list[dict[str, Any]] = json.loads(kept.read_text())
    return rows


def by_class() -> dict[str, list[str]]:
    """The phantom's evidence classes, each with its findings."""
    found: dict[str, list[str]] = {}
    for finding, name in EVIDENCE.items():
        found.setdefault(name, []).append(finding)
    return found


def _line(row: Row, facts: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """One row of one seed, as interface.md has it; intervals are over studies."""
    steps = {"pretraining": row.recipe.pretraining.max_steps, "training": row.recipe.training.max_steps}
    named = {"name": row.name, "group": row.group, "recipe": row.recipe.name, "seed": row.seed, "run": row.run}
    return {**named, "metrics": over_seeds([measured]), **facts, "steps": steps}


def _summary(
    name: str, found: Mapping[int, Measured], rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """One row over its seeds; intervals are over seeds and studies, costs means over seeds."""
    own = [row for row in rows if row.name == name]
    costs = {key: [facts[row.run][key] for row in own] for key in ("seconds", "peak_mib")}
    return {
        "name": name,
        "group": own[0].group,
        "recipe": own[0].recipe.name,
        "seeds": sorted(found),
        "metrics": over_seeds([found[seed] for seed in sorted(found)]),
        **{key: round(sum(values) / len(values), 1) for key, values in costs.items()},
        "parameters": facts[own[0].run]["parameters"],
        "trained_parameters": facts[own[0].run]["trained_parameters"],
    }


def _comparisons(plan: Plan, by_name: Mapping[str, Mapping[int, Measured]]) -> list[dict[str, Any]]:
    """Each pair over the seeds that both have."""
    rows = []
    for a, b in plan.pairs:
        seeds = sorted(set(by_name.get(a, ())) & set(by_name.get(b, ())))
        if seeds:
            found = differences([by_name[a][s] for s in seeds], [by_name[b][s] for s in seeds])
            rows += [{"a": a, "b": b, "seeds": len(seeds), **number} for number in found]
    return rows
