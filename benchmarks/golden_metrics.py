"""The family `metrics` of the golden fixtures: language metrics, prefixes, region recognition, published means."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_case import Case, Score

from reg2rg import plugins
from reg2rg.contracts import GroundedReport
from reg2rg.errors import UserError
from reg2rg.evaluate.prefixes import parse_by_name, rm_region_text
from reg2rg.evaluate.reading import read_reports
from reg2rg.evaluate.recognition import corrected
from reg2rg.evaluate.recognition_official import as_is
from reg2rg.evaluate.rows import cell, read_rows

OURS = {f"BLEU-{n}": f"bleu{n}" for n in range(1, 5)}
OURS |= {"METEOR": "meteor", "ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
WHOLE = {f"Overall_BLEU-{n}": f"corpus_bleu{n}" for n in range(1, 5)} | {"Overall_METEOR": "meteor"}
PARTS = ("pairs", "corpus", "mean_over_non_empty", "cases", "regions")


@functools.cache
def metric(name: str) -> Any:
    """A metric plugin, built once. METEOR without WordNet raises UserError, which fails the case."""
    return plugins.resolve("metric", name)


class Scores:
    """Scores of some reports by all language metrics: `each` name → (n,) report by report, `all` name → over all of them."""

    def __init__(self, reports: Sequence[GroundedReport]) -> None:
        self.each: dict[str, np.ndarray] = {}
        self.all: dict[str, float] = {}
        for plugin in map(metric, ("bleu", "meteor", "rouge")):
            table = plugin.statistics(reports)
            self.each |= plugin.combine(table)
            self.all |= {name: float(value) for name, value in plugin.combine(table.sum(axis=0)).items()}


def pairs_of(case: Case, non_empty: bool = False) -> list[GroundedReport]:
    """The pairs of a case as reports, or those with a prediction."""
    rows = case.data["pairs"]
    return [
        GroundedReport(str(i), (), r["prediction"], r["reference"])
        for i, r in enumerate(rows)
        if r["prediction"] or not non_empty
    ]


def metrics(case: Case, score: Score, data: Path | None) -> None:
    """README 4.9: whatever the case states, found by its keys."""
    parts = [key for key in PARTS if key in case.data]
    if not parts:
        raise ValueError("the case states nothing that is known to be checked")
    if "pairs" in parts:
        _pairs(case, score)
        _released_rows(case, score, data)
    if "corpus" in parts:
        _corpus(case, score)
    if "mean_over_non_empty" in parts:
        found = Scores(pairs_of(case, non_empty=True)).all
        for key, want in case.data["mean_over_non_empty"].items():
            score.close(f"the mean {key}", found[OURS[key]], want, case.data["tolerance_abs"])
    if "cases" in parts:
        _text_cases(case, score)
    if "regions" in parts:
        _published_means(case, score, data)


def _pairs(case: Case, score: Score) -> None:
    """Every pair's scores, and its tokens where they stand; an empty prediction, at which official BLEU raises, scores 0."""
    from reg2rg_plugins.metrics.tokens import tokens_13a, tokens_nltk

    rows, found = case.data["pairs"], Scores(pairs_of(case)).each
    for name, ours in OURS.items():
        places = [i for i, row in enumerate(rows) if name in row]
        want = [row[name] if row[name] is not None else 0.0 for row in (rows[i] for i in places)]
        score.close(name, found[ours][places], want, case.data["tolerance_abs"])
    cut = {"13a": tokens_13a, "meteor": tokens_nltk}
    for i, row in enumerate(rows):
        for key, value in row.items():
            if key.startswith("tokens_"):
                _, kind, side = key.split("_")
                score.exact(f"{key} of pair {i}", list(cut[kind](row[side])), value)
            elif isinstance(value, float) and key not in OURS:
                score.faults.append(f"there is nothing of ours to compare {key} with")


def _released_rows(case: Case, score: Score, data: Path | None) -> None:
    """Pairs that name a file and row of the released results stand there, where these are at hand."""
    for i, row in enumerate(case.data["pairs"]):
        if "file" in row and (path := _find(data, row["file"])):
            kept = _rows(path)[row["row"]]
            texts = [cell(kept[c]) for c in ("AccNum", "Pred_combined_report", "GT_combined_report") if c in kept]
            if len(texts) == 3:
                score.exact(f"the text of pair {i}", texts, [cell(row[c]) for c in ("AccNum", "prediction", "reference")])


@functools.cache
def _rows(path: Path) -> list[dict[str, str]]:
    return list(read_rows(path)[1])


def _find(data: Path | None, name: str) -> Path | None:
    """A file of the released results: in the data folder, or in one of its folders."""
    places = (data / name, *sorted(data.glob(f"*/{name}"))) if data else ()
    return next((path for path in places if path.is_file()), None)


def _corpus(case: Case, score: Score) -> None:
    """Corpus BLEU, smoothed as ours is; the unsmoothed one follows from our counts, (match / possible) of each order."""
    bound = case.data["tolerance_abs"]
    for entry in case.data["corpus"]:
        reports = pairs_of(case, non_empty="non-empty" in entry["over"])
        score.exact(f"the number of pairs over {entry['over']}", len(reports), entry["n"])
        smooth = Scores(reports).all
        plain = _unsmoothed(metric("bleu").statistics(reports).sum(axis=0))
        for key, want in entry.items():
            name, _, variant = key.partition("_")
            if variant in ("smooth", "no_smoothing"):
                got = smooth[f"corpus_bleu{name[-1]}"] if variant == "smooth" else plain[int(name[-1]) - 1]
                score.close(f"corpus {key}", got, want, bound)
            elif isinstance(want, float):
                score.faults.append(f"there is nothing of ours to compare {key} with")


def _unsmoothed(sums: np.ndarray) -> np.ndarray:
    matches, possible, reference = sums[5:9], sums[9:13], sums[13]
    mean = np.exp(np.cumsum(np.log(matches / possible)) / np.arange(1, 5))
    return mean * (1.0 if possible[0] > reference else np.exp(1 - reference / possible[0]))


def _text_cases(case: Case, score: Score) -> None:
    """Texts whose prefixes are removed or read back, and samples of region recognition by both definitions."""
    for i, entry in enumerate(case.data["cases"]):
        where = entry.get("name", f"text {i}")
        checked = entry.keys() & {"rm_region_text", "parse_by_name", "as_is", "corrected"}
        score.fact(f"that there is something to check in {where}", bool(checked))
        for key, rule in (("rm_region_text", rm_region_text), ("parse_by_name", parse_by_name)):
            if key in entry:
                score.exact(f"{key} of {where}", rule(entry["input"]), entry[key])
        for key, definition in (("as_is", as_is), ("corrected", corrected)):
            if key in entry:
                samples = [(s["accnum"], s["reference"], s["prediction"]) for s in entry["samples"]]
                _recognition(
                    score, f"{where}/{key}", lambda s=samples, d=definition: d(s), entry[key], case.data["tolerance_abs"]
                )


def _recognition(score: Score, where: str, count: Any, want: Mapping[str, Any], bound: float) -> None:
    refused = {"official_raises", "not_defined"} & want.keys()
    try:
        found = count()
    except UserError as error:
        if not refused:
            score.faults.append(f"{where} was refused: {error}")
        return
    score.fact(f"that {where} is refused", not refused)
    if not refused:
        _tree(score, where, found, want, bound)


def _tree(score: Score, where: str, got: Any, want: Any, bound: float) -> None:
    """Nested numbers: the same keys, and equal to within `bound`."""
    if isinstance(want, dict):
        score.exact(f"the keys of {where}", sorted(got), sorted(want))
        for key in want.keys() & got.keys():
            _tree(score, f"{where}/{key}", got[key], want[key], bound)
    else:
        score.close(where, got, want, bound)


def _published_means(case: Case, score: Score, data: Path | None) -> None:
    """The published means and deviations of the released files, to the last of four decimals."""
    for row in case.data["regions"]:
        region = row["region"]
        path = _find(data, f"{region}_reports.csv")
        if path is None:
            raise ValueError(f"the released results are not at hand: {region}_reports.csv (--data DIR)")
        reports = read_reports(path).reports
        score.exact(f"the rows of {region}", len(reports), row["n"])
        found = Scores(reports)
        for key, want in row.items():
            if key in OURS:
                values = found.each[OURS[key]]
                _decimals(score, f"{key} of {region}", f"{values.mean():.4f}±{values.std():.4f}", want)
            elif key in WHOLE:
                _decimals(score, f"{key} of {region}", f"{found.all[WHOLE[key]]:.4f}", want)
            elif key not in ("region", "n"):
                score.faults.append(f"there is nothing of ours to compare {key} of {region} with")


def _decimals(score: Score, name: str, got: str, want: str) -> None:
    """Published decimals: equal as text."""
    ours, theirs = ([float(part) for part in text.split("±")] for text in (got, want))
    score.close(name, ours, theirs, 1e-9)
