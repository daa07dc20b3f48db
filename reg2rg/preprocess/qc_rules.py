"""What is odd about a study: flags in words, from `qc.Quality` alone.

A flag says "look at this study", not "this study is wrong". The ranges are deliberately wide: they hold sick and small adults
at any breath, and are left only by a mask that failed, a wrong voxel size or a wrong unit. What a crop explains isn't flagged:
a mask that the volume's border cuts may be too small, a heart that it cuts at a side may lie anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from ..anatomy import REGIONS
from .qc import Part, Quality

AIRWAY = "trachea and bronchie"


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """`name`: the same for all studies, to filter by; `words`: what was found in this one."""

    name: str
    words: str


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Plausible millilitres of a region in an adult's chest CT, and why these."""

    low: float
    high: float
    why: str


RANGES: dict[str, Range] = {
    "abdomen": Range(1, 30_000, "what of it is in view depends on the scan; a whole adult belly holds 5 to 25 l"),
    "bone": Range(200, 8_000, "a chest shows 0.6 to 2.5 l of bone; the whole skeleton has 5 to 8 l"),
    "breast": Range(1, 6_000, "both together; next to nothing in men, in women up to 2.5 l a side"),
    "esophagus": Range(5, 250, "wall and content are 25 to 60 ml; achalasia widens it several times"),
    "heart": Range(
        150, 2_000, "heart with its blood is 0.4 to 1 l, 0.3 in small women, 1.6 if dilated; an effusion adds to it"
    ),
    "lung": Range(1_500, 9_000, "both together: 2 to 3 l breathed out, 4 to 8 l at full breath"),
    "mediastinum": Range(100, 3_000, "0.3 to 1.2 l without the heart, about 1 l more with it"),
    "pleura": Range(5, 9_000, "a thin shell, or with an effusion, or the whole lung's space, as segmenters define it"),
    "thyroid": Range(1, 400, "7 to 25 ml; shrunken glands have 2, goitres several hundred"),
    AIRWAY: Range(8, 400, "the lumen of trachea and main bronchi is 30 to 80 ml; walls and small branches more than double it"),
}

# median HU: what a mask that lies on its organ holds; a mask that is mirrored, shifted or of another scan doesn't
HU: dict[str, tuple[int, int, str]] = {
    "lung": (-1024, -200, "aerated lung is -950 to -600 HU, a largely consolidated one still below -200"),
    "heart": (-20, 700, "muscle and blood are 30 to 60 HU, up to 600 with contrast medium"),
    "bone": (30, 2000, "marrow and cortex together are 100 to 500 HU"),
    AIRWAY: (-1024, -20, "the lumen is air; thick walls raise the median, on a coarse grid far"),
}

_AIRLESS, _AIR = ("bone", "heart"), 0.15  # a mask may touch the lung, but not hold more of it than this

# a chest CT that shows the lungs shows these too; the others are above, below, or not there in men
_ALWAYS = ("bone", "esophagus", "heart", "lung", "mediastinum", "pleura", AIRWAY)
# region → how many pieces it has, and the least share of it that they should hold
_WHOLE = {
    "abdomen": (1, 0.9), "esophagus": (1, 0.7), "heart": (1, 0.9), "lung": (2, 0.9),
    "mediastinum": (1, 0.8), "thyroid": (2, 0.8), AIRWAY: (1, 0.7),
}  # fmt: skip
_SAME_DICE = 0.8  # a shell round the lungs stays below 0.7
_LUNGS = (0.4, 1.8)  # left / right; healthy: 0.75 to 1
_HEART_MM, _UPSIDE_MM, _BEHIND_MM = 3.0, 10.0, 10.0


def flags(quality: Quality) -> list[Flag]:
    """What is odd about a study, the gravest first; empty: nothing."""
    return [flag for rule in RULES for flag in rule(quality)]


def _mirrored(q: Quality) -> Iterator[Flag]:
    heart = q.regions.get("heart")
    if not heart or not heart.centre or not q.spine or {"left", "right"} & set(heart.cut):
        return
    right = heart.centre[0] - q.spine[0]
    if right <= _HEART_MM:
        return
    found = f"the heart's centre lies {right:.0f} mm right of the spine"
    if q.liver is not None and q.liver < 0:
        yield Flag("mirrored", f"{found} and the liver left of the bowel's gas: a mirrored scan, or situs inversus")
    else:
        yield Flag("heart on the right", f"{found}: a mirrored scan, or a heart that is displaced")


def _turned(q: Quality) -> Iterator[Flag]:
    pairs = (("abdomen", "lung"), ("abdomen", "heart"), ("heart", AIRWAY), ("lung", "thyroid"))
    for low, high in pairs:
        below, above = _centre(q, low), _centre(q, high)
        if below and above and below[2] - above[2] > _UPSIDE_MM:
            yield Flag("upside down", f"the {low}'s centre lies {below[2] - above[2]:.0f} mm above that of the {high}")
            break
    heart, lung = _centre(q, "heart"), _centre(q, "lung")
    # both, since where the spine is missed the column may be the sternum
    if heart and lung and q.spine and q.spine[1] - heart[1] > _BEHIND_MM and heart[1] < lung[1]:
        yield Flag("back to front", f"the heart's centre lies {q.spine[1] - heart[1]:.0f} mm behind the spine")


def _missing(q: Quality) -> Iterator[Flag]:
    lung = q.regions.get("lung")
    bases = lung is not None and "head" in lung.cut  # an abdominal CT rightly shows no heart
    for region in _ALWAYS:
        part = q.regions.get(region)
        if part is not None and not part.ml and not bases:
            yield Flag(f"{region} not in view", f"the mask of the {region} is empty")


def _implausible(q: Quality) -> Iterator[Flag]:
    for region, part in _present(q):
        wanted = RANGES[region]
        if part.ml > wanted.high:
            yield Flag(f"{region} too large", f"the {region} has {part.ml:,.0f} ml, more than {wanted.high:,.0f}")
        elif part.ml < wanted.low and not part.cut:
            yield Flag(f"{region} too small", f"the {region} has {part.ml:,.0f} ml, less than {wanted.low:,.0f}")


def _misplaced(q: Quality) -> Iterator[Flag]:
    for region, part in _present(q):
        if region in HU and part.hu is not None and not HU[region][0] <= part.hu <= HU[region][1]:
            yield Flag(f"{region} not on its organ", f"the median under the mask of the {region} is {part.hu} HU")
        elif region in _AIRLESS and part.air and part.air > _AIR:
            yield Flag(f"{region} not on its organ", f"{_percent(part.air)} of the mask of the {region} lies over air")


def _same(q: Quality) -> Iterator[Flag]:
    if q.dice is not None and q.dice >= _SAME_DICE:
        yield Flag("lung and pleura alike", f"the masks of lung and pleura are nearly one (Dice {q.dice:.2f})")


def _unequal(q: Quality) -> Iterator[Flag]:
    if not q.lungs or any({"left", "right"} & set(p.cut) for r, p in _present(q) if r in ("heart", "lung", "mediastinum")):
        return  # of half a chest
    ratio = left_right(q)
    if ratio is None or not _LUNGS[0] <= ratio <= _LUNGS[1]:
        yield Flag("lungs unequal", f"the left lung has {q.lungs[0]:,.0f} ml, the right one {q.lungs[1]:,.0f}")


def _scattered(q: Quality) -> Iterator[Flag]:
    for region, (most, least) in _WHOLE.items():
        part = q.regions.get(region)
        if part and part.pieces and sum(part.pieces[:most]) < least:
            held = _percent(sum(part.pieces[:most]))
            largest = "its largest piece holds" if most == 1 else f"its {most} largest pieces hold"
            yield Flag(f"{region} scattered", f"the {region} is in pieces: {largest} {held}")


# the gravest first: what may make a whole study wrong comes before what concerns one mask
RULES: tuple[Callable[[Quality], Iterable[Flag]], ...] = (
    _mirrored, _turned, _misplaced, _missing, _implausible, _unequal, _same, _scattered,
)  # fmt: skip


def left_right(q: Quality) -> float | None:
    """Left lung's volume over the right one's; None where there is no right one, or it isn't told."""
    return round(q.lungs[0] / q.lungs[1], 3) if q.lungs and q.lungs[1] else None


def cut_regions(q: Quality) -> dict[str, tuple[str, ...]]:
    """Heart and lungs, where the volume's border cuts them, with the sides."""
    return {r: p.cut for r, p in _present(q) if r in ("heart", "lung") and p.cut}


def explain() -> dict[str, str]:
    """What each kind of flag means and why, for readers of the page and the table."""
    small = "; ".join(f"{r} {w.low:,g} to {w.high:,g} ml ({w.why})" for r, w in RANGES.items())
    hu = "; ".join(f"{r} {low} to {high} HU ({why})" for r, (low, high, why) in HU.items())
    return {
        "mirrored": "The heart lies right of the spine and the liver left of the bowel's gas: left and right were exchanged "
        "on the way, or the patient has situs inversus.",
        "heart on the right": "The heart lies right of the spine; the liver doesn't tell.",
        "upside down": "Abdomen, heart, lungs, airway and thyroid don't follow each other from foot to head.",
        "back to front": "The heart lies behind the spine and behind the lungs' middle.",
        "not on its organ": f"The mask's median HU isn't the organ's, or more than {_percent(_AIR)} of heart or bone is air: "
        f"mask and scan don't fit together. Plausible: {hu}.",
        "not in view": f"The mask is there and empty, though a chest CT shows the region ({', '.join(_ALWAYS)}).",
        "too small, too large": f"Plausible in adults: {small}. A mask that the volume's border cuts is never too small.",
        "lungs unequal": f"Left over right is outside {_LUNGS[0]} to {_LUNGS[1]}; healthy lungs have 0.75 to 1, the heart "
        "taking its place on the left. A missing, collapsed or flooded lung, or a mask that lost one.",
        "lung and pleura alike": f"Dice of the two masks is {_SAME_DICE} or more: no model can tell two regions with one mask "
        "apart; published region recognition of 0.44 for both is what such masks would give.",
        "scattered": "A region that should be one or two pieces is in many.",
    }


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _present(q: Quality) -> list[tuple[str, Part]]:
    return [(r, q.regions[r]) for r in REGIONS if r in q.regions and q.regions[r].ml]


def _centre(q: Quality, region: str) -> tuple[float, float, float] | None:
    return q.regions[region].centre if region in q.regions else None
