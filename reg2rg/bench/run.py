"""Runs a bench: every row is trained, its test reports written and scored; rows of a pair are compared study by study.

A row's run lies under `rows/<fingerprint>/` and is taken from there when the bench goes on after a kill; one row's failure
is recorded and stops no other.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contracts import GroundedReport
from ..data.store import Store
from ..demo import generate_split, run_recipe
from ..errors import UserError
from ..evaluate import compare, evaluate
from ..files import write_text
from ..page import write_bench_page
from ..pipeline import Reg2RG
from ..progress import Progress, silent
from . import paper
from .plan import Plan, Row

Labels = Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """A finished row: its line of bench.json and its reports."""

    line: dict[str, Any]
    reports: list[GroundedReport]


def bench(
    plan: Plan, store: Store, out: Path, *, pretrained: bool, notes: list[str], progress: Progress = silent
) -> dict[str, Any]:
    """Trains and compares the plan's rows on `store`; writes bench.json and page.html into `out` and gives the document.

    `pretrained`: whether each row's encoder is first trained on finding labels. Raises UserError where every row failed.
    """
    labels = {s.id: s.labels for s in store.studies("test") if s.labels}
    done: dict[tuple[str, int], Done] = {}
    failures = []
    for number, row in enumerate(plan.rows):
        progress("Rows", number, len(plan.rows), f"{row.name}, seed {row.seed}")
        try:
            done[row.name, row.seed] = _row(row, store, out, labels, pretrained, progress)
        except UserError as error:
            failures.append({"name": row.name, "seed": row.seed, "error": str(error)})
    progress("Rows", len(plan.rows), len(plan.rows))
    if not done:
        raise UserError(f"every row failed; the first: {failures[0]['error']}", out)
    document = {
        "rows": [d.line for d in done.values()],
        "comparisons": _comparisons(plan, done, labels),
        "paper": paper.rows(list(plan.tables)),
        "failures": failures,
        "notes": notes,
        "settings": _settings(plan, store),
    }
    write_text(out / "bench.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_bench_page(out / "page.html", document)
    return document


def _row(row: Row, store: Store, out: Path, labels: Labels, pretrained: bool, progress: Progress) -> Done:
    folder = out / "rows" / f"{row.recipe.fingerprint()}-{store.fingerprint()}"
    finished = folder / "row.json"
    if not finished.is_file():
        started = time.monotonic()
        encoder = folder / "encoder" if pretrained else None
        run_recipe(row.recipe, store, folder / "run", encoder, seed=row.seed, progress=progress)
        model = Reg2RG.from_pretrained(folder / "run")
        shuffled = {"shuffle_regions": row.recipe.alignment.shuffle}
        reports = generate_split(model, store, folder / "reports.jsonl", changes=shuffled, progress=progress)
        parameters = sum(p.numel() for p in model.model.parameters())
        metrics = _scores(reports, labels)
        facts = {"metrics": metrics, "seconds": round(time.monotonic() - started, 1), "parameters": parameters}
        write_text(finished, json.dumps(facts, indent=2) + "\n")
    facts = json.loads(finished.read_text())
    lines = (folder / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    line = {"name": row.name, "group": row.group, "recipe": row.recipe.name, "seed": row.seed, **facts}
    line["steps"] = {"pretraining": row.recipe.pretraining.max_steps, "training": row.recipe.training.max_steps}
    return Done(line, [GroundedReport.from_json(json.loads(text)) for text in lines])


def _scores(reports: list[GroundedReport], labels: Labels) -> dict[str, Any]:
    """The numbers of a row, with intervals over studies."""
    found = evaluate(reports, metrics=("bleu", "meteor", "rouge", "clinical", "recognition"), labels=labels or None)
    scores: dict[str, Any] = {k: v for k, v in found["metrics"].items() if k in ("bleu1", "bleu4", "meteor", "rougeL")}
    if "clinical" in found:
        micro, low_high = found["clinical"]["micro"], found["clinical"]["micro_interval"]
        for name, key in (("precision", "precision"), ("recall", "recall"), ("micro_f1", "f1")):
            scores[name] = {"value": micro[key], "low": low_high[key][0], "high": low_high[key][1]}
    if "region_recognition" in found:
        scores["recognition"] = {"value": found["region_recognition"]["accuracy"]}
    return scores


def _comparisons(plan: Plan, done: Mapping[tuple[str, int], Done], labels: Labels) -> list[dict[str, Any]]:
    seeds = sorted({row.seed for row in plan.rows})
    rows = []
    for a, b in plan.pairs:
        for seed in seeds:
            if (a, seed) in done and (b, seed) in done:
                found = compare(done[a, seed].reports, done[b, seed].reports, labels=labels or None)
                rows += [{"a": a, "b": b, "seed": seed, **number} for number in found]
    return rows


def _settings(plan: Plan, store: Store) -> dict[str, Any]:
    return {
        "train_studies": len(store.ids("train")),
        "test_studies": len(store.ids("test")),
        "seeds": len({row.seed for row in plan.rows}),
        "data": store.fingerprint(),
    }
