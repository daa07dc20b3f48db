"""What lies around the chest: skin, muscle, couch, the abdomen with its organs, ribs, spine, sternum, shoulder, breasts."""

from __future__ import annotations

import numpy as np

from .body import BONE, FAT, GLAND, LIVER, MARROW, MUSCLE, MUSCLE_OUTLINE, SPLEEN, Body
from .solids import BIT, Patch, axes


def draw_trunk(body: Body) -> None:
    """Paints the trunk from the outside to the inside."""
    _skin_and_muscle(body)
    _abdomen(body)
    _ribs(body)
    _spine(body)
    _flat_bones(body)
    _breasts(body)


def _skin_and_muscle(body: Body) -> None:
    c, person = body.canvas, body.person
    everywhere = (slice(None), slice(None), slice(None))
    c.paint(Patch(everywhere, c.soft(body.oval(everywhere, MUSCLE_OUTLINE, person.fat))), FAT)
    body.muscle = c.soft(body.oval(everywhere, MUSCLE_OUTLINE))
    c.paint(Patch(everywhere, body.muscle), MUSCLE)
    c.paint(c.ellipsoid((0, -114 * person.scale[1] - person.fat - 16, 0), (190, 9, 900)), -300.0)


def _abdomen(body: Body) -> None:
    c, blood, top = body.canvas, body.person.blood, -30 * body.person.scale[2]
    box = c.box((-200, -160, -400), (200, 160, top))
    inside = c.soft(np.maximum(body.oval(box, MUSCLE_OUTLINE, -14.0), c.at(box)[2] - body.dome(box)))
    c.paint(Patch(box, inside), FAT, add=BIT["abdomen"])
    body.belly[box] = inside
    for centre, radii, hu in (
        ((20, 66, -160), (70, 26, 22), 40.0),
        ((-40, 60, -190), (60, 30, 20), 40.0),
        ((70, 20, -196), (40, 40, 30), 40.0),
        ((-70, 6, -176), (34, 34, 30), 40.0),
        ((62, 6, -104), (88, 88, 66), LIVER + 0.1 * blood),
        ((-30, 44, -92), (50, 42, 24), LIVER + 0.1 * blood),
        ((-96, -46, -104), (34, 36, 44), SPLEEN + 0.15 * blood),
        ((-58, 14, -112), (40, 44, 42), 25.0),
        ((-52, -58, -160), (24, 22, 52), 40 + 0.5 * blood),
        ((58, -58, -170), (24, 22, 52), 40 + 0.5 * blood),
        ((-56, 40, -102), (26, 14, 24), -950.0),
        ((10, 76, -160), (38, 9, 12), -900.0),
        ((-46, 72, -190), (34, 10, 10), -900.0),
    ):
        c.paint(body.clip(c.ellipsoid(body.mm(centre), body.mm(radii)), body.belly), hu)


def _ribs(body: Body) -> None:
    c, box = body.canvas, body.chest
    u, v, w = c.at(box)
    kx, ky, kz = body.person.scale
    # Ribs are slices of a shell round the cavity that slant down to the front: one periodic function draws all arcs.
    phase = (w / np.float32(kz) + np.float32(0.5) * v / np.float32(ky)) / 25.0
    slices = np.maximum(np.abs(body.cavity - 8.0) - 4.5, np.abs(phase - np.round(phase)) * 25.0 - 5.5)
    front = v - np.float32(74 * ky)
    bone = c.soft(np.maximum(np.maximum(slices, front), w - np.float32(118 * kz)))
    c.paint(Patch(box, bone), BONE, add=BIT["bone"])
    c.paint(Patch(box, c.soft(np.maximum(np.maximum(slices, -front), 22 * kx - np.abs(u)))), 110.0)


def _spine(body: Body) -> None:
    c = body.canvas
    kx, ky, kz = body.person.scale
    box = c.box(body.mm((-34, -125, -260)), body.mm((34, -40, 260)))
    u, v, w = c.at(box)
    column = (np.sqrt((u / (22 * kx)) ** 2 + ((v + 75 * ky) / (18 * ky)) ** 2) - 1) * np.float32(18 * ky) + 0 * w
    level = w / np.float32(25 * kz)
    disc = np.abs(level - np.round(level)) * 25 < 4.0
    value = np.where(disc, np.float32(100), np.where(column > -4, np.float32(0.6 * BONE), np.float32(MARROW)))
    c.paint(Patch(box, c.soft(column)), value, add=BIT["bone"], remove=BIT["abdomen"])
    arch = np.sqrt((u / (15 * kx)) ** 2 + ((v + 102 * ky) / (13 * ky)) ** 2) * 14 - 14 + 0 * w
    c.paint(Patch(box, c.soft(arch)), 0.7 * BONE, add=BIT["bone"], remove=BIT["abdomen"])
    c.paint(Patch(box, c.soft(arch + 7)), 30.0, remove=BIT["bone"])


def _flat_bones(body: Body) -> None:
    c = body.canvas
    for patch in (
        c.ellipsoid(body.mm((0, 93, 20)), body.mm((20, 6.5, 78))),
        c.ellipsoid(body.mm((104, -74, 62)), body.mm((34, 7, 52)), axes((0.8, 0.6, 0), (-0.6, 0.8, 0))),
        c.ellipsoid(body.mm((-104, -74, 62)), body.mm((34, 7, 52)), axes((0.8, -0.6, 0), (0.6, 0.8, 0))),
        c.capsule(body.mm((14, 74, 104)), body.mm((88, 20, 128)), 7.0),
        c.capsule(body.mm((-14, 74, 104)), body.mm((-88, 20, 128)), 7.0),
    ):
        c.paint(body.clip(patch, body.muscle), 0.75 * BONE, add=BIT["bone"])


def _breasts(body: Body) -> None:
    c = body.canvas
    female = body.person.sex == "female"
    grow = float(body.rng.uniform(0.9, 1.15)) if female else 0.8
    for side in (1, -1):
        x, y, z = body.mm((side * 72.0, 108.0, 12.0))
        whole = c.ellipsoid((x, y, z), (48 * grow, (42 if female else 24) * grow, 50 * grow))
        gland = c.ellipsoid((x, y + 6, z), (26 * grow, (26 if female else 10) * grow, 26 * grow))
        c.paint(body.clip(whole, 1 - body.muscle), FAT, add=BIT["breast"])
        c.paint(body.clip(gland, 1 - body.muscle), GLAND)
