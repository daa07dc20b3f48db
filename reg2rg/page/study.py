"""A grounded report as the page shows it: sections with their area, name and warnings, regions without a mask, settings.

In: `GroundedReport`, and `RegionMask` and `Volume` where pictures are wanted. Out: plain objects for the templates; what is
judged (does the name fit the area?) is judged here, and nothing else is.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ..anatomy import PALETTE, REGIONS
from ..contracts import GroundedReport, RegionMask, RegionSection, Volume

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\s\d])")
# settings that say that the text is the reference, and what the page says elsewhere
REFERENCE = "reference"
_ELSEWHERE = ("source", "notes", "warnings")


@dataclasses.dataclass(frozen=True)
class SectionView:
    """One section on the page.

    `state`: "match" (the model named the mask's area), "other" (it named another one), "unnamed" (it named none) or
    "reference" (no model spoke); `grounded`: a mask of the area can be shown; `ml`: its volume, None without a mask.
    """

    index: int
    region: str
    named: str
    state: str
    confidence: float | None
    sentences: tuple[str, ...]
    reference: str
    color: str
    grounded: bool
    ml: float | None

    @property
    def same(self) -> bool:
        """Whether the text is the reference, blanks aside."""
        return bool(self.reference) and " ".join(self.sentences).split() == self.reference.split()


@dataclasses.dataclass(frozen=True)
class StudyView:
    """A study on the page; `key` names its payload, `missing` has (region, reason) rows, `silent` regions without text."""

    key: str
    id: str
    sections: tuple[SectionView, ...]
    missing: tuple[tuple[str, str], ...]
    silent: tuple[SectionView, ...]
    remarks: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    text: str
    reference: str
    source: str
    is_reference: bool
    pictured: bool
    trouble: str

    @property
    def named_right(self) -> int:
        """How many sections name their own area."""
        return sum(s.state == "match" for s in self.sections)

    @property
    def mistakes(self) -> int:
        """How many sections name another area, or none."""
        return sum(s.state in ("other", "unnamed") for s in self.sections)


def view_study(
    report: GroundedReport,
    volume: Volume | None = None,
    mask: RegionMask | None = None,
    *,
    key: str = "s0",
    banner: Sequence[str] = (),
    trouble: str = "",
) -> StudyView:
    """The report as the page shows it; without `mask` nothing is grounded and no area is called missing.

    Remarks are what report, reader and segmenter say of themselves and the page's `banner` doesn't; `trouble` is why the
    slices of this study can't be shown.
    """
    is_reference = report.settings.get("source") == REFERENCE
    voxels = mask.voxels() if mask else {}
    ml = {region: n * volume.voxel_ml for region, n in voxels.items() if n} if volume else {}
    sections = tuple(_section(s, ml, is_reference) for s in report.sections)
    told = {s.region for s in sections}
    return StudyView(
        key=key,
        id=report.study,
        sections=sections,
        missing=tuple(mask.missing().items()) if mask else (),
        silent=tuple(_section(RegionSection(-1, r, r, None, ""), ml, True) for r in ml if r not in told),
        remarks=tuple(r for r in _remarks(report, volume, mask) if r not in banner),
        settings=tuple(flat_settings(report.settings)),
        text=report.report,
        reference=report.reference,
        source=PurePath(volume.source).name if volume else "",
        is_reference=is_reference,
        pictured=volume is not None and mask is not None,
        trouble=trouble,
    )


def _section(section: RegionSection, ml: Mapping[str, float], is_reference: bool) -> SectionView:
    if is_reference:
        state = "reference"
    elif not section.named:
        state = "unnamed"
    else:
        state = "match" if section.named == section.region else "other"
    sure = section.confidence
    return SectionView(
        index=section.index,
        region=section.region,
        named=section.named,
        state=state,
        confidence=min(1.0, max(0.0, sure)) if sure is not None and math.isfinite(sure) else None,
        sentences=tuple(split_sentences(section.report)),
        reference=section.reference,
        color=PALETTE.get(section.region, "#8a97a5"),
        grounded=section.region in ml,
        ml=ml.get(section.region),
    )


def split_sentences(text: str) -> list[str]:
    """Sentences for the eye (a click marks one); never drops a character that isn't blank."""
    return [part for part in _SENTENCE.split(text.strip()) if part]


def warnings(report: GroundedReport) -> list[str]:
    """What the report's settings say under "notes" and "warnings"."""
    rows: list[str] = []
    for name in ("notes", "warnings"):
        said = report.settings.get(name) or ()
        rows += [said] if isinstance(said, str) else [str(item) for item in said]
    return rows


def _remarks(report: GroundedReport, volume: Volume | None, mask: RegionMask | None) -> list[str]:
    rows = [*warnings(report), *(volume.notes if volume else ()), *(mask.notes if mask else ())]
    return list(dict.fromkeys(rows))


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as rows of text, nested keys joined by dots, in the order given."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if not prefix and key in _ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield name, ", ".join(map(str, value))
        elif value is not None and value != "":
            yield name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def reference_report(study_id: str, sections: Mapping[str, str], report: str) -> GroundedReport:
    """A study's reference text as a grounded report, so that the same page shows it; sections in the regions' order."""
    texts = {r: sections.get(r, "") for r in REGIONS if sections.get(r)}
    rows = tuple(RegionSection(i, r, r, None, text) for i, (r, text) in enumerate(texts.items()))
    whole = report or " ".join(texts.values())
    return GroundedReport(study_id, rows, whole, settings={"source": REFERENCE})
