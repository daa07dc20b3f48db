"""Grounding faithfulness: how far a region's section follows the region's own tokens, from the lines of an intervention.

In: reports whose settings say what was done to them (`reg2rg ground`). A section's *change* is 1 - similarity to what stood
there before the swap; faithfulness is the mean change of the section whose region was swapped less that of the others.
Definitions with their formulas and limits: docs/metrics.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import GroundedReport, RegionSection
from ..errors import UserError
from ..plugins import resolve
from .bootstrap import Block, Estimate, combined, estimate
from .choice import Choice, Named
from .labels import label_texts
from .recognition import ratio
from .statistics import Rows

KINDS = ("texture", "geometry", "both")
MEASURES = ("text", "findings", "names")
TELLING = tuple(r for r in REGIONS if r in FINDING_REGION.values())  # regions whose sections state findings
ALL = "all"
Sections = Mapping[str, RegionSection]
Pair = tuple[str, str]
Scores = Mapping[tuple[str, ...], Mapping[str, Estimate]]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One swap: the sections of a study, by the area of their mask, before and after `region` was shown as `donor` has it.

    `donated`: the donor's own sections where its unswapped report is among the lines.
    """

    study: str
    kind: str
    region: str
    donor: str
    differs: Mapping[str, tuple[int, int]] | None
    before: Sections
    after: Sections
    donated: Sections

    def others(self, among: Iterable[str] = REGIONS) -> list[str]:
        """The other regions that have a section."""
        return [r for r in among if r != self.region and r in self.before]


def grounding(lines: Sequence[GroundedReport], *, labeler: Named = "rules", ci: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The document of `ground --json`: for each kind of tokens own and other change, faithfulness, and what was followed.

    `ci`: bootstrap resamples of the studies, 0 for none. Raises UserError where the lines hold no swap, or no study's
    unswapped report.
    """
    before = {line.study: line.by_region for line in lines if _done(line).get("kind") == "none"}
    cases = [case for line in lines if (case := _case(line, before)) is not None]
    if not cases:
        raise UserError("no line tells of a swapped region", fix="Write them with: reg2rg ground RUN --data STORE --out DIR")
    studies = sorted(before)
    judge = Judge([line.by_region for line in lines], labeler)
    blocks = [block for kind in KINDS for block in _blocks(kind, [c for c in cases if c.kind == kind], studies, judge, before)]
    scores = estimate(blocks, ci, seed)
    known = [c for c in cases if c.differs is not None and c.region in TELLING]
    return {
        "n": len(studies),
        "swaps": len(cases),
        "kinds": {kind: _document(kind, scores) for kind in KINDS if (kind, ALL, "text") in scores},
        "control": _control(lines, before),
        "donors": {
            "other findings": sum(bool(c.differs) for c in known),
            "same findings": sum(not c.differs for c in known),
            "labels unknown": sum(c.differs is None for c in cases),
        },
        "examples": examples(cases, judge),
        "settings": {"labeler": Choice.of(labeler).name, "ci": ci, "seed": seed, "similarity": "ROUGE-L F1"},
    }


def _done(line: GroundedReport) -> Mapping[str, Any]:
    done = line.settings.get("intervention")
    return done if isinstance(done, Mapping) else {}


def _case(line: GroundedReport, before: Mapping[str, Sections]) -> Case | None:
    done = _done(line)
    if done.get("kind") not in KINDS:
        return None
    if line.study not in before:
        raise UserError(
            f"study '{line.study}' has no unswapped report among the lines", fix="Run the same reg2rg ground again."
        )
    region, donor, differs = done["region"], done["donor"], done["differs"]
    pairs = None if differs is None else {f: (int(own), int(its)) for f, (own, its) in differs.items()}
    case = Case(line.study, done["kind"], region, donor, pairs, before[line.study], line.by_region, before.get(donor, {}))
    return case if region in case.before and case.others() else None


class Judge:
    """How far two sections differ, and which findings a section states. Every text is read and compared once."""

    def __init__(self, sections: Iterable[Sections], labeler: Named) -> None:
        texts = sorted({s.report for part in sections for s in part.values()})
        rows = label_texts(texts, labeler).astype(bool)
        self.stated = dict(zip(texts, rows, strict=True))
        self.metric = resolve("metric", "rouge")
        self._changes: dict[Pair, float] = {}

    def states(self, section: RegionSection, finding: str) -> bool:
        """Whether a section states a finding."""
        return bool(self.stated[section.report][FINDINGS.index(finding)])

    def compare(self, pairs: Iterable[Pair]) -> None:
        """Takes in pairs of texts, all at once, before `change` is asked of them."""
        new = sorted({p for p in pairs if p[0] != p[1] and p not in self._changes})
        if new:
            rows = np.asarray(self.metric.statistics([GroundedReport("", (), after, before) for before, after in new]))
            self._changes |= dict(zip(new, (1.0 - combined(self.metric.combine, rows)["rougeL"]).tolist(), strict=True))

    def change(self, measure: str, before: RegionSection, after: RegionSection) -> float:
        """0 where nothing changed, 1 where all did: of the words (`text`), the findings stated, or the area named."""
        if measure == "names":
            return float(before.named != after.named)
        if measure == "text":
            return self._changes[before.report, after.report] if before.report != after.report else 0.0
        old, new = self.stated[before.report], self.stated[after.report]
        total = int(old.sum() + new.sum())
        return 1.0 - 2.0 * int((old & new).sum()) / total if total else 0.0


def examples(cases: Sequence[Case], judge: Judge, most: int = 4) -> list[dict[str, Any]]:
    """The swaps that changed their own section most beyond the others, and those that changed the others most, with texts."""
    last = [kind for kind in KINDS if any(c.kind == kind for c in cases)][-1]
    ranked: list[tuple[float, float, Case]] = []
    for case in cases:
        row = _changes(case, "text", judge) if case.kind == last and case.region in TELLING else None
        if row is not None:
            ranked.append((float(row[0]), float(row[1]), case))
    ranked.sort(key=lambda r: (r[1] - r[0], r[2].study, r[2].region))
    strayed = [r for r in ranked[::-1] if r[1] > r[0]]
    return [_example(*r) for r in (*_varied(ranked, most), *_varied(strayed, most))]


def _varied(ranked: Sequence[tuple[float, float, Case]], most: int) -> list[tuple[float, float, Case]]:
    """The first of each region and of each study."""
    kept: list[tuple[float, float, Case]] = []
    for row in ranked:
        if all(row[2].study != k[2].study and row[2].region != k[2].region for k in kept):
            kept.append(row)
    return kept[:most]


def _example(own: float, other: float, case: Case) -> dict[str, Any]:
    changed = [r for r in case.others() if case.before[r].report != case.after[r].report]
    texts = {r: {"before": case.before[r].report, "after": case.after[r].report} for r in (case.region, *changed)}
    donor = case.donated[case.region].report if case.region in case.donated else None
    facts = {"study": case.study, "kind": case.kind, "region": case.region, "donor": case.donor}
    return {**facts, "differs": case.differs, "own": own, "other": other, "donor_section": donor, "sections": texts}


def _blocks(
    kind: str, cases: Sequence[Case], studies: Sequence[str], judge: Judge, before: Mapping[str, Sections]
) -> list[Block]:
    """For all regions together and each alone: a block for each measure, and one of what was followed."""
    if not cases:
        return []
    judge.compare((s.report, c.after[r].report) for c in cases for r, s in c.before.items())
    judge.compare((c.before[c.region].report, c.donated[c.region].report) for c in cases if c.region in c.donated)
    rates, place = _rates(before, judge), {study: i for i, study in enumerate(studies)}
    tables: dict[tuple[str, ...], np.ndarray] = {}

    def add(key: tuple[str, ...], study: str, row: np.ndarray) -> None:
        tables.setdefault(key, np.zeros((len(studies), len(row))))[place[study]] += row

    for case in cases:
        for measure in MEASURES:
            row = _changes(case, measure, judge)
            if row is not None:
                add((kind, ALL, measure), case.study, row)
                add((kind, case.region, measure), case.study, row)
        for finding in case.differs or ():
            row = _followed(case, finding, judge, rates)
            for key in (ALL, case.region, f"finding/{finding}"):
                add((kind, key, "follows"), case.study, row)
    return [Block(key, Rows(table), _follows if key[-1] == "follows" else _faithfulness) for key, table in tables.items()]


def _changes(case: Case, measure: str, judge: Judge) -> np.ndarray | None:
    """(own, mean of the others, own above each other, 1, distance to the donor's own section, 1 where that is known)."""
    among = TELLING if measure == "findings" else REGIONS
    others = case.others(among)
    if case.region not in among or not others:
        return None
    own = judge.change(measure, case.before[case.region], case.after[case.region])
    rest = [judge.change(measure, case.before[r], case.after[r]) for r in others]
    known = case.region in case.donated and measure != "names"
    distance = judge.change(measure, case.before[case.region], case.donated[case.region]) if known else 0.0
    return np.array([own, sum(rest) / len(rest), own > max(rest), 1.0, distance, known])


def _faithfulness(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Means over swaps from sums (..., 6)."""
    n = sums[..., 3]
    own, other = ratio(sums[..., 0], n), ratio(sums[..., 1], n)
    return {
        "own": own,
        "other": other,
        "faithfulness": own - other,
        "most": ratio(sums[..., 2], n),
        "between": ratio(sums[..., 4], sums[..., 5]),
        "n": n,
        "known": sums[..., 5],
    }


def _rates(before: Mapping[str, Sections], judge: Judge) -> dict[str, float]:
    """For each finding, the share of the unswapped sections of its region that state it."""
    rates = {}
    for finding, region in FINDING_REGION.items():
        stated = [judge.states(sections[region], finding) for sections in before.values() if region in sections]
        rates[finding] = sum(stated) / len(stated) if stated else 0.0
    return rates


def _followed(case: Case, finding: str, judge: Judge, rates: Mapping[str, float]) -> np.ndarray:
    """Whether the donor's label is stated after the swap, before it, by chance, and by the donor's own section; and counts."""
    assert case.differs is not None
    wanted = bool(case.differs[finding][1])
    after, before = (judge.states(s[case.region], finding) == wanted for s in (case.after, case.before))
    known = case.region in case.donated
    donor = known and judge.states(case.donated[case.region], finding) == wanted
    return np.array([after, before, rates[finding] if wanted else 1 - rates[finding], 1.0, donor, known], dtype=np.float64)


def _follows(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Shares from sums (..., 6)."""
    n = sums[..., 3]
    shares = {name: ratio(sums[..., i], n) for i, name in enumerate(("after", "before", "chance"))}
    return {**shares, "donor": ratio(sums[..., 4], sums[..., 5]), "n": n, "known": sums[..., 5]}


def _document(kind: str, scores: Scores) -> dict[str, Any]:
    """The numbers of one kind as JSON-able data."""
    found = _part(kind, ALL, scores)
    found["per_region"] = {r: part for r in REGIONS if (part := _part(kind, r, scores))}
    found["per_finding"] = {f: part["follows"] for f in FINDINGS if (part := _part(kind, f"finding/{f}", scores))}
    return found


def _part(kind: str, key: str, scores: Scores) -> dict[str, Any]:
    """Each measure's numbers; what the donor's own section would give is absent where no donor's report is among the lines."""
    part = {}
    for measure in (*MEASURES, "follows"):
        if values := scores.get((kind, key, measure)):
            unknown = ("between", "donor") if not values["known"].value else ()
            part[measure] = {
                "n": int(values["n"].value),
                "n_donor": int(values["known"].value),
                **{k: v.to_json() for k, v in values.items() if k not in ("n", "known", *unknown)},
            }
    return part


def _control(lines: Sequence[GroundedReport], before: Mapping[str, Sections]) -> dict[str, int]:
    """What changed where each region was replaced by its own: nothing should have."""
    found = [(line.by_region, before[line.study]) for line in lines if _done(line).get("kind") == "control"]
    sections = [(after[r], was[r]) for after, was in found for r in was]
    return {
        "n": len(found),
        "sections": len(sections),
        "changed": sum((a.report, a.named) != (b.report, b.named) for a, b in sections),
    }
