"""The plan of a phantom study: who lies in the scanner and which findings are drawn, where, how large, in which class.

`plan_study(seed, index, profile)` depends on nothing else, so a study is the same in any order and on any worker. Labels,
sentences and voxels all come from the plan; it is the truth that tests and benchmarks read.

Lengths are millimetres. The body's frame is RAS around the middle of the thorax: x to the patient's right, y to the
front, z to the head; `Person.world` turns and shifts it into the scanner's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS
from .look import COMPANIONS, EVIDENCE, LOBES, LOOKS, ORDER, STATIONS, Lobar, Look, Point, Profile, Range

Spots = tuple[tuple[float, float, float, float], ...]
CAUSES = ("Consolidation", "Lung opacity")
HEART_HEIGHT = 42.0  # half of it, average person, strict profile, mm
SEVERITIES = ("mild", "moderate", "severe")


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A body: `scale` (x, y, z) against the average, fat in mm, pose (`roll` rad, `shift` mm), `blood` and `lung` in HU."""

    sex: str
    scale: Point
    fat: float
    roll: float
    shift: Point
    blood: float
    lung: float
    heart: float
    thyroid: bool

    def world(self, point: Point) -> Point:
        """A point of the body's frame (mm) in the scanner's RAS frame (mm)."""
        x, y, z = point
        c, s = float(np.cos(self.roll)), float(np.sin(self.roll))
        return c * x - s * y + self.shift[0], s * x + c * y + self.shift[1], z + self.shift[2]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One drawn finding.

    `side`: "right", "left", "both" or "" (unpaired); `place`: lobe or station in words; `severity`: one of `SEVERITIES`;
    `size`: its characteristic diameter or thickness in mm (cardiomegaly: the heart's enlargement as a factor); `spots`:
    centres and radii (x, y, z, r) in the body's frame — for calcium (share of the vessel's course, angle, 0, r).
    """

    name: str
    region: str
    evidence: str
    side: str
    place: str
    severity: str
    size: float
    spots: Spots = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A study before it is drawn or written. `distractors` are drawn like findings, but neither labelled nor reported."""

    seed: int
    index: int
    profile: Profile
    person: Person
    findings: tuple[Finding, ...]
    distractors: tuple[Finding, ...] = ()

    @property
    def look(self) -> Look:
        """The profile's sizes and contrasts."""
        return LOOKS[self.profile]

    @property
    def labels(self) -> dict[str, int]:
        """The 18 findings, 0 or 1."""
        names = {finding.name for finding in self.findings}
        return {name: int(name in names) for name in FINDINGS}

    def finding(self, name: str) -> Finding | None:
        """The finding called `name`, or None."""
        return next((f for f in self.findings if f.name == name), None)

    def stream(self, purpose: int) -> np.random.Generator:
        """A generator of its own for one purpose (drawing, noise, text …)."""
        return stream(self.seed, self.index, purpose)

    def to_json(self) -> dict[str, Any]:
        """The plan as `plans/<volume>.json` holds it, with the spots' centres in the scanner's frame too."""
        data = dataclasses.asdict(self)
        for row in (*data["findings"], *data["distractors"]):
            if "calcification" not in row["name"]:
                row["spots_world"] = [[round(c, 2) for c in self.person.world(s[:3])] for s in row["spots"]]
        return {**data, "labels": self.labels, "about": "procedural phantom, not a patient"}


def stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one purpose of one study."""
    return np.random.default_rng((seed, index, purpose))


def plan_study(seed: int, index: int, profile: Profile = "demo") -> Plan:
    """The plan of study `index` of `seed`."""
    rng, look = stream(seed, index, 1), LOOKS[profile]
    person = _person(rng, look)
    names = _draw_names(rng, look)
    if look.scale_free:
        person = _matched(person, names, look)
    placed = {name: _place(rng, name, person, look) for name in FINDINGS if name in names}
    silent = look.nodes_need_cause and not any(cause in names for cause in CAUSES)
    distractors = [placed.pop("Lymphadenopathy")] if silent and "Lymphadenopathy" in placed else []
    if rng.random() < look.rods:
        rule = dataclasses.replace(look.lobar["Lung nodule"], radius=(4, 5))
        spots = _lobar(rng, rule, person)[1]
        distractors.append(Finding("vessel seen end on", "lung", "detail", "", "", "mild", 2 * spots[0][3], spots))
    return Plan(seed, index, profile, person, tuple(placed.values()), tuple(distractors))


def _person(rng: np.random.Generator, look: Look) -> Person:
    kx, ky, kz = _scale(rng, look)
    thyroid = bool(rng.random() >= 0.3)
    # The thyroid is absent because the scan starts below it: the body lies higher in the field of view.
    lift = rng.uniform(-10, 4) if thyroid else 192 - 132 * kz + rng.uniform(4, 12)
    return Person(
        sex="female" if rng.random() < 0.5 else "male",
        scale=(kx, ky, kz),
        fat=float(rng.uniform(9, 24)),
        roll=float(rng.uniform(-0.07, 0.07)),
        shift=(float(rng.uniform(-8, 8)), float(rng.uniform(-8, 8)), float(lift)),
        blood=float(rng.uniform(150, 240) if rng.random() < 0.6 else rng.uniform(40, 60)),
        lung=float(rng.uniform(*look.lung)),
        heart=float(rng.uniform(*look.heart)),
        thyroid=thyroid,
    )


def _scale(rng: np.random.Generator, look: Look) -> Point:
    """A person's size against the average; in the strict profile people differ in build too, and extremes are rare.

    Were they not, a heart's height beside its width would tell fluid; were they not rare, a very large heart would tell
    itself.
    """
    if not look.scale_free:
        size = rng.uniform(*look.person)
        x, y, z = (float(size * rng.uniform(0.97, 1.03)) for _ in range(3))
        return x, y, z
    low, high = look.person
    size, slim = rng.triangular(low, (low + high) / 2, high), float(np.exp(rng.triangular(-0.14, 0, 0.14)))
    x, y, z = (float(size * k * rng.uniform(0.97, 1.03)) for k in (1 / slim, 1 / slim, slim))
    return x, y, z


def _matched(person: Person, names: set[str], look: Look) -> Person:
    """The same person, smaller by half of what the heart's findings add to the heart, within the bounds of a body.

    A large heart in mm is then a large person's about as often as a sick one's, so that a crop which tells its size in voxels
    doesn't tell the finding: that takes the thorax beside it.
    """
    big = sum(look.whole["Cardiomegaly"][1:]) / 2 if "Cardiomegaly" in names else 1.0
    tall = big + (sum(look.whole["Pericardial effusion"][1:]) / 2 if "Pericardial effusion" in names else 0.0)
    x, y, z = (min(max(k / b**0.5, 0.62), 1.2) for k, b in zip(person.scale, (big, big, tall), strict=True))
    # who has no thyroid in view lies so high that the scan starts below it
    lift = 0.0 if person.thyroid else 132 * (person.scale[2] - z)
    return dataclasses.replace(person, scale=(x, y, z), shift=(*person.shift[:2], person.shift[2] + lift))


def _unit(name: str, person: Person, look: Look) -> float:
    """What the strict profile states as a share, in mm: fluid of the heart's half height, a hernia of the average body's mm."""
    if look.scale_free and name == "Pericardial effusion":
        return HEART_HEIGHT * person.scale[2] * person.heart
    return person.scale[2] if look.scale_free and name == "Hiatal hernia" else 1.0


def _draw_names(rng: np.random.Generator, look: Look) -> set[str]:
    names: list[str] = []
    for name in ORDER:
        extra = sum(more for cause, effect, more in COMPANIONS if effect == name and cause in names)
        if rng.random() < look.rates[name] + extra:
            names.append(name)
    return {names[i] for i in rng.permutation(len(names))[: look.most]}


def _spots(rng: np.random.Generator, person: Person, centres: list[Point], radius: Range, jitter: float) -> Spots:
    """A sphere (x, y, z, r) near each centre; centres are the average person's, radii are true mm."""
    rows = []
    for centre in centres:
        x, y, z = (round(float((c + rng.uniform(-jitter, jitter)) * k), 2) for c, k in zip(centre, person.scale, strict=True))
        rows.append((x, y, z, round(float(rng.uniform(*radius)), 2)))
    return tuple(rows)


def _choose(rng: np.random.Generator, options: tuple[str, ...], n: int) -> list[str]:
    return [options[i] for i in sorted(rng.choice(len(options), size=min(n, len(options)), replace=False))]


def _place(rng: np.random.Generator, name: str, person: Person, look: Look) -> Finding:
    """Gives a finding its place, side, severity, size and spots."""
    strength = float(rng.uniform(0, 1))
    side, place, size = "", "", 0.0
    spots: Spots = ()
    if name in look.lobar:
        lobes, spots = _lobar(rng, look.lobar[name], person)
        sides = {lobe.split()[0] for lobe in lobes}
        side, place = "both" if len(sides) > 1 else sides.pop(), lobes[0] if len(lobes) == 1 else ""
    elif name == "Lymphadenopathy":
        stations = _choose(rng, tuple(STATIONS), int(rng.integers(3, 6)))
        spots = _spots(rng, person, [STATIONS[s] for s in stations], look.node_radius, 4)
        place = stations[max(range(len(spots)), key=lambda i: spots[i][3])]
    elif name in ("Arterial wall calcification", "Coronary artery wall calcification"):
        spots = _calcium(rng, look)
    else:
        side, low, high = look.whole[name]
        size = (low + (high - low) * strength) * _unit(name, person, look)
        if name == "Pleural effusion":
            side = str(rng.choice(["right", "left", "both"]))
    size = round(2 * max((s[3] for s in spots), default=size / 2), 2)
    return Finding(name, FINDING_REGION[name], EVIDENCE[name], side, place, SEVERITIES[min(int(strength * 3), 2)], size, spots)


def _lobar(rng: np.random.Generator, rule: Lobar, person: Person) -> tuple[list[str], Spots]:
    lobes = _choose(rng, rule.lobes, int(rng.integers(rule.count[0], rule.count[1] + 1)))
    centres = [LOBES[lobe] for lobe in lobes for _ in range(int(rng.integers(rule.each[0], rule.each[1] + 1)))]
    return lobes, _spots(rng, person, centres, rule.radius, rule.jitter)


def _calcium(rng: np.random.Generator, look: Look) -> Spots:
    """Spots along a vessel: share of its course, angle round it, radius."""
    low, high = look.calcium_count
    shares = np.linspace(0.08, 0.92, int(rng.integers(low, high + 1)))
    rows = [(s + rng.uniform(-0.05, 0.05), rng.uniform(0, 6.28), 0.0, rng.uniform(*look.calcium_radius)) for s in shares]
    return tuple((round(float(a), 3), round(float(b), 3), 0.0, round(float(r), 2)) for a, b, _, r in rows)
