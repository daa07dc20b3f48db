"""Clinical efficacy by region: the findings that live in a region (`FINDING_REGION`), in the sections that carry its name.

A section belongs to the region that the model named, as in the language scores by region; the truth to the region of the mask.
A study counts for a region where it has a mask of it: a section that is missing or carries another name states no finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import GroundedReport
from .bootstrap import Block
from .clinical import KINDS, label_matrix, statistics
from .recognition import ratio

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
    """One region's findings: 0/1 matrices (m, k) of the studies at `places`."""

    region: str
    places: list[int]
    predicted: np.ndarray
    truth: np.ndarray

    def block(self, n: int) -> Block:
        """The region's block of the bootstrap over n studies: TP, FP and FN of each finding, (n, 3k)."""
        rows = np.zeros((n, 3 * self.truth.shape[1]))
        rows[self.places] = statistics(self.predicted, self.truth)[:, : rows.shape[1]]
        return Block(("clinical", self.region), rows, self._combine)

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


def regional(studies: Sequence[GroundedReport], labels: Sequence[Mapping[str, int] | None] | None, label: Label) -> list[Part]:
    """Each region that has findings and is shown in a study whose truth is known.

    `labels`: a study's true findings or None, for each study; where there are no labels at all, `label` reads the reference
    texts. Every text is read once.
    """
    places = {
        region: [
            i for i, r in enumerate(studies) if any(s.region == region for s in r.sections) and _known(r, region, i, labels)
        ]
        for region in REGIONS
        if columns(region)
    }
    said = {(i, region): written(studies[i], region) for region, rows in places.items() for i in rows}
    true = {key: referenced(studies[key[0]], key[1]) for key in said} if labels is None else {}
    texts = sorted({*said.values(), *true.values()} - {""})
    rows = dict(zip(texts, label(texts), strict=True)) | {"": np.zeros(len(FINDINGS), dtype=np.uint8)}
    parts = []
    for region in (region for region, found in places.items() if found):
        keys = [(i, region) for i in places[region]]
        predicted = np.stack([rows[said[key]] for key in keys])
        if labels is None:
            truth = np.stack([rows[true[key]] for key in keys])
        else:
            truth = label_matrix([row for i, _ in keys if (row := labels[i]) is not None])
        wanted = columns(region)
        parts.append(Part(region, places[region], predicted[:, wanted], truth[:, wanted]))
    return parts


def _known(report: GroundedReport, region: str, i: int, labels: Sequence[Mapping[str, int] | None] | None) -> bool:
    return bool(referenced(report, region)) if labels is None else labels[i] is not None
