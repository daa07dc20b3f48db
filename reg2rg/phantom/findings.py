"""How each finding is drawn into the voxels, inside the region whose section of the report states it.

Cardiomegaly, pericardial effusion and peribronchial thickening change the body itself (`body`); the others are painted
here, each by one function in `DRAW`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .body import AORTA, BRONCHI, HEART_TURN, MUSCLE, WATER, Body
from .plan import Finding, Point
from .solids import BIT, Patch, turned

_CALCIUM = 1100.0


def _along(points: list[Point], share: float) -> Point:
    """The point at a share (0–1) of a course's length."""
    steps = np.linalg.norm(np.diff(np.asarray(points), axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    x, y, z = (float(np.interp(share, at, [p[axis] for p in points])) for axis in range(3))
    return x, y, z


def _medical_material(body: Body, finding: Finding) -> None:
    course = body.path(((24, 20, 114), (22, 8, 92), (22, 10, 50), (19, 14, 14), (14, 16, 2)))
    for patch in body.canvas.tube(course, (finding.size / 2,) * 4):
        body.canvas.paint(patch, 2200.0, add=BIT["mediastinum"], remove=BIT["lung"] | BIT["heart"])


def _arterial(body: Body, finding: Finding) -> None:
    course = body.path(AORTA[1:9])
    for share, angle, _, radius in finding.spots:
        x, y, z = _along(course, share)
        centre = (x + 10 * np.cos(angle), y + 10 * np.sin(angle), z)
        body.canvas.paint(body.canvas.ellipsoid(centre, (radius,) * 3), _CALCIUM, add=BIT["mediastinum"], remove=BIT["lung"])


def _coronary(body: Body, finding: Finding) -> None:
    centre, radii = body.heart_frame()
    for share, angle, _, radius in finding.spots:
        # Along the grooves of the heart's front and upper side, just under its surface.
        a, b = -1.9 + 2.6 * share, 0.5 + 0.9 * np.sin(angle)
        on = np.array([np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)]) * (np.asarray(radii) - 0.8 * radius)
        x, y, z = np.asarray(centre) + on @ HEART_TURN
        body.canvas.paint(body.canvas.ellipsoid((x, y, z), (radius,) * 3), _CALCIUM, add=BIT["heart"], remove=BIT["lung"])


def _hernia(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        others = BIT["lung"] | BIT["mediastinum"] | BIT["heart"] | BIT["pleura"] | BIT["abdomen"]
        body.canvas.paint(
            body.canvas.ellipsoid((x, y, z), (1.25 * radius, radius, 1.1 * radius)), 45.0, add=BIT["esophagus"], remove=others
        )
        body.canvas.paint(body.canvas.ellipsoid((x, y + 0.25 * radius, z), (0.8 * radius, 0.5 * radius, 0.6 * radius)), -700.0)


def _nodes(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        body.canvas.paint(
            body.canvas.ellipsoid((x, y, z), (radius, radius, 1.1 * radius)), 110.0, add=BIT["mediastinum"], remove=BIT["lung"]
        )


def _emphysema(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        body.canvas.shade(body.clip(body.canvas.ellipsoid((x, y, z), (radius,) * 3), body.lung), -990.0, lighter=False)


def _in_lobe(body: Body, patch: Patch, x: float, z: float) -> Patch:
    """A patch cut at its lung's rim and at the oblique fissure that bounds the lower lobe."""
    v, w = body.canvas.at(patch.box)[1:]
    fissure = (w + 0.9 * v) / 1.35
    below = z < 0
    cut = body.canvas.soft(fissure - 4.0 if below else -fissure - 70.0)
    return body.clip(Patch(patch.box, patch.alpha * cut), body.lung)


def _atelectasis(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        turn = turned(body.rng, 0.35)
        patch = body.canvas.ellipsoid((x, y, z), (radius, 0.8 * radius, 8.5), turn)
        body.canvas.paint(body.clip(patch, body.lung), 40.0)


def _nodule(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        body.canvas.paint(body.clip(body.canvas.ellipsoid((x, y, z), (radius,) * 3), body.lung), 450.0)


def _opacity(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        shape = tuple(float(radius * body.rng.uniform(0.85, 1.15)) for _ in range(3))
        patch = body.canvas.ellipsoid((x, y, z), shape, turned(body.rng, 0.6))  # type: ignore[arg-type]
        body.canvas.shade(body.clip(patch, body.lung), -480.0, lighter=True)


def _consolidation(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        patch = body.canvas.ellipsoid((x, y, z), (radius, 0.85 * radius, radius), turned(body.rng, 0.5))
        body.canvas.shade(_in_lobe(body, patch, x, z), 40.0, lighter=True)


def _fibrosis(body: Body, finding: Finding) -> None:
    for x, y, z, radius in finding.spots:
        side = np.sign(x)
        stop = (x + side * body.rng.uniform(10, 22), y + body.rng.uniform(-30, 30), z + body.rng.uniform(14, 34))
        start = (x - side * 14, y + body.rng.uniform(-14, 14), z - 12)
        body.canvas.paint(body.clip(body.canvas.capsule(start, stop, radius), body.lung), 180.0)


def _effusion(body: Body, finding: Finding) -> None:
    c, box = body.canvas, body.chest
    u, v, w = c.at(box)
    ky, kz = body.person.scale[1:]
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
    u, v, w = c.at(box)
    k = np.float32(np.pi / finding.size)
    a, b, d = body.rng.uniform(0, 6.28, 3)
    wave = np.sin(u * k + np.float32(a)) * np.sin(v * k + np.float32(b)) * np.sin(w * k + np.float32(d))
    c.hu[box] += np.clip(wave * 8, -1, 1) * np.float32(170) * body.lung[box]


def _septa(body: Body, finding: Finding) -> None:
    c, box = body.canvas, body.chest
    sheets = np.zeros((1, 1, 1), dtype=np.float32)
    for axis in c.at(box):
        phase = axis / np.float32(26)
        sheets = np.maximum(sheets, c.soft(np.abs(phase - np.round(phase)) * 26 - finding.size / 2))
    low = c.soft(c.at(box)[2] - 8)
    c.hu[box] += sheets * low * np.float32(450) * body.lung[box]


def _bronchiectasis(body: Body, finding: Finding) -> None:
    """Bronchi of the lower lobes that widen to a chain of sacs towards the rim."""
    c = body.canvas
    lobes = ["right lower lobe", "left lower lobe"] if finding.side == "both" else [f"{finding.side} lower lobe"]
    for lobe in lobes:
        end = BRONCHI[lobe][0][-1]
        side = np.sign(end[0])
        chain = [end, (end[0] + side * 16, end[1] - 6, end[2] - 12), (end[0] + side * 32, end[1] - 2, end[2] - 4),
                 (end[0] + side * 22, end[1] + 18, end[2] - 14), (end[0] + side * 2, end[1] - 14, end[2] - 24)]  # fmt: skip
        walls = [c.ellipsoid(body.mm(p), (finding.size / 2 + 5,) * 3) for p in chain]
        for patch in walls:
            c.paint(
                body.clip(patch, (body.lung > 0).astype(np.float32)),
                MUSCLE,
                add=BIT["trachea and bronchie"],
                remove=BIT["lung"],
            )
        for p in chain:
            c.paint(c.ellipsoid(body.mm(p), (finding.size / 2,) * 3), -1000.0)


DRAW: dict[str, Callable[[Body, Finding], None]] = {
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


def draw_findings(body: Body) -> None:
    """Paints the plan's findings, faint ones first, so that dense ones lie on top."""
    for name, draw in DRAW.items():
        found = body.has(name)
        if found:
            draw(body, found)
