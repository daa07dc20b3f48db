"""The worst and the best studies, sentence by sentence: which findings both texts state, which are missed, which invented.

A sentence has the state of the findings that the labeler reads in it, against what the *other* text states anywhere; one
finding at fault makes the sentence a faulty one. Studies are ranked by the F1 of their findings.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDINGS
from . import clinical
from .choice import Named
from .labels import label_reports, label_texts, matched
from .shelf import Reports, texts_alone, with_reference

MATCHED, MISSED, INVENTED = "matched", "missed", "invented"
BY_FINDINGS = "F1 of the study's findings, then how many they are, then shared words"
BY_WORDS = "shared words (F1): no findings were read"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\s*\n\s*")


@dataclasses.dataclass(frozen=True, slots=True)
class _Scored:
    """All studies with their ranks: `truth` and `written` are bool (n, 18), or None where no labeler reads them."""

    reports: Reports
    overlap: np.ndarray
    truth: np.ndarray | None = None
    written: np.ndarray | None = None

    @property
    def f1(self) -> np.ndarray:
        """F1 of each study's findings; 1 where neither text states one."""
        assert self.truth is not None and self.written is not None
        hits, either = (self.truth & self.written).sum(axis=1), self.truth.sum(axis=1) + self.written.sum(axis=1)
        return np.where(either > 0, 2 * hits / np.maximum(either, 1), 1.0)

    def order(self) -> np.ndarray:
        """Places of the studies, worst first: among equals, those with more faults are worse, those with more hits better."""
        if self.truth is None or self.written is None:
            return np.argsort(self.overlap, kind="stable")
        hits, faults = (self.truth & self.written).sum(axis=1), (self.truth ^ self.written).sum(axis=1)
        return np.lexsort((self.overlap, hits - faults, self.f1))


def examples(
    reports: Reports,
    *,
    labels: Mapping[str, Mapping[str, int]] | None = None,
    labeler: Named | None = "rules",
    count: int = 10,
) -> dict[str, Any]:
    """The `count` worst and best studies as plain data: "measure", "worst" and "best", each best or worst first.

    A study has "study", "score", "overlap" (F1 of words), "report" and "reference" as sentences, and the findings "matched",
    "missed" and "invented"; a sentence has "text", "state" and "findings". Without a labeler nothing is coloured.
    """
    shown = with_reference(texts_alone(reports))
    scored = _scored(shown, labels, labeler)
    order = scored.order()
    half = (len(shown) + 1) // 2
    worst, best = order[: min(count, half)], order[::-1][: min(count, len(shown) - half)]
    states = _States(scored, labeler, [*worst, *best])
    return {
        "measure": BY_WORDS if scored.truth is None else BY_FINDINGS,
        "worst": [states.study(i) for i in worst],
        "best": [states.study(i) for i in best],
    }


def _scored(reports: Reports, labels: Mapping[str, Mapping[str, int]] | None, labeler: Named | None) -> _Scored:
    overlap = np.array([_overlap(r.report, r.reference) for r in reports])
    if labeler is None:
        return _Scored(reports, overlap)
    written, truth = (side.astype(bool) for side in label_reports(reports, labeler))
    for i, row in enumerate(matched([r.study for r in reports], labels) if labels is not None else []):
        if row is not None:
            truth[i] = clinical.label_matrix([row])[0]
    return _Scored(reports, overlap, truth, written)


def _overlap(report: str, reference: str) -> float:
    """F1 of the words that two texts share."""
    a, b = (Counter(re.findall(r"[a-z0-9]+", text.lower())) for text in (report, reference))
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text, none empty."""
    return [part for part in _SENTENCE.split(text.strip()) if part]


class _States:
    """Colours the sentences of a few studies; the labeler reads them all at once."""

    def __init__(self, scored: _Scored, labeler: Named | None, places: Sequence[int]) -> None:
        self.scored = scored
        texts = {s for i in places for side in self._sides(i) for s in sentences(side)} if scored.truth is not None else set()
        ordered = sorted(texts)
        rows = label_texts(ordered, labeler) if ordered and labeler is not None else ()
        self.said = {text: np.flatnonzero(row) for text, row in zip(ordered, rows, strict=True)}

    def _sides(self, place: int) -> tuple[str, str]:
        shown = self.scored.reports[int(place)]
        return shown.report, shown.reference

    def study(self, place: int) -> dict[str, Any]:
        """One study as plain data."""
        report, reference = self._sides(place)
        found: dict[str, Any] = {
            "study": self.scored.reports[int(place)].study,
            "overlap": round(float(self.scored.overlap[place]), 4),
        }
        truth = written = np.zeros(len(FINDINGS), dtype=bool)
        if self.scored.truth is not None and self.scored.written is not None:
            truth, written = self.scored.truth[place], self.scored.written[place]
            found["score"] = round(float(self.scored.f1[place]), 4)
        return found | {
            "reference": [self._sentence(s, written, truth, MISSED) for s in sentences(reference)],
            "report": [self._sentence(s, truth, written, INVENTED) for s in sentences(report)],
            MATCHED: _names(truth & written),
            MISSED: _names(truth & ~written),
            INVENTED: _names(written & ~truth),
        }

    def _sentence(self, text: str, other: np.ndarray, own: np.ndarray, fault: str) -> dict[str, Any]:
        """`other`: the findings of the other side; `own`: of this text, where labels may deny what a sentence seems to say."""
        found = {FINDINGS[i]: MATCHED if other[i] else fault for i in self.said.get(text, ()) if own[i]}
        state = fault if fault in found.values() else MATCHED if found else ""
        return {"text": text, "state": state, "findings": found}


def _names(mask: np.ndarray) -> list[str]:
    return [FINDINGS[i] for i in np.flatnonzero(mask)]
