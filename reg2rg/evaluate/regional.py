"""Clinical efficacy by region: the findings that live in a region (`FINDING_REGION`), in the sections that carry its name.

A section belongs to the region that the model named, as in the language scores by region; the truth to the region of the mask.
A study counts for a region where it has a mask of it: a section that is missing or carries another name states no finding.
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import GroundedReport
from .bootstrap import Block
from .clinical import KINDS, label_matrix, statistics
from .recognition import ratio
from .shelf import LIMIT, Reports, Shelf, parts
from .statistics import Rows

Label = Callable[[Sequence[str]], np.ndarray]


def written(report: GroundedReport, region: str) -> str:
    """What the report says under a region's name; the mask's region stands for a name where there is none."""
    return " ".join(s.report for s in report.sections if (s.named or s.region) == region and s.report)


def referenced(report: GroundedReport, region: str) -> str:
    """The reference text of a region."""
    return " ".join(s.reference for s in report.sections if s.region == region and s.reference)


def columns(region: str) -> list[int]:
    """Where the region's findings stand in `FINDINGS`."""
    return [i for i, finding in enumerate(FINDINGS) if FINDING_REGION[finding] == region]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One region's findings: 0/1 matrices (m, k) of the studies at `places` (m,)."""

    region: str
    places: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray

    def block(self, n: int) -> Block:
        """The region's block of the bootstrap over n studies: TP, FP and FN of each finding, (n, 3k)."""
        rows = statistics(self.predicted, self.truth)[:, : 3 * self.truth.shape[1]]
        return Block(("clinical", self.region), Rows(rows, n, self.places), self._combine)

    def _combine(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        tp, fp, fn = np.split(sums, 3, axis=-1)
        found = _scores("micro", tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1))
        for i, place in enumerate(columns(self.region)):
            found |= _scores(FINDINGS[place], tp[..., i], fp[..., i], fn[..., i])
        return found

    def summary(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """`per_region[region]["clinical"]` of an evaluation; `scores` are the block's estimates."""
        support = self.truth.astype(int).sum(axis=0)
        names = [FINDINGS[place] for place in columns(self.region)]
        values: dict[str, Any] = {"n": len(self.places), "micro": {k: scores[f"micro/{k}"].value for k in KINDS}}
        values["per_label"] = {
            name: {**{k: scores[f"{name}/{k}"].value for k in KINDS}, "support": int(n)}
            for name, n in zip(names, support, strict=True)
        }
        if scores["micro/f1"].interval:
            values["micro_interval"] = {k: scores[f"micro/{k}"].interval for k in KINDS}
        return values


def _scores(name: str, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> dict[str, np.ndarray]:
    values = (ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn))
    return {f"{name}/{kind}": value for kind, value in zip(KINDS, values, strict=True)}


def regional(studies: Reports, labels: Sequence[Mapping[str, int] | None] | None, label: Label) -> list[Part]:
    """Each region that has findings and is shown in a study whose truth is known.

    `labels`: a study's true findings or None, for each study; where there are no labels at all, `label` reads the reference
    texts. Texts are read a part of the studies at a time, equal ones once.
    """
    found: dict[str, list[_Rows]] = {region: [] for region in REGIONS if columns(region)}
    for part in parts(len(studies)):
        some = studies[part]
        for region, rows in _of_some(some, None if labels is None else labels[part], label, list(found)).items():
            found[region].append((rows[0] + part.start, *rows[1:]))
    return [Part(region, *map(np.concatenate, zip(*rows, strict=True))) for region, rows in found.items() if rows]


_Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # places (m,), written and true findings (m, k)


def _of_some(
    studies: Sequence[GroundedReport],
    labels: Sequence[Mapping[str, int] | None] | None,
    label: Label,
    regions: Sequence[str],
) -> dict[str, _Rows]:
    """The regions that some of these studies show."""
    places = {
        region: [
            i for i, r in enumerate(studies) if any(s.region == region for s in r.sections) and _known(r, region, i, labels)
        ]
        for region in regions
    }
    said = {(i, region): written(studies[i], region) for region, rows in places.items() for i in rows}
    true = {key: referenced(studies[key[0]], key[1]) for key in said} if labels is None else {}
    texts = sorted({*said.values(), *true.values()} - {""})
    read = dict(zip(texts, label(texts), strict=True)) | {"": np.zeros(len(FINDINGS), dtype=np.uint8)}
    found = {}
    for region in (region for region, rows in places.items() if rows):
        keys = [(i, region) for i in places[region]]
        predicted = np.stack([read[said[key]] for key in keys])
        if labels is None:
            truth = np.stack([read[true[key]] for key in keys])
        else:
            truth = label_matrix([row for i, _ in keys if (row := labels[i]) is not None])
        wanted = columns(region)
        found[region] = np.array(places[region]), predicted[:, wanted], truth[:, wanted]
    return found


def _known(report: GroundedReport, region: str, i: int, labels: Sequence[Mapping[str, int] | None] | None) -> bool:
    return bool(referenced(report, region)) if labels is None else labels[i] is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Texts:
    """One region's texts in the studies that have them on both sides: their places, and reports of these texts alone."""

    places: np.ndarray
    reports: Shelf
    missing: int


def texts_by_region(studies: Reports) -> dict[str, Texts]:
    """The texts of each region that a reference tells of; `missing` counts the studies that write none."""
    places: dict[str, array.array[int]] = {region: array.array("q") for region in REGIONS}
    shelves = {region: Shelf(limit=LIMIT // len(REGIONS)) for region in REGIONS}
    missing = dict.fromkeys(REGIONS, 0)
    for i, report in enumerate(studies):
        for region in {s.region for s in report.sections if s.region in places}:
            if reference := referenced(report, region):
                text = written(report, region)
                missing[region] += not text
                if text:
                    places[region].append(i)
                    shelves[region].append(GroundedReport(report.study, (), text, reference))
    return {
        region: Texts(np.array(places[region], dtype=np.int64), shelves[region], missing[region])
        for region in REGIONS
        if shelves[region] or missing[region]
    }
