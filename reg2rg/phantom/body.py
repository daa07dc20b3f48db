"""The body without findings: a torso of smooth solids with the ten regions as a segmenter would give them.

Everything is stated for an average person and multiplied by `Person.scale`. Painted from the outside to the inside:
skin, muscle, fat, abdomen, ribs and spine, lungs, pleura, mediastinum, heart, airways, oesophagus, thyroid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .plan import LOBES, Finding, Plan, Point
from .solids import BIT, Box, Canvas, Patch, turned

FAT, MUSCLE, BONE, MARROW, LIVER, SPLEEN, WATER, GLAND = -100.0, 50.0, 700.0, 250.0, 95.0, 80.0, 10.0, 25.0

# Half widths (x) and half depths (y) over z: the muscle's surface and the thoracic cavity's, average person, mm.
_MUSCLE = np.array(
    [[-240, -120, -30, 60, 100, 128, 150, 172, 230], [144, 150, 154, 150, 143, 124, 96, 68, 60],
     [108, 112, 114, 110, 101, 88, 76, 64, 58]]
)  # fmt: skip
_CAVITY = np.array(
    [[-130, -90, -40, 20, 66, 100, 118, 130], [119, 128, 131, 122, 101, 70, 40, 12], [74, 81, 85, 80, 68, 48, 28, 9]]
)

AORTA: tuple[Point, ...] = (
    (6, 14, -8), (13, 20, 18), (12, 16, 42), (2, 2, 58), (-12, -18, 60), (-24, -36, 46), (-27, -42, 10), (-24, -44, -40),
    (-18, -46, -90), (-10, -46, -150), (-6, -46, -230),
)  # fmt: skip
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
_ESOPHAGUS: tuple[Point, ...] = ((0, -26, 230), (0, -30, 90), (-3, -32, 30), (-6, -34, -20), (-12, -30, -62), (-26, -10, -92))
HEART: tuple[Point, Point] = ((-17, 25, -28), (62, 43, 45))


def _rotation(x: Sequence[float], y: Sequence[float]) -> np.ndarray:
    a = np.asarray(x, dtype=np.float64)
    a = a / np.linalg.norm(a)
    b = np.asarray(y, dtype=np.float64)
    b = b - (b @ a) * a
    b = b / np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)])


# The heart's long axis points to the left, the front and down.
HEART_TURN = _rotation((-0.80, 0.42, -0.42), (0.45, 0.89, 0.0))


class Body:
    """One person's body on a canvas; `lung` (X, Y, Z) is how much of each voxel is lung, `depth` its distance in mm."""

    def __init__(self, canvas: Canvas, plan: Plan) -> None:
        self.canvas, self.plan, self.person = canvas, plan, plan.person
        self.rng = plan.stream(2)
        self.airway_wall = 1.8
        self.lung = np.zeros(canvas.shape, dtype=np.float32)
        reach = [150 * self.person.scale[0], 130 * self.person.scale[1]]
        low, high = -135 * self.person.scale[2], 135 * self.person.scale[2]
        self.chest: Box = canvas.box((-reach[0], -reach[1], low), (reach[0], reach[1], high))

    def mm(self, point: Point) -> Point:
        """A point or radius of the average person, for this one."""
        a, b, c = (p * k for p, k in zip(point, self.person.scale, strict=True))
        return a, b, c

    def path(self, points: Sequence[Point]) -> list[Point]:
        """A course of the average person, for this one."""
        return [self.mm(p) for p in points]

    def has(self, name: str) -> Finding | None:
        """The planned finding of that name, or None."""
        return self.plan.finding(name)

    def clip(self, patch: Patch, field: np.ndarray) -> Patch:
        """The part of a patch inside a full-size field of shares."""
        return Patch(patch.box, patch.alpha * field[patch.box])

    # The trunk

    def draw(self) -> None:
        """Paints the whole body."""
        self._trunk()
        self._chest_fields()
        self._abdomen()
        self._bones()
        self._breasts()
        self._lungs()
        self._mediastinum()
        self._heart()
        self._airways()
        self._esophagus()
        self._thyroid()

    def _profile(self, table: np.ndarray, w: np.ndarray, row: int) -> np.ndarray:
        return np.interp(w / self.person.scale[2], table[0], table[row] * self.person.scale[row - 1]).astype(np.float32)

    def _oval(self, box: Box, table: np.ndarray, grow: float = 0.0, exact: bool = False) -> np.ndarray:
        """Signed distance (mm) to a cylinder whose cross-section is |x/a|³ + |y/b|³ = 1 with a, b from a table over z."""
        u, v, w = self.canvas.at(box)
        a, b = self._profile(table, w, 1) + np.float32(grow), self._profile(table, w, 2) + np.float32(grow)
        a3, b3, u2, v2 = a**-3, b**-3, u * u, v * v
        f = (np.abs(u) * u2) * a3 + (np.abs(v) * v2) * b3
        if not exact:
            return (f - 1) * (np.minimum(a, b) / 3)
        slope = np.sqrt((u2 * u2) * (a3 * a3) + (v2 * v2) * (b3 * b3)) * 3
        return (f - 1) / np.maximum(slope, np.float32(0.004))

    def _trunk(self) -> None:
        c, everywhere = self.canvas, (slice(None), slice(None), slice(None))
        skin = self._oval(everywhere, _MUSCLE, self.person.fat)
        c.paint(Patch(everywhere, c.soft(skin)), FAT)
        self.muscle = c.soft(self._oval(everywhere, _MUSCLE))
        c.paint(Patch(everywhere, self.muscle), MUSCLE)
        c.paint(c.ellipsoid((0, -114 * self.person.scale[1] - self.person.fat - 16, 0), (190, 9, 900)), -300.0)

    def _chest_fields(self) -> None:
        """Distances on the chest's box: `cavity` (mm, negative inside) and `floor` (mm, positive below the diaphragm)."""
        box = self.chest
        u, v, w = self.canvas.at(box)
        kx, ky, kz = self.person.scale
        self.cavity = self._oval(box, _CAVITY, exact=True)

        def dome(x: float, y: float, top: float, rx: float, ry: float, drop: float) -> np.ndarray:
            return (top - drop * (((u / kx - x) / rx) ** 2 + ((v / ky - y) / ry) ** 2)) * np.float32(kz)

        self.dome = np.maximum(
            np.maximum(dome(68, -4, -46, 72, 82, 44), dome(-68, -4, -56, 72, 82, 42)), dome(-8, 10, -72, 90, 90, 28)
        )
        self.floor = (self.dome - w) * np.float32(0.8)

    def _abdomen(self) -> None:
        c, box = self.canvas, self.chest
        full = c.box((-200, -160, -400), (200, 160, -30 * self.person.scale[2]))
        w = c.at(full)[2]
        kz = self.person.scale[2]
        dome = np.full((full[0].stop - full[0].start, full[1].stop - full[1].start, 1), -90 * kz, dtype=np.float32)
        x, y = box[0].start - full[0].start, box[1].start - full[1].start
        x, y = max(x, 0), max(y, 0)
        part = self.dome[: dome.shape[0] - x, : dome.shape[1] - y]
        dome[x : x + part.shape[0], y : y + part.shape[1]] = part
        wall = self._oval(full, _MUSCLE, -14.0)
        inside = c.soft(np.maximum(wall, w - dome))
        c.paint(Patch(full, inside), FAT, add=BIT["abdomen"])
        self.belly = np.zeros(c.shape, dtype=np.float32)
        self.belly[full] = inside
        blood = self.person.blood
        for centre, radii, hu in (
            ((62, 6, -104), (88, 88, 66), LIVER + 0.1 * blood),
            ((-30, 44, -92), (50, 42, 24), LIVER + 0.1 * blood),
            ((-96, -46, -104), (34, 36, 44), SPLEEN + 0.15 * blood),
            ((-58, 14, -112), (40, 44, 42), 25.0),
            ((-52, -58, -160), (24, 22, 52), 40 + 0.5 * blood),
            ((58, -58, -170), (24, 22, 52), 40 + 0.5 * blood),
        ):
            c.paint(self.clip(c.ellipsoid(self.mm(centre), self.mm(radii)), self.belly), hu)
        c.paint(self.clip(c.ellipsoid(self.mm((-56, 40, -102)), self.mm((26, 14, 24))), self.belly), -950.0)

    def _bones(self) -> None:
        c, box = self.canvas, self.chest
        u, v, w = c.at(box)
        kx, ky, kz = self.person.scale
        # Ribs are slices of a shell round the cavity that slant down to the front: one periodic function draws all arcs.
        phase = (w / np.float32(kz) + np.float32(0.5) * v / np.float32(ky)) / 25.0
        slice_ = np.abs(phase - np.round(phase)) * 25.0 - 5.5
        shell = np.abs(self.cavity - 8.0) - 4.5
        ends = np.maximum(v - np.float32(74 * ky), w - np.float32(118 * kz))
        ribs = Patch(box, c.soft(np.maximum(np.maximum(shell, slice_), ends)))
        c.paint(ribs, BONE, add=BIT["bone"])
        cartilage = c.soft(np.maximum(np.maximum(shell, slice_), np.maximum(74 * ky - v, 22 * kx - np.abs(u))))
        c.paint(Patch(box, cartilage), 110.0)
        spine = c.box(self.mm((-34, -125, -260)), self.mm((34, -40, 260)))
        u, v, w = c.at(spine)
        around = np.sqrt((u / (22 * kx)) ** 2 + ((v + 75 * ky) / (18 * ky)) ** 2)
        column = (around - 1) * np.float32(18 * ky) + 0 * w
        level = w / np.float32(25 * kz)
        disc = np.abs(level - np.round(level)) * 25 < 4.0
        body = c.soft(column)
        value = np.where(disc, np.float32(100), np.where(column > -4, np.float32(0.6 * BONE), np.float32(MARROW)))
        c.paint(Patch(spine, body), value, add=BIT["bone"], remove=BIT["abdomen"])
        arch = np.sqrt((u / (15 * kx)) ** 2 + ((v + 102 * ky) / (13 * ky)) ** 2) * 14 - 14
        c.paint(Patch(spine, c.soft(arch + 0 * w)), 0.7 * BONE, add=BIT["bone"], remove=BIT["abdomen"])
        c.paint(Patch(spine, c.soft(arch + 7 + 0 * w)), 30.0, remove=BIT["bone"])
        for patch in (
            c.ellipsoid(self.mm((0, 93, 20)), self.mm((20, 6.5, 78))),
            c.ellipsoid(self.mm((104, -74, 62)), self.mm((34, 7, 52)), _rotation((0.8, 0.6, 0), (-0.6, 0.8, 0))),
            c.ellipsoid(self.mm((-104, -74, 62)), self.mm((34, 7, 52)), _rotation((0.8, -0.6, 0), (0.6, 0.8, 0))),
            c.capsule(self.mm((14, 74, 104)), self.mm((88, 20, 128)), 7.0),
            c.capsule(self.mm((-14, 74, 104)), self.mm((-88, 20, 128)), 7.0),
        ):
            c.paint(self.clip(patch, self.muscle), 0.75 * BONE, add=BIT["bone"])

    def _breasts(self) -> None:
        c = self.canvas
        female = self.person.sex == "female"
        grow = float(self.rng.uniform(0.9, 1.15)) if female else 0.8
        for side in (1, -1):
            centre, radii = self.mm((side * 72.0, 108.0, 12.0)), (48 * grow, (42 if female else 24) * grow, 50 * grow)
            patch = c.ellipsoid(centre, radii)
            outside = Patch(patch.box, patch.alpha * (1 - self.muscle[patch.box]))
            c.paint(outside, FAT, add=BIT["breast"])
            gland = c.ellipsoid((centre[0], centre[1] + 6, centre[2]), (26 * grow, (26 if female else 10) * grow, 26 * grow))
            c.paint(Patch(gland.box, gland.alpha * (1 - self.muscle[gland.box])), GLAND)

    # The chest

    def _lungs(self) -> None:
        c, box = self.canvas, self.chest
        u, v, _ = c.at(box)
        kx, ky, _ = self.person.scale
        self.middle = c.ellipsoid_distance(box, self.mm((-2, 0, 30)), self.mm((35, 88, 132)))
        spine = (np.sqrt((u / (27 * kx)) ** 2 + ((v + 75 * ky) / (25 * ky)) ** 2) - 1) * np.float32(25 * ky)
        distance = np.maximum(np.maximum(self.cavity + 1.5, self.floor + 2.0), np.maximum(-self.middle, -spine))
        distance = np.maximum(distance, -self._heart_distance(box, 5.0))
        self.depth = distance
        share = c.soft(distance)
        self.lung[box] = share
        tissue = np.float32(self.person.lung) - np.float32(0.25) * v
        c.paint(Patch(box, share), tissue, add=BIT["lung"], remove=BIT["abdomen"])
        pleura = c.soft(np.maximum(np.maximum(distance - 6.0, -3.0 - distance), -self.middle - 6.0))
        c.mark(Patch(box, pleura), add=BIT["pleura"])
        c.bits[box][(pleura >= 0.5) & (share < 0.5)] &= np.uint16(0xFFFF ^ BIT["abdomen"])
        self._vessels()

    def _vessels(self) -> None:
        """Two generations of branches from the hilum to each lobe; they thin out to the rim."""
        for lobe, centre in LOBES.items():
            side = 1 if lobe.startswith("right") else -1
            root, rng = (side * 38.0, -8.0, 8.0), self.rng
            middle = tuple(r + 0.5 * (m - r) + rng.uniform(-6, 6) for r, m in zip(root, centre, strict=True))
            self._vessel(root, middle, 4.5)  # type: ignore[arg-type]
            for _ in range(4):
                tip = tuple(m + 1.0 * (m - r) + rng.uniform(-34, 34) for r, m in zip(root, middle, strict=True))
                self._vessel(middle, tip, float(rng.uniform(2.0, 2.8)))  # type: ignore[arg-type]

    def _vessel(self, start: Point, stop: Point, radius: float) -> None:
        patch = self.clip(self.canvas.capsule(self.mm(start), self.mm(stop), radius), self.lung)
        self.canvas.paint(patch, 0.6 * self.person.blood)

    def _mediastinum(self) -> None:
        c, box = self.canvas, self.chest
        w = c.at(box)[2]
        kz, blood = self.person.scale[2], self.person.blood
        inside = np.maximum(np.maximum(self.middle, self.cavity), np.maximum(self.floor + 2, w - 116 * kz))
        share = c.soft(np.maximum(inside, -self.depth))
        # Voxels that hold some bone stay out, else their rim would look like calcium.
        share *= c.hu[box] < 130
        c.paint(Patch(box, np.minimum(share, 1 - self.lung[box])), FAT)
        c.mark(Patch(box, share), add=BIT["mediastinum"], remove=BIT["lung"])
        for patch in c.tube(self.path(AORTA), (15, 15, 14, 13, 12.5, 12, 11.5, 11.5, 11, 10)):
            c.paint(patch, blood)
            self._belongs(patch)
        veins = (
            ((20, 10, 112), (22, 8, 60), (22, 12, 8)),
            ((-34, 30, 116), (0, 24, 84), (20, 10, 72)),
            ((30, 4, 14), (-6, 24, 14)),
        )
        for course, radius in zip(veins, (9, 6, 11), strict=True):
            for patch in c.tube(self.path(course), (radius,) * (len(course) - 1)):
                c.paint(patch, 0.9 * blood)
                self._belongs(patch)
        for side in (1, -1):
            patch = c.capsule(self.mm((0, 22, 14)), self.mm((side * 40.0, -6.0, 10.0)), 9.0)
            c.paint(patch, 0.95 * blood)
            self._belongs(patch)

    def _belongs(self, patch: Patch) -> None:
        """Great vessels above the diaphragm belong to the mediastinum, not to the lung."""
        low = patch.alpha * (self.canvas.at(patch.box)[2] > -92 * self.person.scale[2])
        self.canvas.mark(Patch(patch.box, low), add=BIT["mediastinum"], remove=BIT["lung"] | BIT["pleura"])

    # The heart

    def heart_size(self) -> float:
        """The heart's scale: the person's own, times the enlargement."""
        big = self.has("Cardiomegaly")
        return self.person.heart * (big.size if big else 1.0)

    def heart_frame(self, grow: float = 0.0) -> tuple[Point, Point]:
        """Centre and radii of the heart, `grow` mm larger all round; an enlarged one moves to the left and the front."""
        size = self.heart_size()
        more = size - 1.0
        centre = self.mm((HEART[0][0] - 26 * more, HEART[0][1] + 6 * more, HEART[0][2] + 26 * more))
        # An enlarged heart is rounder: its short axes grow more.
        radii = self.mm((HEART[1][0] * size, HEART[1][1] * (1 + 1.15 * more), HEART[1][2] * (1 + 1.15 * more)))
        return centre, (radii[0] + grow, radii[1] + grow, radii[2] + grow)

    def fluid(self) -> float:
        """Thickness of the fluid in the pericardium, mm."""
        found = self.has("Pericardial effusion")
        return found.size if found else 0.0

    def _heart_distance(self, box: Box, grow: float) -> np.ndarray:
        centre, radii = self.heart_frame(grow + self.fluid())
        return self.canvas.ellipsoid_distance(box, centre, radii, HEART_TURN)

    def _heart(self) -> None:
        c, blood = self.canvas, self.person.blood
        centre, sac = self.heart_frame(self.fluid())
        room = np.zeros(c.shape, dtype=np.float32)
        room[self.chest] = c.soft(np.maximum(self.cavity, self.floor))
        patch = self.clip(c.ellipsoid(centre, sac, HEART_TURN), room)
        others = BIT["mediastinum"] | BIT["lung"] | BIT["pleura"]
        c.paint(patch, WATER if self.fluid() else 60 + 0.25 * blood, add=BIT["heart"], remove=others)
        radii = self.heart_frame()[1]
        c.paint(self.clip(c.ellipsoid(centre, radii, HEART_TURN), room), 60 + 0.25 * blood)
        for along, across, up, size in (
            (0.32, 0.05, -0.05, 0.52),
            (-0.2, 0.36, 0.0, 0.44),
            (-0.46, -0.3, 0.3, 0.36),
            (-0.5, 0.2, 0.3, 0.34),
        ):
            offset = np.array([along, across, up]) * radii @ HEART_TURN
            middle = tuple(float(a + b) for a, b in zip(centre, offset, strict=True))
            c.paint(self.clip(c.ellipsoid(middle, tuple(size * r for r in radii), HEART_TURN), room), blood)  # type: ignore[arg-type]

    # Tubes

    def airway(self, points: Sequence[Point], radii: Sequence[float], wall: float) -> None:
        """An air-filled tube with a wall; both belong to the airways and to nothing else but the mediastinum."""
        c = self.canvas
        for patch in c.tube(points, [r + wall for r in radii]):
            c.paint(patch, 40.0, add=BIT["trachea and bronchie"], remove=BIT["lung"])
        for patch in c.tube(points, radii):
            c.paint(patch, -1000.0)

    def _airways(self) -> None:
        thick = self.has("Peribronchial thickening")
        wall = self.airway_wall + (thick.size if thick else 0.0)
        self.airway(self.path(_TRACHEA), (9.0, 9.0), 2.0)
        for name, (points, radii) in BRONCHI.items():
            self.airway(self.path(points), radii, wall if "lobe" in name else 2.0)

    def _esophagus(self) -> None:
        for i, patch in enumerate(self.canvas.tube(self.path(_ESOPHAGUS), (8.0, 8.0, 8.0, 8.5, 9.0))):
            keep = BIT["abdomen"] if i == 4 else 0
            self.canvas.paint(patch, 40.0, add=BIT["esophagus"], remove=BIT["lung"] | BIT["pleura"] | keep)

    def _thyroid(self) -> None:
        if not self.person.thyroid:
            return
        c, hu = self.canvas, 120 + 0.3 * self.person.blood
        for side in (1, -1):
            c.paint(
                c.ellipsoid(self.mm((side * 19.0, 2.0, 150.0)), self.mm((9, 11, 17)), turned(self.rng, 0.1)),
                hu,
                add=BIT["thyroid"],
            )
        c.paint(c.capsule(self.mm((-14, 10, 146)), self.mm((14, 10, 146)), 5.0), hu, add=BIT["thyroid"])
