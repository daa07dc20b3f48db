"""Texts → `GroundedReport`s: region prefixes and the CTRG tail become sections and leave the whole texts."""

from __future__ import annotations

from collections.abc import Mapping

from ..anatomy import REGIONS
from ..contracts import GroundedReport, RegionSection
from .prefixes import Mention, has_prefixes, mentions, only_prefixes, plain


def grounded(study: str, prediction: str, reference: str) -> GroundedReport:
    """A report from two texts; region prefixes and the CTRG tail become sections and leave the whole texts."""
    if not (has_prefixes(prediction) or has_prefixes(reference)):
        return GroundedReport(study, (), prediction, reference)
    written = "" if only_prefixes(prediction) else plain(prediction)
    return GroundedReport(study, _sections(mentions(prediction), mentions(reference)), written, plain(reference))


def _sections(written: list[Mention], truth: list[Mention]) -> tuple[RegionSection, ...]:
    """Sections by slot; the last mention of a slot stands for it, earlier ones and slots without a truth have no region."""
    true = {m.slot: m for m in truth if m.name in REGIONS}
    last = {m.slot: i for i, m in enumerate(written)}
    sections = []
    for i, m in enumerate(written):
        area = true.get(m.slot) if last[m.slot] == i else None
        sections.append(RegionSection(m.slot, area.name if area else "", m.name, None, m.text, area.text if area else ""))
    sections += [RegionSection(m.slot, m.name, "", None, "", m.text) for m in true.values() if m.slot not in last]
    return tuple(sorted(sections, key=lambda s: s.index))


def region_report(study: str, texts: Mapping[str, tuple[str, str]]) -> GroundedReport:
    """A report from region → (prediction, reference); no region is *named*, so recognition isn't scored."""
    ordered = [(r, *texts[r]) for r in REGIONS if r in texts]
    sections = tuple(RegionSection(i, r, "", None, p, t) for i, (r, p, t) in enumerate(ordered))
    return GroundedReport(
        study, sections, " ".join(filter(None, (s.report for s in sections))), " ".join(s.reference for s in sections)
    )
