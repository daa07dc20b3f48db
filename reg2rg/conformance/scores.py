"""Checks of metrics, labelers and splitters, on a few short reports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDINGS, REGIONS
from ..contracts import GroundedReport, RegionSection
from . import Subject, check, expect

TEXTS = (
    "Both lungs are clear. The heart is of normal size. No pleural effusion is seen.",
    "A nodule of 6 mm is seen in the right upper lobe. There is a small pleural effusion on the left.",
    "The heart is enlarged. Calcified plaques are seen in the wall of the aorta. The thyroid is normal.",
    "",
)


def reports(predictions: Sequence[str] = TEXTS) -> list[GroundedReport]:
    """Reports with a perfect prediction, another study's, a partial one and an empty one."""
    references = (TEXTS[0], TEXTS[0], TEXTS[2] + " " + TEXTS[1], TEXTS[1])
    return [
        GroundedReport(f"s{i}", (RegionSection(0, "lung", "lung", 0.9, p, r),), p, r)
        for i, (p, r) in enumerate(zip(predictions, references, strict=True))
    ]


def _statistics(subject: Subject, of: Sequence[GroundedReport]) -> np.ndarray:
    table = subject.part.statistics(of)
    expect(isinstance(table, np.ndarray), f"statistics gave {type(table).__name__}")
    fits = table.ndim == 2 and table.shape[0] == len(of) and table.dtype == np.float64
    expect(fits, f"{table.dtype} {table.shape} for {len(of)} studies")
    expect(bool(np.isfinite(table).all()), "statistics that aren't finite")
    return table


def _combined(subject: Subject, sums: np.ndarray) -> dict[str, Any]:
    scores = subject.part.combine(sums)
    expect(isinstance(scores, dict), f"combine gave {type(scores).__name__}")
    return scores


@check("metric", "`names` is a tuple of one or more different texts")
def _names(subject: Subject) -> None:
    names = subject.part.names
    expect(isinstance(names, tuple) and names and all(isinstance(n, str) and n for n in names), repr(names))
    expect(len(set(names)) == len(names), f"the same name twice in {names}")


@check("metric", "statistics(reports) is a float64 table (studies, k), finite, also for empty texts")
def _table(subject: Subject) -> None:
    _statistics(subject, reports())


@check("metric", "the order of the studies is the order of the rows, and nothing else")
def _rows(subject: Subject) -> None:
    forwards, backwards = _statistics(subject, reports()), _statistics(subject, reports()[::-1])
    expect(np.allclose(forwards, backwards[::-1]), "other statistics when the studies come in another order")


@check("metric", "statistics takes any sequence of reports, not lists alone (large files lie on disk)")
def _sequence(subject: Subject) -> None:
    listed, other = _statistics(subject, reports()), _statistics(subject, tuple(reports()))
    expect(np.allclose(listed, other), "other statistics when the reports are no list")


@check("metric", "combine(sums) gives a finite number for each of `names`")
def _scores(subject: Subject) -> None:
    scores = _combined(subject, _statistics(subject, reports()).sum(0))
    expect(set(scores) == set(subject.part.names), f"scores for {sorted(scores)}")
    expect(all(np.isfinite(float(v)) for v in scores.values()), f"{scores}")


@check("metric", "combine takes sums of many resamples (n, k) at once and gives what it gives for each (intervals)")
def _resamples(subject: Subject) -> None:
    table = _statistics(subject, reports())
    counts = np.array([[1, 1, 1, 1], [2, 0, 2, 0], [0, 1, 3, 0]], dtype=np.float64)
    together = _combined(subject, counts @ table)
    for i, row in enumerate(counts @ table):
        for name, value in _combined(subject, row).items():
            shape = np.shape(together[name])
            expect(shape == (len(counts),), f"'{name}' of shape {shape} for {len(counts)} resamples")
            expect(bool(np.isclose(together[name][i], value)), f"'{name}' {together[name][i]} together, {value} alone")


def _labels(subject: Subject, texts: Sequence[str]) -> np.ndarray:
    labels = subject.part.label(list(texts))
    expect(isinstance(labels, np.ndarray), f"label gave {type(labels).__name__}")
    wanted = (len(texts), len(FINDINGS))
    expect(labels.shape == wanted and labels.dtype == np.uint8, f"{labels.dtype} {labels.shape} for {len(texts)} texts")
    return labels


@check("labeler", f"label(texts) is uint8 (texts, {len(FINDINGS)}) of 0 and 1, also for empty texts and for none")
def _label_table(subject: Subject) -> None:
    expect(set(np.unique(_labels(subject, TEXTS))) <= {0, 1}, "values other than 0 and 1")
    _labels(subject, [])


@check("labeler", "an empty text has no finding")
def _label_nothing(subject: Subject) -> None:
    found = [FINDINGS[i] for i in np.flatnonzero(_labels(subject, [""])[0])]
    expect(not found, found)


@check("labeler", "a text's labels don't depend on the texts beside it")
def _label_alone(subject: Subject) -> None:
    together, alone = _labels(subject, TEXTS), np.concatenate([_labels(subject, [t]) for t in TEXTS])
    expect((together == alone).all(), f"{int((together != alone).sum())} labels differ")


def _split(subject: Subject, text: str) -> dict[str, str]:
    parts = subject.part.split(text)
    expect(isinstance(parts, dict), f"split gave {type(parts).__name__}")
    return parts


def _sentences(text: str) -> Counter[str]:
    return Counter(s for s in (" ".join(s.split()) for s in re.split(r"(?<=[.?!])\s+", text)) if s)


@check("splitter", "split(report) maps names of the ten regions to texts that aren't empty")
def _split_regions(subject: Subject) -> None:
    for text in TEXTS:
        for region, part in _split(subject, text).items():
            expect(region in REGIONS, f"the region {region!r}")
            expect(isinstance(part, str) and part.strip(), f"{part!r} for '{region}'")


@check("splitter", "each sentence is used at most once, and none is invented")
def _split_sentences(subject: Subject) -> None:
    for text in TEXTS:
        extra = sum((_sentences(p) for p in _split(subject, text).values()), Counter()) - _sentences(text)
        expect(not extra, f"too much: {list(extra)}")


@check("splitter", "split_all(reports), where it has one, gives for each report what split gives")
def _split_together(subject: Subject) -> None:
    if not hasattr(subject.part, "split_all"):
        return
    together, alone = list(subject.part.split_all(list(TEXTS))), [_split(subject, text) for text in TEXTS]
    expect(together == alone, f"{len(together)} answers for {len(TEXTS)} reports, and others than split gives")


@check("splitter", "an empty report has no parts")
def _split_nothing(subject: Subject) -> None:
    expect(not _split(subject, ""), _split(subject, ""))
