"""What lies in the chest: lungs with vessels, pleura, mediastinum with the great vessels, heart, airways, oesophagus, thyroid.

Three findings change these organs themselves: cardiomegaly and pericardial effusion (`HeartFrame`), peribronchial thickening
(`_airways`); in the strict profile hiatal hernia too (`_scale_free_esophagus`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .body import FAT, WATER, Body
from .look import LOBES, Point
from .plan import HEART_HEIGHT
from .solids import BIT, Box, Patch, axes, turned

AORTA: tuple[Point, ...] = (
    (6, 14, -8), (13, 20, 18), (12, 16, 42), (2, 2, 58), (-12, -18, 60), (-24, -36, 46), (-27, -42, 10), (-24, -44, -40),
    (-18, -46, -90), (-10, -46, -150), (-6, -46, -230),
)  # fmt: skip
_AORTA_RADII = (15, 15, 14, 13, 12.5, 12, 11.5, 11.5, 11, 10)
_VEINS: tuple[tuple[tuple[Point, ...], float], ...] = (
    (((20, 10, 112), (22, 8, 60), (22, 12, 8)), 9.0),
    (((-34, 30, 116), (0, 24, 84), (20, 10, 72)), 6.0),
    (((30, 4, 14), (-6, 24, 14)), 11.0),
)
_TRACHEA: tuple[Point, ...] = ((0, -6, 230), (0, -8, 110), (0, -12, 36))
# Bronchi: name → course and inner radii. Lobar branches end in their lobes.
BRONCHI: dict[str, tuple[tuple[Point, ...], tuple[float, ...]]] = {
    "right main": (((0, -12, 36), (30, -16, 16)), (7.5,)),
    "left main": (((0, -12, 36), (-36, -18, 12)), (7.0,)),
    "right upper lobe": (((30, -16, 16), (52, -8, 34), (64, -2, 54)), (5.0, 3.5)),
    "right middle lobe": (((38, -18, 4), (58, 8, -6), (72, 26, -14)), (4.5, 3.5)),
    "right lower lobe": (((30, -16, 16), (44, -26, -8), (60, -36, -34)), (5.5, 4.0)),
    "left upper lobe": (((-36, -18, 12), (-54, -4, 30), (-64, 6, 50)), (5.0, 3.5)),
    "left lower lobe": (((-36, -18, 12), (-48, -30, -10), (-62, -40, -34)), (5.5, 4.0)),
}
_WALL = 1.8
_ENDS = 0.65  # what the round ends of sheaths and their overlaps add to a thin wall's tissue, taken off again (measured)
_ESOPHAGUS: tuple[Point, ...] = ((0, -26, 230), (0, -30, 90), (-3, -32, 30), (-6, -34, -20), (-12, -30, -62), (-26, -10, -92))
# The heart's chambers: offset and size as shares of its radii along its own axes.
_CHAMBERS: tuple[tuple[Point, float], ...] = (
    ((0.32, 0.05, -0.05), 0.52),
    ((-0.2, 0.36, 0.0), 0.44),
    ((-0.46, -0.3, 0.3), 0.36),
    ((-0.5, 0.2, 0.3), 0.34),
)
# Its long axis points to the left, the front and down.
HEART_TURN = axes((-0.80, 0.42, -0.42), (0.45, 0.89, 0.0))


def draw_chest(body: Body) -> None:
    """Paints the chest's organs."""
    frame = heart_frame(body)
    _lungs(body, frame)
    _vessels(body)
    _mediastinum(body)
    if not body.look.scale_free:
        _heart(body, frame)
    _airways(body)
    _esophagus(body)
    if body.look.scale_free:
        # Last, so that nothing cuts into a large heart: a cut would tell its size.
        _heart(body, frame)
    _thyroid(body)


# Lungs, pleura, mediastinum


def _lungs(body: Body, frame: HeartFrame) -> None:
    c, box = body.canvas, body.chest
    u, v, _ = c.at(box)
    kx, ky, _ = body.person.scale
    spine = (np.sqrt((u / (27 * kx)) ** 2 + ((v + 75 * ky) / (25 * ky)) ** 2) - 1) * np.float32(25 * ky)
    depth = np.maximum(np.maximum(body.cavity + 1.5, body.floor + 2.0), np.maximum(-body.middle, -spine))
    body.depth = depth = np.maximum(depth, -frame.distance(body, box, 5.0))
    share = c.soft(depth)
    body.lung[box] = share
    c.paint(Patch(box, share), np.float32(body.person.lung) - np.float32(0.25) * v, add=BIT["lung"], remove=BIT["abdomen"])
    # A shell that overlaps the lung's rim by 3 mm; towards the mediastinum there is none.
    shell = c.soft(np.maximum(np.maximum(depth - 6.0, -3.0 - depth), -body.middle - 6.0))
    c.mark(Patch(box, shell), add=BIT["pleura"])
    c.mark(Patch(box, shell * (share < 0.5)), remove=BIT["abdomen"])


def _vessels(body: Body) -> None:
    """Two generations of branches from the hilum to each lobe."""
    rng = body.rng
    for lobe, centre in LOBES.items():
        root = np.array([38.0 if lobe.startswith("right") else -38.0, -8.0, 8.0])
        middle = root + 0.5 * (np.asarray(centre) - root) + rng.uniform(-6, 6, 3)
        _vessel(body, root, middle, 4.5)
        for _ in range(4):
            _vessel(body, middle, 2 * middle - root + rng.uniform(-34, 34, 3), float(rng.uniform(2.0, 2.8)))


def _vessel(body: Body, start: np.ndarray, stop: np.ndarray, radius: float) -> None:
    a, b = body.mm(tuple(start)), body.mm(tuple(stop))
    body.canvas.paint(body.clip(body.canvas.capsule(a, b, radius), body.lung), 0.6 * body.person.blood)


def _mediastinum(body: Body) -> None:
    c, box, blood = body.canvas, body.chest, body.person.blood
    inside = np.maximum(
        np.maximum(body.middle, body.cavity), np.maximum(body.floor + 2, c.at(box)[2] - 116 * body.person.scale[2])
    )
    # Voxels that hold some bone stay out, else their rim would look like calcium.
    share = c.soft(np.maximum(inside, -body.depth)) * (c.hu[box] < 130)
    c.paint(Patch(box, np.minimum(share, 1 - body.lung[box])), FAT)
    c.mark(Patch(box, share), add=BIT["mediastinum"], remove=BIT["lung"])
    for patch in c.tube(body.path(AORTA), _AORTA_RADII):
        _great_vessel(body, patch, blood)
    for course, radius in _VEINS:
        for patch in c.tube(body.path(course), (radius,) * (len(course) - 1)):
            _great_vessel(body, patch, 0.9 * blood)
    for side in (1, -1):
        _great_vessel(body, c.capsule(body.mm((0, 22, 14)), body.mm((side * 40.0, -6.0, 10.0)), 9.0), 0.95 * blood)


def _great_vessel(body: Body, patch: Patch, hu: float) -> None:
    """Great vessels above the diaphragm belong to the mediastinum, not to the lung."""
    body.canvas.paint(patch, hu)
    above = patch.alpha * (body.canvas.at(patch.box)[2] > -92 * body.person.scale[2])
    body.canvas.mark(Patch(patch.box, above), add=BIT["mediastinum"], remove=BIT["lung"] | BIT["pleura"])


# The heart


@dataclasses.dataclass(frozen=True, slots=True)
class HeartFrame:
    """The heart's ellipsoid: centre, radii along its own axes, thickness of pericardial fluid; `stretch` scales all of it.

    In the strict profile size shows only in `stretch`, along the body's axes, so that a crop resized to its box looks the
    same for every size: enlargement stretches all axes, fluid (of the heart's own density) stretches it upright.
    """

    centre: Point
    radii: Point
    fluid: float
    stretch: Point

    def distance(self, body: Body, box: Box, grow: float) -> np.ndarray:
        """Distance of a box's voxels to the heart with its sac, `grow` mm larger."""
        x, y, z = (r + grow + self.fluid for r in self.radii)
        return body.canvas.ellipsoid_distance(box, self.centre, (x, y, z), HEART_TURN, self.stretch)

    def part(self, body: Body, offset: Point, radii: Point) -> Patch:
        """An ellipsoid at a share `offset` of the radii along the heart's own axes."""
        shift = np.asarray(offset) * self.radii @ HEART_TURN * self.stretch
        x, y, z = (float(a + b) for a, b in zip(self.centre, shift, strict=True))
        return body.canvas.ellipsoid((x, y, z), radii, HEART_TURN, self.stretch)


def heart_frame(body: Body) -> HeartFrame:
    """The heart as the plan wants it."""
    big, wet = body.has("Cardiomegaly"), body.has("Pericardial effusion")
    size = body.person.heart * (big.size if big else 1.0)
    if body.look.scale_free:
        kx, ky, kz = body.person.scale
        fluid = wet.size / HEART_HEIGHT if wet else 0.0
        # A large heart grows forwards: the oesophagus behind it keeps its fat.
        centre = body.mm((-14, 22 + 25 * (size - 1), -36))
        return HeartFrame(centre, (55, 40, HEART_HEIGHT), 0.0, (kx * size, ky * size, kz * size + fluid))
    more = size - 1.0
    centre = body.mm((-17 - 26 * more, 25 + 6 * more, -28 + 26 * more))
    # An enlarged heart is rounder: its short axes grow more.
    radii = body.mm((62 * size, 43 * (1 + 1.15 * more), 45 * (1 + 1.15 * more)))
    return HeartFrame(centre, radii, wet.size if wet else 0.0, (1, 1, 1))


def _heart(body: Body, frame: HeartFrame) -> None:
    c, blood = body.canvas, body.person.blood
    room = np.ones(c.shape, dtype=np.float32)
    if not body.look.scale_free:
        room[body.chest] = c.soft(np.maximum(body.cavity, body.floor))
    x, y, z = frame.radii
    muscle = 60 + 0.25 * blood
    if body.look.scale_free:
        # Fat all round: what the rim mixes with must not depend on how far the heart reaches.
        fat = frame.part(body, (0, 0, 0), (x + 6, y + 6, z + 6))
        c.paint(fat, FAT)
        body.spare(fat)
    sac = body.clip(frame.part(body, (0, 0, 0), (x + frame.fluid, y + frame.fluid, z + frame.fluid)), room)
    others = 0xFFFF if body.look.scale_free else BIT["mediastinum"] | BIT["lung"] | BIT["pleura"] | BIT["abdomen"]
    c.paint(sac, WATER if frame.fluid else muscle, add=BIT["heart"], remove=others)
    c.paint(body.clip(frame.part(body, (0, 0, 0), frame.radii), room), muscle)
    for offset, share in _CHAMBERS:
        c.paint(body.clip(frame.part(body, offset, (share * x, share * y, share * z)), room), blood)


# Tubes


def airway(body: Body, points: Sequence[Point], radii: Sequence[float], wall: float, margin: float = 0.0) -> None:
    """An air-filled tube with a wall. Its mask is the tube with its wall, or, with a `margin`, a sheath of that thickness."""
    c = body.canvas
    for patch in c.tube(points, [r + (margin or wall) for r in radii]):
        body.mark_airway(patch)
    for patch in c.tube(points, [r + wall for r in radii]):
        c.paint(patch, 40.0)
    for patch in c.tube(points, radii):
        c.paint(patch, -1000.0)


def _airways(body: Body) -> None:
    thick = body.has("Peribronchial thickening")
    wall, margin = _WALL + (thick.size if thick else 0.0), body.look.airway_margin
    like = float(body.rng.uniform(*body.look.whole["Peribronchial thickening"][1:])) if margin else 0.0
    airway(body, body.path(_TRACHEA), (9.0, 9.0), 2.0)
    for name, (points, radii) in BRONCHI.items():
        lobar = "lobe" in name
        if lobar and margin and not thick:
            _sheath(body, name, margin, like)
        airway(body, body.path(points), radii, wall if lobar else 2.0, margin if lobar else 0.0)
    if margin:
        for lobe in ("right lower lobe", "left lower lobe"):
            _distal(body, lobe, margin)


def _sheath(body: Body, name: str, margin: float, like: float) -> None:
    """What runs beside a healthy bronchus, spread over twice its mask's margin: as much tissue as a wall thicker by `like` mm
    would add. So a thick wall changes the detail, not the mean density that the whole volume shows.
    """
    points, radii = BRONCHI[name]
    for patch, r in zip(body.canvas.tube(body.path(points), [r + 2 * margin for r in radii]), radii, strict=True):
        thin = (r + _WALL) ** 2
        share = _ENDS * ((r + _WALL + like) ** 2 - thin) / ((r + 2 * margin) ** 2 - thin)
        body.canvas.paint(Patch(patch.box, patch.alpha * np.float32(share)), 40.0)


def chain(lobe: str) -> list[Point]:
    """Where the bronchi of a lower lobe end: five places from its bronchus to the rim."""
    x, y, z = BRONCHI[lobe][0][-1]
    s = 1.0 if x > 0 else -1.0
    return [
        (x, y, z),
        (x + s * 16, y - 6, z - 12),
        (x + s * 32, y - 2, z - 4),
        (x + s * 22, y + 18, z - 14),
        (x + s * 2, y - 14, z - 24),
    ]


def _distal(body: Body, lobe: str, margin: float) -> None:
    """The ends of the bronchi, whose sheath a segmenter gives whether they are widened or not."""
    points = body.path(chain(lobe))
    inside = (body.lung > 0).astype(np.float32)
    for p in points:
        body.mark_airway(body.clip(body.canvas.ellipsoid(p, (margin + 5,) * 3), inside))
    airway(body, points, (2.5, 2.5, 2.5, 2.5), 1.2)


def _esophagus(body: Body) -> None:
    if body.look.scale_free:
        _scale_free_esophagus(body)
        return
    others = BIT["lung"] | BIT["pleura"]
    for i, patch in enumerate(body.canvas.tube(body.path(_ESOPHAGUS), (8.0, 8.0, 8.0, 8.5, 9.0))):
        body.canvas.paint(patch, 40.0, add=BIT["esophagus"], remove=others | (BIT["abdomen"] if i == 4 else 0))


def _scale_free_esophagus(body: Body) -> None:
    """A straight oesophagus with the stomach's entry as a bulb: in a hernia all of it lies higher, the bulb in the chest.

    Only its place tells a hernia: its length doesn't depend on it, and it has the same fat around it all along.
    """
    c, hernia = body.canvas, body.has("Hiatal hernia")
    kx, ky, kz = body.person.scale
    bottom = -104.0 + (hernia.size / kz if hernia else 0.0)
    top = bottom + float(body.rng.uniform(140, 160))
    others = BIT["lung"] | BIT["pleura"] | BIT["abdomen"]

    def solids(grow: float) -> tuple[Patch, Patch]:
        bulb = body.mm((8, -46, bottom + 16))
        tube = c.capsule(body.mm((8, -44, top)), bulb, 8.0 * (kx + ky) / 2 + grow)
        return tube, c.ellipsoid(bulb, (16 * kx + grow, 10 * ky + grow, 16 * kz + grow))

    for patch in solids(5.0):
        c.paint(patch, FAT)
        body.spare(patch)
    for patch in solids(0.0):
        c.paint(patch, 42.0, add=BIT["esophagus"], remove=others)


def _thyroid(body: Body) -> None:
    if not body.person.thyroid:
        return
    c, hu = body.canvas, 120 + 0.3 * body.person.blood
    for side in (1, -1):
        lobe = c.ellipsoid(body.mm((side * 19.0, 2.0, 150.0)), body.mm((9, 11, 17)), turned(body.rng, 0.1))
        c.paint(lobe, hu, add=BIT["thyroid"])
    c.paint(c.capsule(body.mm((-14, 10, 146)), body.mm((14, 10, 146)), 5.0), hu, add=BIT["thyroid"])
