"""How each finding is drawn into the voxels, inside the region whose section of the report states it.

Cardiomegaly, pericardial effusion and peribronchial thickening change the organs themselves (`chest`); the others are
painted here, each by one function in `DRAW`; `DISTRACTORS` are drawn likewise, but neither labelled nor reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .body import MUSCLE, WATER, Body
from .chest import AORTA, HEART_TURN, chain, heart_frame
from .look import Point
from .plan import Finding
from .solids import BIT, Patch, turned

_CALCIUM = 1100.0
Draw = Callable[[Body, Finding], None]


def draw_findings(body: Body) -> None:
    """Paints the plan's findings and distractors, faint ones first, so that dense ones lie on top."""
    for name, draw in DRAW.items():
        found = body.has(name)
        if found:
            draw(body, found)
    for distractor in body.plan.distractors:
        DISTRACTORS[distractor.name](body, distractor)


# Mediastinum and heart


def _medical_material(body: Body, finding: Finding) -> None:
    c = body.canvas
    if body.look.graft:
        course, radius = body.path(AORTA[5:9]), finding.size / 2
        shell = [
            (outer, inner)
            for outer, inner in zip(c.tube(course, (radius,) * 3), c.tube(course, (radius - 4,) * 3), strict=True)
        ]
        for outer, _ in shell:
            c.paint(body.outside(outer), 1500.0, add=BIT["mediastinum"], remove=BIT["lung"] | BIT["pleura"])
        for _, inner in shell:
            c.paint(body.outside(inner), body.person.blood)
        return
    course = body.path(((24, 20, 114), (22, 8, 92), (22, 10, 50), (19, 14, 14), (14, 16, 2)))
    for patch in c.tube(course, (finding.size / 2,) * 4):
        c.paint(patch, 2200.0, add=BIT["mediastinum"], remove=BIT["lung"] | BIT["heart"])


def _along(points: Sequence[Point], share: float) -> Point:
    """The point at a share (0–1) of a course's length."""
    steps = np.linalg.norm(np.diff(np.asarray(points), axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    x, y, z = (float(np.interp(share, at, [p[axis] for p in points])) for axis in range(3))
    return x, y, z


def _arterial(body: Body, finding: Finding) -> None:
    course, out = body.path(AORTA[1:9]), body.look.calcium_offset
    for share, angle, _, radius in finding.spots:
        x, y, z = _along(course, share)
        patch = body.canvas.ellipsoid((x + out * np.cos(angle), y + out * np.sin(angle), z), (radius,) * 3)
        body.canvas.paint(body.outside(patch), _CALCIUM, add=BIT["mediastinum"], remove=BIT["lung"])


def _coronary(body: Body, finding: Finding) -> None:
    """Spots in the grooves of the heart's front and upper side, just under its surface."""
    frame = heart_frame(body)
    for share, angle, _, radius in finding.spots:
        a, b = -1.9 + 2.6 * share, 0.5 + 0.9 * np.sin(angle)
        on = np.array([np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)]) * (np.asarray(frame.radii) - 0.8 * radius)
        x, y, z = np.asarray(frame.centre) + on @ HEART_TURN * frame.stretch
        patch = body.canvas.ellipsoid((x, y, z), (radius,) * 3, stretch=frame.stretch)
        body.canvas.paint(patch, _CALCIUM, add=BIT["heart"], remove=BIT["lung"])


def _nodes(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        patch = body.canvas.ellipsoid((x, y, z), (radius, radius, 1.1 * radius))
        body.canvas.paint(body.outside(patch), 110.0, add=BIT["mediastinum"], remove=BIT["lung"])


def _hernia(body: Body, finding: Finding) -> None:
    if body.look.scale_free:
        return
    radius = finding.size / 2
    x, y, z = body.mm((-8.0, -34.0, -58.0))
    others = BIT["lung"] | BIT["mediastinum"] | BIT["heart"] | BIT["pleura"] | BIT["abdomen"]
    c = body.canvas
    c.paint(c.ellipsoid((x, y, z), (1.25 * radius, radius, 1.1 * radius)), 45.0, add=BIT["esophagus"], remove=others)
    c.paint(c.ellipsoid((x, y + 0.25 * radius, z), (0.8 * radius, 0.5 * radius, 0.6 * radius)), -700.0)


# Lung and pleura


def _balls(body: Body, finding: Finding) -> list[Patch]:
    """The spots of a finding inside the lung."""
    return [body.clip(body.canvas.ellipsoid((x, y, z), (r, r, r)), body.lung) for x, y, z, r in finding.spots]


def _emphysema(body: Body, finding: Finding) -> None:
    for patch in _balls(body, finding):
        body.canvas.shade(patch, -990.0, lighter=False)


def _nodule(body: Body, finding: Finding) -> None:
    for patch in _balls(body, finding):
        body.canvas.paint(patch, body.look.nodule_hu)


def _atelectasis(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        patch = body.canvas.ellipsoid((x, y, z), (radius, 0.8 * radius, body.look.plate), turned(body.rng, 0.35))
        body.canvas.paint(body.clip(patch, body.lung), 40.0)


def _opacity(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        a, b, c = (float(radius * body.rng.uniform(0.85, 1.15)) for _ in range(3))
        patch = body.canvas.ellipsoid((x, y, z), (a, b, c), turned(body.rng, 0.6))
        body.canvas.shade(body.clip(patch, body.lung), body.look.opacity_hu, lighter=True)


def _consolidation(body: Body, finding: Finding) -> None:
    """Cut at the oblique fissure, which bounds the lower lobe."""
    for x, y, z, radius in finding.spots:
        patch = body.canvas.ellipsoid((x, y, z), (radius, 0.85 * radius, radius), turned(body.rng, 0.5))
        _, v, w = body.canvas.at(patch.box)
        fissure = (w + 0.9 * v) / 1.35
        cut = body.canvas.soft(fissure - 4.0 if z < 0 else -fissure - 70.0)
        body.canvas.shade(body.clip(Patch(patch.box, patch.alpha * cut), body.lung), 40.0, lighter=True)


def _fibrosis(body: Body, finding: Finding) -> None:
    rng = body.rng
    for x, y, z, radius in finding.spots:
        side = 1.0 if x > 0 else -1.0
        stop = (x + side * rng.uniform(10, 22), y + rng.uniform(-30, 30), z + rng.uniform(14, 34))
        start = (x - side * 14, y + rng.uniform(-14, 14), z - 12)
        body.canvas.paint(body.clip(body.canvas.capsule(start, stop, radius), body.lung), body.look.band_hu)


def _effusion(body: Body, finding: Finding) -> None:
    c, box = body.canvas, body.chest
    u, v, w = c.at(box)
    _, ky, kz = body.person.scale
    # Fluid gathers behind and below: its surface slopes from the base to the apex.
    front = (-85 * ky + finding.size * 1.5 * (1 - (w + 100 * kz) / (190 * kz))) - v
    distance = np.maximum(np.maximum(body.depth, body.cavity - 1), -front * np.float32(0.85))
    if finding.side != "both":
        distance = np.maximum(distance, -u if finding.side == "right" else u)
    patch = Patch(box, c.soft(distance) * (body.lung[box] > 0))
    c.paint(patch, WATER, add=BIT["pleura"], remove=BIT["lung"])
    body.lung[box] *= 1 - patch.alpha


def _mosaic(body: Body, finding: Finding) -> None:
    c, box = body.canvas, body.chest
    k = np.float32(np.pi / finding.size)
    u, v, w = (np.sin(axis * k + np.float32(body.rng.uniform(0, 6.28))) for axis in c.at(box))
    cells = np.clip(u * v * w * 8, -1, 1) * np.float32(body.look.mosaic_hu)
    c.hu[box] += (cells + np.float32(body.look.mosaic_shift)) * body.lung[box]


def _septa(body: Body, finding: Finding) -> None:
    """A lattice of thin sheets in the lower lung; `septa_even` takes its mean out again, so that only texture tells."""
    c, box = body.canvas, body.chest
    period, step = body.look.septa
    sheets = np.zeros((1, 1, 1), dtype=np.float32)
    for axis in c.at(box)[: 2 if body.look.septa_even else 3]:
        phase = axis / np.float32(period)
        sheets = np.maximum(sheets, c.soft(np.abs(phase - np.round(phase)) * np.float32(period) - finding.size / 2))
    if body.look.septa_even:
        sheets = sheets - sheets.mean()
    c.hu[box] += sheets * c.soft(c.at(box)[2] - 8) * np.float32(step) * body.lung[box]


# Airways


def _bronchiectasis(body: Body, finding: Finding) -> None:
    """Bronchi of the lower lobes that widen to a chain of sacs towards the rim."""
    c, radius = body.canvas, finding.size / 2
    wall = 4.0 if body.look.airway_margin else 5.0
    inside = (body.lung > 0).astype(np.float32)
    for lobe in ("right lower lobe", "left lower lobe"):
        if finding.side in ("both", lobe.split()[0]):
            points = body.path(chain(lobe))
            for p in points:
                patch = body.clip(c.ellipsoid(p, (radius + wall,) * 3), inside)
                c.paint(patch, MUSCLE)
                body.mark_airway(patch)
            for p in points:
                c.paint(c.ellipsoid(p, (radius,) * 3), -1000.0)


# Distractors


def _rods(body: Body, finding: Finding) -> None:
    """Vessels that run along z: on a slice each looks like a nodule."""
    for x, y, z, radius in finding.spots:
        patch = body.canvas.capsule((x, y, z - 20), (x, y, z + 20), radius)
        body.canvas.paint(body.clip(patch, body.lung), 60.0)


DRAW: dict[str, Draw] = {
    "Pleural effusion": _effusion,
    "Mosaic attenuation pattern": _mosaic,
    "Emphysema": _emphysema,
    "Lung opacity": _opacity,
    "Interlobular septal thickening": _septa,
    "Consolidation": _consolidation,
    "Pulmonary fibrotic sequela": _fibrosis,
    "Atelectasis": _atelectasis,
    "Lung nodule": _nodule,
    "Bronchiectasis": _bronchiectasis,
    "Hiatal hernia": _hernia,
    "Lymphadenopathy": _nodes,
    "Arterial wall calcification": _arterial,
    "Medical material": _medical_material,
    "Coronary artery wall calcification": _coronary,
}
DISTRACTORS: dict[str, Draw] = {"vessel seen end on": _rods, "Lymphadenopathy": _nodes}
