"""The grammar: a plan as region sentences in the register of chest-CT reports, in words of our own.

`sentences(plan, seed)` gives each region in view its text; the seed chooses wording and order, the plan the facts, so
that the same plan under another seed is "a perfect reader with another wording". In `demo` every finding has two wordings,
findings keep a fixed order, and nothing is negated; `strict` draws order, wording, sizes and negations.
"""

from __future__ import annotations

import numpy as np

from ..anatomy import FINDINGS, REGIONS
from .plan import Finding, Plan
from .wording import DEMO, DEMO_NORMAL, NEGATED, NORMAL, STRICT


def regions_in_view(plan: Plan) -> tuple[str, ...]:
    """The regions that the study shows: all ten, or nine where the thyroid lies outside the scan."""
    return tuple(r for r in REGIONS if r != "thyroid" or plan.person.thyroid)


def sentences(plan: Plan, seed: int | None = None) -> dict[str, str]:
    """Region → its sentences. `seed` chooses the wording (the plan's own where None)."""
    rng = np.random.default_rng((plan.seed if seed is None else seed, plan.index, 4))
    write = _demo if plan.profile == "demo" else _strict
    return {region: write(rng, region, _of(plan, region), plan) for region in regions_in_view(plan)}


def report(texts: dict[str, str]) -> str:
    """The whole report: the regions' sentences in the order of `REGIONS`."""
    return " ".join(texts[region] for region in REGIONS if texts.get(region))


def _of(plan: Plan, region: str) -> list[Finding]:
    return sorted((f for f in plan.findings if f.region == region), key=lambda f: FINDINGS.index(f.name))


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _demo(rng: np.random.Generator, region: str, found: list[Finding], plan: Plan) -> str:
    style = int(rng.integers(2))
    if not found:
        return _capital(DEMO_NORMAL[region][style])
    return " ".join(_fill(DEMO[f.name][style], f) for f in found)


def _strict(rng: np.random.Generator, region: str, found: list[Finding], plan: Plan) -> str:
    # What is drawn as a distractor isn't denied either.
    present = {f.name for f in (*found, *plan.distractors)}
    lines = [_fill(_pick(rng, STRICT[f.name]), f) for f in found]
    rng.shuffle(lines)
    absent = [text for name, texts in NEGATED.get(region, {}).items() if name not in present for text in texts]
    keep = int(rng.integers(0, min(len(absent), 3) + 1))
    negations = [_capital(absent[i]) for i in rng.permutation(len(absent))[:keep]]
    if not found:
        lines = [_capital(_pick(rng, NORMAL[region]))]
    return " ".join(lines + negations if rng.random() < 0.7 else negations + lines)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _fill(template: str, finding: Finding) -> str:
    """A template with the finding's place, side, size and severity; the first letter becomes a capital."""
    side = finding.side
    lung = "both lungs" if side in ("both", "") else f"the {side} lung"
    words = {
        "lung": lung,
        "sides": "both sides" if side == "both" else f"the {side} side",
        "side": "bilateral" if side == "both" else side,
        "place": f"the {finding.place}" if finding.place else lung,
        "station": finding.place,
        "severity": finding.severity,
        "mm": f"{finding.size:.0f} mm",
    }
    return _capital(template.format(**words))
