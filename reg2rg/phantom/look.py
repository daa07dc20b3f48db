"""How the two profiles look: prevalences, sizes in mm, contrasts in HU. Pure data.

`demo` is easy: large, dense findings that a small encoder learns in half a minute on 32×32×16 crops; what leaks is named in
`Look.leaks`. `strict` serves the bench: scale-free heart and oesophagus in people of so many sizes and builds that mm tell
nothing without the thorax beside them, airways whose mask doesn't follow the wall, fine detail that keeps the mean density,
distractors, lymph nodes that count only where the lung shows their cause. `reg2rg.bench.evidence` measures whether its
classes hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from ..anatomy import FINDINGS

Profile = Literal["demo", "strict"]
PROFILES: tuple[Profile, ...] = ("demo", "strict")
Point = tuple[float, float, float]
Range = tuple[float, float]

# What a reader needs to decide a finding: detail = texture at the crop's resolution, bulk = texture that the whole volume
# shows too, geometry = size or place in mm, context = another region.
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

# (cause, effect, added probability): findings that come together in life.
COMPANIONS: tuple[tuple[str, str, float], ...] = (
    ("Arterial wall calcification", "Coronary artery wall calcification", 0.15),
    ("Cardiomegaly", "Pleural effusion", 0.15),
    ("Pleural effusion", "Atelectasis", 0.25),
    ("Emphysema", "Peribronchial thickening", 0.12),
    ("Consolidation", "Lung opacity", 0.10),
)
# Causes are drawn before their effects.
ORDER: tuple[str, ...] = (
    *(name for name in FINDINGS if name not in {effect for _, effect, _ in COMPANIONS}),
    *(effect for _, effect, _ in COMPANIONS),
)

# The middle of each lobe in the body's frame of an average person.
LOBES: dict[str, Point] = {
    "right upper lobe": (74.0, 2.0, 58.0),
    "right middle lobe": (84.0, 42.0, -8.0),
    "right lower lobe": (80.0, -40.0, -26.0),
    "left upper lobe": (-76.0, 14.0, 54.0),
    "left lower lobe": (-82.0, -42.0, -24.0),
}
STATIONS: dict[str, Point] = {
    "right paratracheal": (20.0, 2.0, 66.0),
    "left paratracheal": (-22.0, 6.0, 44.0),
    "prevascular": (4.0, 52.0, 52.0),
    "subcarinal": (3.0, -16.0, 10.0),
    "right hilar": (30.0, -2.0, 24.0),
}
_ALL = tuple(LOBES)
_UPPER = ("right upper lobe", "left upper lobe")
_LOWER = ("right lower lobe", "left lower lobe")


@dataclasses.dataclass(frozen=True, slots=True)
class Lobar:
    """How a finding is strewn over the lobes: which, how many of them, spots a lobe, radii and jitter in mm."""

    lobes: tuple[str, ...]
    count: tuple[int, int]
    each: tuple[int, int]
    radius: Range
    jitter: float


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """One profile. Ranges are uniform but, where `scale_free`, `person`'s: its middle is most frequent.

    `whole`: finding → (side, size at strength 0, size at strength 1) in mm; where `scale_free`, pericardial effusion's is a
    share of the heart's half height and hiatal hernia's are mm of the average person. `mosaic_shift`: how much denser mosaic
    attenuation is on average; `septa`: period in mm and contrast in HU.
    """

    rates: Mapping[str, float]
    most: int
    person: Range
    heart: Range
    lung: Range
    lobar: Mapping[str, Lobar]
    whole: Mapping[str, tuple[str, float, float]]
    node_radius: Range
    nodes_need_cause: bool
    calcium_radius: Range
    calcium_count: tuple[int, int]
    calcium_offset: float
    nodule_hu: float
    band_hu: float
    band_length: float
    opacity_hu: float
    mosaic_hu: float
    mosaic_shift: float
    plate: float
    septa: tuple[float, float]
    septa_even: bool
    airway_margin: float
    graft: bool
    scale_free: bool
    rods: float
    leaks: Mapping[str, str]


DEMO = Look(
    rates={name: 0.26 for name in FINDINGS} | {"Atelectasis": 0.2, "Lung opacity": 0.24},
    most=11,
    person=(0.88, 1.1),
    heart=(0.93, 1.05),
    lung=(-840, -800),
    lobar={
        "Emphysema": Lobar(_UPPER, (2, 2), (5, 7), (20, 27), 30),
        "Atelectasis": Lobar(_LOWER, (1, 2), (2, 2), (36, 44), 14),
        "Lung nodule": Lobar(_ALL, (2, 3), (2, 2), (12, 15), 18),
        "Lung opacity": Lobar(_ALL, (2, 3), (1, 2), (24, 34), 16),
        "Pulmonary fibrotic sequela": Lobar(_UPPER, (1, 2), (4, 4), (6, 7.5), 16),
        "Consolidation": Lobar(_ALL[1:], (1, 2), (1, 1), (32, 42), 12),
        "Bronchiectasis": Lobar(_LOWER, (1, 2), (4, 5), (9, 11), 0),
    },
    whole={
        "Medical material": ("right", 7.0, 8.0),
        "Cardiomegaly": ("", 1.26, 1.42),
        "Pericardial effusion": ("", 10.0, 15.0),
        "Pleural effusion": ("", 30.0, 55.0),
        "Hiatal hernia": ("", 40.0, 54.0),
        "Mosaic attenuation pattern": ("both", 38.0, 46.0),
        "Peribronchial thickening": ("both", 5.0, 7.0),
        "Interlobular septal thickening": ("both", 3.0, 4.0),
    },
    node_radius=(11, 14),
    nodes_need_cause=False,
    calcium_radius=(6.5, 8),
    calcium_count=(6, 8),
    calcium_offset=10.0,
    nodule_hu=450.0,
    band_hu=180.0,
    band_length=1.0,
    opacity_hu=-480.0,
    mosaic_hu=170.0,
    mosaic_shift=0.0,
    plate=8.5,
    septa=(26.0, 450.0),
    septa_even=False,
    airway_margin=0.0,
    graft=False,
    scale_free=False,
    rods=0.0,
    leaks={
        "Cardiomegaly": "an enlarged heart is also rounder and is cut by the diaphragm: its crop tells, without its size",
        "Pericardial effusion": "the fluid has its own HU: texture tells",
        "Hiatal hernia": "the hernia is a bump on the oesophagus: the crop's shape tells",
        "Lymphadenopathy": "nodes are drawn only where they are reported: no other region is needed",
        "Peribronchial thickening": "the thick wall belongs to the mask: the mask's size tells",
        "Bronchiectasis": "the sacs belong to the mask: the mask's shape tells",
        "Interlobular septal thickening": "it raises the mean density of the lower lung: the whole volume tells",
        "Pleural effusion": "the fluid belongs to the pleura's mask: the mask's size tells",
    },
)

STRICT = Look(
    rates={
        "Medical material": 0.15,
        "Arterial wall calcification": 0.22,
        "Cardiomegaly": 0.18,
        "Pericardial effusion": 0.16,
        "Coronary artery wall calcification": 0.16,
        "Hiatal hernia": 0.18,
        "Lymphadenopathy": 0.36,
        "Emphysema": 0.19,
        "Atelectasis": 0.18,
        "Lung nodule": 0.36,
        "Lung opacity": 0.26,
        "Pulmonary fibrotic sequela": 0.24,
        "Pleural effusion": 0.13,
        "Mosaic attenuation pattern": 0.15,
        "Peribronchial thickening": 0.14,
        "Consolidation": 0.16,
        "Bronchiectasis": 0.16,
        "Interlobular septal thickening": 0.15,
    },
    most=len(FINDINGS),
    person=(0.76, 1.2),
    heart=(0.96, 1.03),
    lung=(-800, -760),
    lobar={
        "Emphysema": Lobar(_UPPER, (2, 2), (7, 9), (22, 30), 30),
        "Atelectasis": Lobar(_LOWER, (1, 2), (1, 1), (36, 46), 10),
        "Lung nodule": Lobar(_ALL, (1, 3), (1, 2), (11, 14), 18),
        "Lung opacity": Lobar(_ALL, (2, 3), (1, 2), (34, 44), 14),
        "Pulmonary fibrotic sequela": Lobar(_UPPER, (1, 2), (4, 4), (6, 7), 18),
        "Consolidation": Lobar(_ALL, (1, 2), (1, 1), (42, 52), 12),
        "Bronchiectasis": Lobar(_LOWER, (1, 2), (5, 5), (7, 8), 0),
    },
    whole={
        "Medical material": ("", 23.0, 25.0),
        "Cardiomegaly": ("", 1.18, 1.28),
        "Pericardial effusion": ("", 0.26, 0.38),
        "Pleural effusion": ("", 20.0, 50.0),
        "Hiatal hernia": ("", 46.0, 60.0),
        "Mosaic attenuation pattern": ("both", 52.0, 64.0),
        "Peribronchial thickening": ("both", 3.5, 5.0),
        "Interlobular septal thickening": ("both", 4.5, 6.0),
    },
    node_radius=(11, 14),
    nodes_need_cause=True,
    calcium_radius=(5.5, 7),
    calcium_count=(4, 8),
    calcium_offset=6.0,
    nodule_hu=450.0,
    band_hu=220.0,
    band_length=1.0,
    opacity_hu=-320.0,
    mosaic_hu=200.0,
    mosaic_shift=150.0,
    plate=14.0,
    septa=(22.0, 500.0),
    septa_even=True,
    airway_margin=7.0,
    graft=True,
    scale_free=True,
    rods=0.5,
    leaks={},
)

LOOKS: dict[str, Look] = {"demo": DEMO, "strict": STRICT}
