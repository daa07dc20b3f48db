"""The plan of a phantom study: who lies in the scanner and which findings are drawn, where, how large, in which class.

`plan_study(seed, index, profile)` depends on nothing else, so a study is the same in any order and on any worker. Labels,
sentences and voxels all come from the plan; it is the truth that tests and benchmarks read.

Lengths are millimetres. The body's frame is RAS around the middle of the thorax: x to the patient's right, y to the
front, z to the head; `Person.world` turns and shifts it into the scanner's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..anatomy import FINDING_REGION, FINDINGS

Profile = Literal["demo", "strict"]
PROFILES: tuple[Profile, ...] = ("demo", "strict")
Point = tuple[float, float, float]
Spots = tuple[tuple[float, float, float, float], ...]

# What a reader needs to decide a finding (`reference`: detail = texture at the crop's resolution, bulk = texture that the
# whole volume shows too, geometry = size or place in mm, context = another region).
EVIDENCE: dict[str, str] = {
    "Medical material": "bulk",
    "Arterial wall calcification": "detail",
    "Cardiomegaly": "geometry",
    "Pericardial effusion": "geometry",
    "Coronary artery wall calcification": "detail",
    "Hiatal hernia": "geometry",
    "Lymphadenopathy": "context",
    "Emphysema": "bulk",
    "Atelectasis": "bulk",
    "Lung nodule": "detail",
    "Lung opacity": "bulk",
    "Pulmonary fibrotic sequela": "detail",
    "Pleural effusion": "bulk",
    "Mosaic attenuation pattern": "bulk",
    "Peribronchial thickening": "detail",
    "Consolidation": "bulk",
    "Bronchiectasis": "detail",
    "Interlobular septal thickening": "detail",
}

# The independent part of a finding's probability; `_COMPANIONS` adds to it.
_DEMO_RATE: dict[str, float] = {name: 0.26 for name in FINDINGS} | {"Atelectasis": 0.2, "Lung opacity": 0.24}
_STRICT_RATE: dict[str, float] = {
    "Medical material": 0.12,
    "Arterial wall calcification": 0.22,
    "Cardiomegaly": 0.12,
    "Pericardial effusion": 0.10,
    "Coronary artery wall calcification": 0.16,
    "Hiatal hernia": 0.14,
    "Lymphadenopathy": 0.20,
    "Emphysema": 0.19,
    "Atelectasis": 0.20,
    "Lung nodule": 0.40,
    "Lung opacity": 0.34,
    "Pulmonary fibrotic sequela": 0.26,
    "Pleural effusion": 0.11,
    "Mosaic attenuation pattern": 0.10,
    "Peribronchial thickening": 0.10,
    "Consolidation": 0.16,
    "Bronchiectasis": 0.12,
    "Interlobular septal thickening": 0.10,
}

# (cause, effect, added probability): findings that come together in life. Causes stand before their effects.
_COMPANIONS: tuple[tuple[str, str, float], ...] = (
    ("Arterial wall calcification", "Coronary artery wall calcification", 0.15),
    ("Cardiomegaly", "Pleural effusion", 0.15),
    ("Pleural effusion", "Atelectasis", 0.25),
    ("Emphysema", "Peribronchial thickening", 0.12),
    ("Consolidation", "Lung opacity", 0.10),
)
_ORDER: tuple[str, ...] = (
    "Medical material",
    "Arterial wall calcification",
    "Coronary artery wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Hiatal hernia",
    "Consolidation",
    "Lung opacity",
    "Lymphadenopathy",
    "Emphysema",
    "Pleural effusion",
    "Atelectasis",
    "Lung nodule",
    "Pulmonary fibrotic sequela",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

# The middle of each lobe in the body's frame of an average person.
LOBES: dict[str, Point] = {
    "right upper lobe": (74.0, 2.0, 58.0),
    "right middle lobe": (84.0, 42.0, -8.0),
    "right lower lobe": (80.0, -40.0, -26.0),
    "left upper lobe": (-76.0, 14.0, 54.0),
    "left lower lobe": (-82.0, -42.0, -24.0),
}
_UPPER = ("right upper lobe", "left upper lobe")
_LOWER = ("right lower lobe", "left lower lobe")


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

    `side`: "right", "left", "both" or "" (unpaired); `place`: lobe or station in words; `severity`: "mild", "moderate" or
    "severe"; `size`: its characteristic diameter, thickness or ratio (mm; cardiomegaly: heart/thorax); `spots`: centres and
    radii (x, y, z, r) in the body's frame.
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
    """A study before it is drawn or written."""

    seed: int
    index: int
    profile: Profile
    person: Person
    findings: tuple[Finding, ...]
    distractors: tuple[Finding, ...] = ()

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
        for key in ("findings", "distractors"):
            for row in data[key]:
                row["spots_world"] = [[round(c, 2) for c in self.person.world(s[:3])] for s in row["spots"]]
        return {**data, "labels": self.labels, "about": "procedural phantom, not a patient"}


def stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one purpose of one study."""
    return np.random.default_rng((seed, index, purpose))


def plan_study(seed: int, index: int, profile: Profile = "demo") -> Plan:
    """The plan of study `index` of `seed`."""
    rng = stream(seed, index, 1)
    person = _person(rng, profile)
    names = _draw_names(rng, _DEMO_RATE if profile == "demo" else _STRICT_RATE)
    findings = [_place(rng, name, person, profile) for name in FINDINGS if name in names]
    return Plan(seed, index, profile, person, tuple(findings))


def _person(rng: np.random.Generator, profile: Profile) -> Person:
    low, high = (0.88, 1.1) if profile == "demo" else (0.8, 1.14)
    size = rng.uniform(low, high)
    scale = tuple(float(size * rng.uniform(0.97, 1.03)) for _ in range(3))
    thyroid = bool(rng.random() >= 0.3)
    # The thyroid is absent because the scan starts below it: the body lies higher in the field of view.
    lift = rng.uniform(-10, 4) if thyroid else 192 - 132 * scale[2] + rng.uniform(4, 12)
    return Person(
        sex="female" if rng.random() < 0.5 else "male",
        scale=scale,  # type: ignore[arg-type]
        fat=float(rng.uniform(9, 24)),
        roll=float(rng.uniform(-0.07, 0.07)),
        shift=(float(rng.uniform(-8, 8)), float(rng.uniform(-8, 8)), float(lift)),
        blood=float(rng.uniform(150, 240) if rng.random() < 0.6 else rng.uniform(40, 60)),
        lung=float(rng.uniform(-840, -800) if profile == "demo" else rng.uniform(-900, -800)),
        heart=float(rng.uniform(0.93, 1.05)),
        thyroid=thyroid,
    )


def _draw_names(rng: np.random.Generator, rates: Mapping[str, float]) -> set[str]:
    names: set[str] = set()
    for name in _ORDER:
        extra = sum(more for cause, effect, more in _COMPANIONS if effect == name and cause in names)
        if rng.random() < rates[name] + extra:
            names.add(name)
    return names


def _severity(rng: np.random.Generator) -> tuple[str, float]:
    """A severity and its strength in 0–1."""
    strength = float(rng.uniform(0, 1))
    return ("mild", "moderate", "severe")[min(int(strength * 3), 2)], strength


def _spots(rng: np.random.Generator, person: Person, centres: list[Point], radius: tuple[float, float], jitter: float) -> Spots:
    """A sphere (x, y, z, r) near each centre; centres are the average person's, radii are true mm."""
    rows = []
    for centre in centres:
        x, y, z = (round(float((c + rng.uniform(-jitter, jitter)) * k), 2) for c, k in zip(centre, person.scale, strict=True))
        rows.append((x, y, z, round(float(rng.uniform(*radius)), 2)))
    return tuple(rows)


def _side_of(lobes: list[str]) -> str:
    sides = {lobe.split()[0] for lobe in lobes}
    return "both" if len(sides) > 1 else sides.pop()


def _choose(rng: np.random.Generator, lobes: tuple[str, ...], n: int) -> list[str]:
    return [lobes[i] for i in sorted(rng.choice(len(lobes), size=min(n, len(lobes)), replace=False))]


@dataclasses.dataclass(frozen=True, slots=True)
class _Lobar:
    """How a finding of the lung's lobes is strewn: which lobes, how many of them, spots a lobe, radii, jitter (mm)."""

    lobes: tuple[str, ...]
    count: tuple[int, int]
    each: tuple[int, int]
    radius: tuple[float, float]
    jitter: float


_LOBAR: dict[str, _Lobar] = {
    "Emphysema": _Lobar(_UPPER, (2, 2), (5, 7), (20, 27), 30),
    "Atelectasis": _Lobar(_LOWER, (1, 2), (2, 2), (36, 44), 14),
    "Lung nodule": _Lobar(tuple(LOBES), (2, 3), (2, 2), (12, 15), 18),
    "Lung opacity": _Lobar(tuple(LOBES), (2, 3), (1, 2), (24, 34), 16),
    "Pulmonary fibrotic sequela": _Lobar(_UPPER, (1, 2), (4, 4), (6, 7.5), 16),
    "Consolidation": _Lobar(tuple(LOBES)[1:], (1, 2), (1, 1), (32, 42), 12),
    "Bronchiectasis": _Lobar(_LOWER, (1, 2), (4, 5), (9, 11), 0),
}
_STATIONS: dict[str, Point] = {
    "right paratracheal": (20.0, 2.0, 66.0),
    "left paratracheal": (-22.0, 6.0, 44.0),
    "prevascular": (4.0, 52.0, 52.0),
    "subcarinal": (3.0, -16.0, 10.0),
    "right hilar": (30.0, -2.0, 24.0),
}
_WHOLE: dict[str, tuple[str, float, float]] = {
    # name: (side, size at strength 0, at strength 1)
    "Medical material": ("right", 7.0, 8.0),
    "Cardiomegaly": ("", 1.26, 1.42),
    "Pericardial effusion": ("", 10.0, 15.0),
    "Mosaic attenuation pattern": ("both", 38.0, 46.0),
    "Peribronchial thickening": ("both", 5.0, 7.0),
    "Interlobular septal thickening": ("both", 3.0, 4.0),
}


def _place(rng: np.random.Generator, name: str, person: Person, profile: Profile) -> Finding:
    """Gives a finding its place, side, severity, size and spots."""
    severity, strength = _severity(rng)
    side, place, size = "", "", 0.0
    spots: Spots = ()
    if name in _LOBAR:
        rule = _LOBAR[name]
        lobes = _choose(rng, rule.lobes, int(rng.integers(rule.count[0], rule.count[1] + 1)))
        centres = [LOBES[lobe] for lobe in lobes for _ in range(int(rng.integers(rule.each[0], rule.each[1] + 1)))]
        spots = _spots(rng, person, centres, rule.radius, rule.jitter)
        side, place, size = _side_of(lobes), lobes[0] if len(lobes) == 1 else "", 2 * max(s[3] for s in spots)
    elif name == "Lymphadenopathy":
        stations = _choose(rng, tuple(_STATIONS), int(rng.integers(3, 6)))
        spots = _spots(rng, person, [_STATIONS[s] for s in stations], (11, 14), 4)
        place, size = stations[0], 2 * max(s[3] for s in spots)
    elif name == "Pleural effusion":
        side, size = str(rng.choice(["right", "left", "both"])), 30 + 25 * strength
    elif name == "Hiatal hernia":
        spots = _spots(rng, person, [(-8.0, -34.0, -58.0)], (20, 27), 2)
        size = 2 * spots[0][3]
    elif name in ("Arterial wall calcification", "Coronary artery wall calcification"):
        # Places along a vessel as fractions; the body's course of the vessel turns them into points.
        spots = tuple((round(float(f), 3), round(float(rng.uniform(0, 6.28)), 3), 0.0, round(float(rng.uniform(6.5, 8)), 2))
                      for f in np.linspace(0.08, 0.92, int(rng.integers(6, 9))) + rng.uniform(-0.05, 0.05))  # fmt: skip
        size = 2 * max(s[3] for s in spots)
    else:
        side, low, high = _WHOLE[name]
        size = low + (high - low) * strength
    return Finding(name, FINDING_REGION[name], EVIDENCE[name], side, place, severity, round(float(size), 2), spots)
