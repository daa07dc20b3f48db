"""`evaluate`: one reports list → every number with its interval, as evaluation.json has it.

Each metric becomes a block of statistics over the same studies; one bootstrap serves them all (see `bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import REGIONS
from ..errors import EXIT_USAGE, UserError, suggest
from ..plugins import registry, resolve
from ..progress import Progress, silent
from . import clinical, length, recognition
from .bootstrap import Block, Estimate, estimate
from .choice import Choice, Named
from .labels import distinct, label_reports, label_texts, matched
from .regional import Part, Texts, regional, texts_by_region
from .shelf import Reports, at, texts_alone
from .statistics import Rows

PARTS = ("clinical", "recognition", "length")
DEFAULT = ("bleu", "meteor", "rouge", "cider", *PARTS)
Estimates = Mapping[tuple[str, ...], Mapping[str, Estimate]]


def evaluate(
    reports: Reports,
    *,
    metrics: Sequence[Named] = (),
    labels: Mapping[str, Mapping[str, int]] | None = None,
    labeler: Named = "rules",
    ci: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Scores reports against their references; gives the document of `evaluate --json`.

    `metrics`: groups and plugins, all groups where empty; `labels`: study → finding → 0/1 as the clinical reference, else the
    labeler reads the reference texts; `ci`: bootstrap resamples, 0 for none. A plugin is a name, or a `Choice` with its
    options. What can't be computed is absent, with its reason under "skipped". Raises UserError for an unknown name, or where
    nothing can be scored.
    """
    run_of = {choice.name: choice for choice in chosen(metrics)}
    judge = Choice.of(labeler)
    if ci < 0:
        raise UserError(f"{ci} resamples can't be drawn", "--ci", "Give 0 for no intervals, or 1000.", EXIT_USAGE)
    if "clinical" in run_of:
        registry().find("labeler", judge.name)  # a misspelt name is the caller's fault, not a reason to skip
    run = _Run(reports, labels, judge, progress)
    for i, choice in enumerate(run_of.values()):
        progress("score", i, len(run_of), choice.name)
        run.add(choice)
    progress("score", len(run_of), len(run_of))
    scores = estimate(run.blocks, ci, seed)
    settings: dict[str, Any] = {"metrics": list(run_of), "ci": ci, "seed": seed, "labeler": judge.name}
    if options := {c.name: dict(c.options) for c in (*run_of.values(), judge) if c.options}:
        settings["options"] = options
    return {**run.document(scores), "settings": settings}


def collect(
    reports: Reports,
    names: Sequence[Named],
    *,
    labels: Mapping[str, Mapping[str, int]] | None = None,
    labeler: Named = "rules",
) -> list[Block]:
    """The bootstrap's blocks of some groups and plugins over whole reports, for comparisons."""
    run = _Run(reports, labels, Choice.of(labeler))
    run.by_region = False
    for name in names:
        run.add(Choice.of(name))
    return run.blocks


def chosen(metrics: Sequence[Named]) -> tuple[Choice, ...]:
    """The groups and plugins to run, each once. Raises UserError (usage) with near names for an unknown one."""
    offered = [o.name for o in registry().of("metric")]
    known = {*PARTS, *offered, *(f"{o.package}:{o.name}" for o in registry().of("metric"))}
    choices = {choice.name: choice for choice in map(Choice.of, metrics or DEFAULT)}
    for name in choices:
        if name not in known:
            raise UserError(f"no metric is called '{name}'", "--metrics", suggest(name, {*PARTS, *offered}), EXIT_USAGE)
    return tuple(choices.values())


class _Run:
    """Collects blocks over one list of studies, and what was skipped or excluded."""

    def __init__(
        self,
        reports: Reports,
        labels: Mapping[str, Mapping[str, int]] | None,
        labeler: Choice,
        progress: Progress = silent,
    ) -> None:
        facts = [(r.study, bool(r.reference.strip()), bool(r.report.strip())) for r in texts_alone(reports)]
        truths = matched([study for study, _, _ in facts], labels) if labels is not None else [None] * len(facts)
        usable = [i for i, (_, told, _) in enumerate(facts) if told or truths[i] is not None]
        if not usable:
            where = "nor is it in the labels" if labels is not None else "so there is nothing to score against"
            raise UserError(f"no report has a reference text, {where}", fix="Name the column with --reference-column.")
        self.studies = at(reports, np.array(usable))
        self.truths = [truths[i] for i in usable]
        self.labels, self.labeler, self.progress = labels, labeler, progress
        self.texts = np.flatnonzero([facts[i][1] for i in usable])
        self.empty = sum(not facts[i][2] for i in usable)
        self.blocks: list[Block] = []
        self.by_region = True
        self.skipped: dict[str, str] = {}
        self.excluded: dict[str, Any] = {}
        if dropped := sorted({study for study, _, _ in facts} - {facts[i][0] for i in usable}):
            self.excluded["no reference"] = {"n": len(facts) - len(usable), "studies": dropped[:20]}
        self.confusion: recognition.Confusion | None = None
        self.truth = np.zeros((0, 18), dtype=np.uint8)
        self.lengths: tuple[np.ndarray, np.ndarray] | None = None
        self.regions: dict[str, dict[str, int]] = {}
        self.regional: list[Part] = []
        self._by_region: dict[str, Texts] | None = None

    def add(self, choice: Choice) -> None:
        """Adds the blocks of one group or plugin."""
        try:
            {"clinical": self._clinical, "recognition": self._recognition, "length": self._length}.get(
                choice.name, lambda: self._metric(choice)
            )()
        except UserError as error:
            self.skipped[choice.name] = str(error)

    def _scored(self) -> Reports:
        if not len(self.texts):
            raise UserError("no report has a reference text")
        return at(self.studies, self.texts)

    def _length(self) -> None:
        self.lengths = length.lengths(self._scored())
        self.blocks.append(length.block(*self.lengths, len(self.studies), self.texts))

    def _recognition(self) -> None:
        found = recognition.confusion(map(recognition.named_pairs, self.studies))
        if not found.named:
            raise UserError("no section says which region it names")
        self.blocks.append(recognition.block(found))
        self.confusion = found

    def _clinical(self) -> None:
        if self.labels is None:
            places = self.texts
            predicted, truth = label_reports(at(self.studies, places), self.labeler, self.progress)
        else:
            places = np.array([i for i, row in enumerate(self.truths) if row is not None], dtype=np.int64)
            if not len(places):
                raise UserError("no report's id is in the labels")
            truth = clinical.label_matrix([row for row in self.truths if row is not None])
            [predicted] = label_reports(at(self.studies, places), self.labeler, self.progress, ("report",))
        self.blocks.append(clinical.block(predicted, truth, len(self.studies), places))
        self.truth = truth
        if self.by_region:
            self._regional()

    def _regional(self) -> None:
        truths = self.truths if self.labels is not None else None
        for part in regional(self.studies, truths, lambda texts: label_texts(texts, self.labeler, self.progress)):
            self.blocks.append(part.block(len(self.studies)))
            self.regional.append(part)
            self._count(part.region)

    def _metric(self, choice: Choice) -> None:
        metric = resolve("metric", choice.name, choice.options, progress=self.progress)
        self._metric_block(("metrics", choice.name), metric, self._scored(), self.texts)
        for region, found in self._texts().items() if self.by_region else ():
            self._count(region)
            if len(found.places):
                self._metric_block(("per_region", region, choice.name), metric, found.reports, found.places)

    def _metric_block(self, key: tuple[str, ...], metric: Any, reports: Reports, places: np.ndarray) -> None:
        try:
            rows = np.asarray(metric.statistics(reports), dtype=np.float64)
            if rows.ndim != 2 or len(rows) != len(reports):
                raise TypeError(f"statistics of shape {rows.shape} for {len(reports)} reports")
            metric.combine(rows.sum(axis=0))
        except UserError:
            raise
        except Exception as error:  # a plugin's fault takes its own number down, and no other
            raise UserError(f"metric '{key[-1]}' failed ({type(error).__name__}: {error})") from error
        self.blocks.append(Block(key, Rows(rows, len(self.studies), places), metric.combine))

    def _texts(self) -> dict[str, Texts]:
        """The regions' texts, in the studies where both sides have one; the written one is taken by the name it was given."""
        if self._by_region is None:
            self._by_region = texts_by_region(self.studies)
        return self._by_region

    def _count(self, region: str) -> None:
        found = self._texts().get(region)
        self.regions[region] = {"n": len(found.places), "missing": found.missing} if found else {"n": 0, "missing": 0}

    def document(self, scores: Estimates) -> dict[str, Any]:
        """The result as JSON-able data."""
        found: dict[str, Any] = {"n": len(self.studies), "metrics": {}, "per_region": {}}
        for key, values in scores.items():
            if key[0] == "metrics":
                found["metrics"] |= _unclashed(found["metrics"], key[-1], values)
        for region in (r for r in REGIONS if r in self.regions):
            row: dict[str, Any] = dict(self.regions[region])
            for key, values in scores.items():
                if key[:2] == ("per_region", region):
                    row |= _unclashed(row, key[-1], values)
            found["per_region"][region] = row
        for part in self.regional:
            found["per_region"][part.region]["clinical"] = part.summary(scores["clinical", part.region])
        if self.confusion is not None:
            found["region_recognition"] = recognition.summary(self.confusion, scores["region_recognition",])
        if ("clinical",) in scores:
            found["clinical"] = clinical.summary(scores["clinical",], self.truth)
            found["clinical"] |= {"n": len(self.truth), "reference": "labels" if self.labels is not None else self.labeler.name}
        if ("length",) in scores:
            assert self.lengths is not None
            found["length"] = length.summary(*self.lengths, scores["length",])
        return {
            **found,
            "distinct_reports": distinct(r.report for r in texts_alone(self.studies)),
            "empty_predictions": self.empty,
            "skipped": self.skipped,
            "excluded": self.excluded,
        }


def _unclashed(known: Mapping[str, Any], plugin: str, values: Mapping[str, Estimate]) -> dict[str, Any]:
    """The numbers under their names; a name that another plugin has already used gets its plugin's in front."""
    return {f"{plugin}.{name}" if name in known else name: value.to_json() for name, value in values.items()}
