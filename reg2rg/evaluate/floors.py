"""What a report must beat: reports written without a look at the scan, scored as the model's are.

Text metrics barely tell these floors from a perfect reader in other words, so no table should stand without them.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import GroundedReport, Study
from ..errors import UserError
from . import clinical
from .bootstrap import Block, estimate
from .choice import Named
from .evaluation import evaluate
from .labels import label_reports, label_texts, matched
from .shelf import Reports, View, texts_alone, with_reference

ALWAYS, SHUFFLED = "all findings always", "this file's reports, shuffled"
SHOWN = ("bleu1", "bleu4", "rougeL", "meteor")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
Labels = Mapping[str, Mapping[str, int]]
Writer = Callable[[int], Mapping[str, str] | str]  # a test study's place → region texts, or a whole text; always the same


def floors(
    reports: Reports,
    *,
    train: Sequence[Study],
    labels: Labels | None = None,
    seed: int = 0,
    ci: int = 1000,
    labeler: Named = "rules",
    metrics: Sequence[str] = ("bleu", "rouge"),
    extra: Mapping[str, Reports] | None = None,
) -> dict[str, dict[str, Any]]:
    """Row name → metric name → {value, low, high} for the constant baselines, and for the rows of `extra` alike.

    `reports` give the test studies, their regions and references; `train` the texts and labels that the baselines know.
    Metric names: micro_f1, macro_f1 and what `metrics` give of BLEU-1, BLEU-4, ROUGE-L and METEOR. Raises UserError where no
    train study has text.
    """
    told = [s for s in train if s.report or s.region_reports]
    if not told:
        raise UserError("no study of the train split has a report", fix="The floors need the train split's texts.")
    known = _train_labels(told, labeler)
    rng = np.random.default_rng(seed)
    writers: dict[str, Writer] = {
        "most frequent report": _constant(_most_frequent_report(told)),
        "most frequent sentence of each region": _constant(_most_frequent_sentences(told)),
        "label prior": _label_prior(told, known, rng, len(reports)),
        "another study": _another(told, rng, len(reports)),
    }
    rows: dict[str, Reports] = {**(extra or {}), **{name: _as_written(reports, writer) for name, writer in writers.items()}}
    settings: dict[str, Any] = {"labels": labels, "labeler": labeler, "ci": ci, "seed": seed}
    scored = {name: score_row(row, metrics=metrics, **settings) for name, row in rows.items()}
    return {**scored, ALWAYS: _always(reports, **settings)}


def floors_without_train(
    reports: Reports,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    ci: int = 1000,
    labeler: Named = "rules",
    metrics: Sequence[str] = ("bleu", "rouge"),
) -> dict[str, dict[str, Any]]:
    """The rows that need no train split: each study with the report of another study of the file, and all findings always.

    What the shuffled reports reach is what the file would score if no report belonged to its scan.
    """
    settings: dict[str, Any] = {"labels": labels, "labeler": labeler, "ci": ci, "seed": seed}
    return {**shuffled_row(reports, metrics=metrics, **settings), ALWAYS: _always(reports, **settings)}


def shuffled_row(reports: Reports, *, seed: int = 0, **settings: Any) -> dict[str, dict[str, Any]]:
    """The row of the shuffled reports; none for a single report."""
    return {SHUFFLED: score_row(shuffled(reports, seed), seed=seed, **settings)} if len(reports) > 1 else {}


def shuffled(reports: Reports, seed: int = 0) -> Reports:
    """Each study with another study's written text; no study keeps its own (there must be two)."""
    order = np.random.default_rng(seed).permutation(len(reports))
    donors = np.empty_like(order)
    donors[order] = np.roll(order, 1)
    texts = texts_alone(reports)
    return _as_written(texts, lambda place: texts[int(donors[place])].report)


def score_row(reports: Reports, *, metrics: Sequence[str] = ("bleu", "rouge"), **settings: Any) -> dict[str, Any]:
    """The few numbers of a floors table for one set of reports; of whole reports alone, so sections aren't looked at."""
    bare = View(reports, change=lambda _, report: dataclasses.replace(report, sections=()))
    found = evaluate(bare, metrics=(*metrics, "clinical"), **settings)
    row = _clinical_row(found["clinical"]) if "clinical" in found else {}
    return row | {name: found["metrics"][name] for name in SHOWN if name in found["metrics"]}


def _clinical_row(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    row = {}
    for average in ("micro", "macro"):
        interval = found.get(f"{average}_interval", {}).get("f1")
        row[f"{average}_f1"] = {"value": found[average]["f1"]}
        if interval:
            row[f"{average}_f1"] |= {"low": interval[0], "high": interval[1]}
    return row


def _always(reports: Reports, labels: Labels | None, labeler: Named, ci: int, seed: int) -> dict[str, Any]:
    """All eighteen findings in every study: labels without a text."""
    if labels is None:
        [truth] = label_reports(with_reference(reports), labeler, sides=("reference",))
    else:
        rows = matched([r.study for r in texts_alone(reports)], labels)
        truth = clinical.label_matrix([row for row in rows if row is not None])
    block: Block = clinical.block(np.ones_like(truth), truth)
    return _clinical_row(clinical.summary(estimate([block], ci, seed)[block.key], truth))


def _texts(study: Study) -> Mapping[str, str] | str:
    return study.region_reports or study.report


def _as_written(reports: Reports, writer: Writer) -> Reports:
    """The test studies with a writer's texts, made as they are read."""
    return View(reports, change=lambda place, report: _written(report, writer(place)))


def _written(report: GroundedReport, texts: Mapping[str, str] | str) -> GroundedReport:
    """The test study's report with other texts in its sections, or with another whole text."""
    if isinstance(texts, str):
        return dataclasses.replace(report, report=texts, sections=())
    if not report.sections:
        return dataclasses.replace(report, report=" ".join(texts[r] for r in REGIONS if r in texts))
    sections = tuple(dataclasses.replace(s, named=s.region, report=texts.get(s.region, "")) for s in report.sections)
    return dataclasses.replace(report, sections=sections, report=" ".join(s.report for s in sections if s.report))


def _constant(texts: Mapping[str, str] | str) -> Writer:
    return lambda place: texts


def _another(train: Sequence[Study], rng: np.random.Generator, n: int) -> Writer:
    picks = [int(rng.integers(len(train))) for _ in range(n)]
    return lambda place: _texts(train[picks[place]])


def _most_frequent_report(train: Sequence[Study]) -> Mapping[str, str] | str:
    """The texts that most train studies share; the first of them where none recurs."""
    keys = [tuple(sorted(s.region_reports.items())) or s.report for s in train]
    return _texts(train[keys.index(Counter(keys).most_common(1)[0][0])])


def _most_frequent_sentences(train: Sequence[Study]) -> Mapping[str, str] | str:
    counts: dict[str, Counter[str]] = {}
    for study in train:
        for region, text in (study.region_reports or {"": study.report}).items():
            counts.setdefault(region, Counter()).update(_SENTENCE.split(text.strip()))
    best = {region: count.most_common(1)[0][0] for region, count in counts.items()}
    return best.get("", "") if set(best) == {""} else {r: t for r, t in best.items() if r}


def _train_labels(train: Sequence[Study], labeler: Named) -> np.ndarray:
    """uint8 (n, 18): the studies' own labels; the labeler reads the texts of those without."""
    bare = [i for i, s in enumerate(train) if not s.labels]
    known = clinical.label_matrix([s.labels for s in train])
    texts = [train[i].report or " ".join(train[i].region_reports.values()) for i in bare]
    known[bare] = label_texts(texts, labeler)
    return known


def _label_prior(train: Sequence[Study], known: np.ndarray, rng: np.random.Generator, n: int) -> Writer:
    """Each finding drawn by its train prevalence; each region's text from a train section with the nearest findings."""
    prevalence = known.mean(axis=0)
    if not any(s.region_reports for s in train):
        whole = [_nearest(known, rng.random(len(FINDINGS)) < prevalence, rng) for _ in range(n)]
        return lambda place: _texts(train[whole[place]])
    pools = {}
    for region in REGIONS:
        members = [i for i, s in enumerate(train) if s.region_reports.get(region)]
        columns = [j for j, f in enumerate(FINDINGS) if FINDING_REGION[f] == region]
        if members:
            pools[region] = (np.array(members), known[np.ix_(members, columns)], columns)
    picks = np.empty((n, len(pools)), dtype=np.int64)
    for row in picks:
        drawn = rng.random(len(FINDINGS)) < prevalence
        row[:] = [members[_nearest(labels, drawn[columns], rng)] for members, labels, columns in pools.values()]
    return lambda place: {region: train[i].region_reports[region] for region, i in zip(pools, picks[place], strict=True)}


def _nearest(labels: np.ndarray, drawn: np.ndarray, rng: np.random.Generator) -> int:
    """A random row of `labels` (n, k) among those that differ least from `drawn` (k,)."""
    distance = (labels.astype(bool) != drawn).sum(axis=1)
    return int(rng.choice(np.flatnonzero(distance == distance.min())))
