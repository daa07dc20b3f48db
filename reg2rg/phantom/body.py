"""One person's body while it is drawn: the canvas, the plan, and the fields that several organs share.

Everything is stated for an average person and multiplied by `Person.scale`. `trunk` paints what lies around the chest,
`chest` what lies in it, `findings` what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .look import Point
from .plan import Finding, Plan
from .solids import BIT, Box, Canvas, Patch

FAT, MUSCLE, BONE, MARROW, LIVER, SPLEEN, WATER, GLAND = -100.0, 50.0, 700.0, 250.0, 95.0, 80.0, 10.0, 25.0

# Half widths (x) and half depths (y) over z: the muscle's surface and the thoracic cavity's, average person, mm.
MUSCLE_OUTLINE = np.array(
    [[-240, -120, -30, 60, 100, 128, 150, 172, 230], [144, 150, 154, 150, 143, 124, 96, 68, 60],
     [108, 112, 114, 110, 101, 88, 76, 64, 58]]
)  # fmt: skip
CAVITY_OUTLINE = np.array(
    [[-130, -90, -40, 20, 66, 100, 118, 130], [119, 128, 131, 122, 101, 70, 40, 12], [74, 81, 85, 80, 68, 48, 28, 9]]
)


class Body:
    """The state of a drawing. Distances are mm, negative inside, on the box `chest`; shares are 0–1 on the whole canvas.

    `cavity`: the thoracic cavity; `floor`: positive below the diaphragm; `middle`: the mediastinum; `depth`: the lungs;
    `muscle`, `belly`, `lung`: shares; `spared`: where no finding of another region may reach (`spare`).
    """

    def __init__(self, canvas: Canvas, plan: Plan) -> None:
        self.canvas, self.plan, self.person, self.look = canvas, plan, plan.person, plan.look
        self.rng = plan.stream(2)
        kx, ky, kz = self.person.scale
        self.chest: Box = canvas.box((-150 * kx, -130 * ky, -135 * kz), (150 * kx, 130 * ky, 135 * kz))
        self.cavity = self.oval(self.chest, CAVITY_OUTLINE, exact=True)
        self.floor = self._floor()
        self.middle = canvas.ellipsoid_distance(self.chest, self.mm((-2, 0, 30)), self.mm((35, 88, 132)))
        self.depth = self.cavity
        self.lung = np.zeros(canvas.shape, dtype=np.float32)
        self.belly = np.zeros(canvas.shape, dtype=np.float32)
        self.muscle = np.zeros(canvas.shape, dtype=np.float32)
        self.spared = np.zeros(canvas.shape, dtype=np.float32)

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
        """The part of a patch inside a field of shares on the whole canvas."""
        return Patch(patch.box, patch.alpha * field[patch.box])

    def oval(self, box: Box, outline: np.ndarray, grow: float = 0.0, exact: bool = False) -> np.ndarray:
        """Distance to a cylinder whose cross-section is |x/a|³ + |y/b|³ = 1 with a, b from an outline over z.

        `exact` divides by the gradient, so that shells around the surface are equally thick everywhere.
        """
        u, v, w = self.canvas.at(box)
        a, b = self._half(outline, w, 1) + np.float32(grow), self._half(outline, w, 2) + np.float32(grow)
        a3, b3, u2, v2 = a**-3, b**-3, u * u, v * v
        f = (np.abs(u) * u2) * a3 + (np.abs(v) * v2) * b3
        if not exact:
            return (f - 1) * (np.minimum(a, b) / 3)
        slope = np.sqrt((u2 * u2) * (a3 * a3) + (v2 * v2) * (b3 * b3)) * 3
        return (f - 1) / np.maximum(slope, np.float32(0.004))

    def _half(self, outline: np.ndarray, w: np.ndarray, row: int) -> np.ndarray:
        return np.interp(w / self.person.scale[2], outline[0], outline[row] * self.person.scale[row - 1]).astype(np.float32)

    def dome(self, box: Box) -> np.ndarray:
        """Height (mm, (x, y, 1)) of the diaphragm: a dome on each side and a saddle between."""
        u, v, _ = self.canvas.at(box)
        kx, ky, kz = self.person.scale

        def one(x: float, y: float, top: float, rx: float, ry: float, drop: float) -> np.ndarray:
            return (top - drop * (((u / kx - x) / rx) ** 2 + ((v / ky - y) / ry) ** 2)) * np.float32(kz)

        sides = np.maximum(one(68, -4, -46, 72, 82, 44), one(-68, -4, -56, 72, 82, 42))
        return np.maximum(sides, one(-8, 10, -72, 90, 90, 28))

    def _floor(self) -> np.ndarray:
        return (self.dome(self.chest) - self.canvas.at(self.chest)[2]) * np.float32(0.8)

    def spare(self, patch: Patch) -> None:
        """Keeps findings of lung and mediastinum out of a patch: what reached in would tell the organ's size or place."""
        self.spared[patch.box] = np.maximum(self.spared[patch.box], patch.alpha)
        self.lung[patch.box] *= 1 - patch.alpha

    def outside(self, patch: Patch) -> Patch:
        """The part of a patch that isn't spared."""
        return Patch(patch.box, patch.alpha * (1 - self.spared[patch.box]))

    def mark_airway(self, patch: Patch) -> None:
        """Airways belong to no other region but, where they run through it, the mediastinum."""
        self.canvas.mark(patch, BIT["trachea and bronchie"], BIT["lung"])
