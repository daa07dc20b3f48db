"""Solids and the canvas they are painted on: ellipsoids, capsules and tubes with a soft rim of one voxel.

A canvas holds HU (float32) and region bits (uint16), both (X, Y, Z) in RAS+, and the body-frame coordinates (mm) of its
voxels as `u`, `v` (X, Y, 1) and `w` (1, 1, Z). A solid is painted in its own box only; that is what keeps it fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..anatomy import REGIONS
from .look import Point
from .plan import Person

BIT: dict[str, int] = {region: 1 << i for i, region in enumerate(REGIONS)}
Box = tuple[slice, slice, slice]

# Grids by name: voxels and the field of view in mm, which all share.
GRIDS: dict[str, tuple[int, int, int]] = {"small": (96, 96, 48), "medium": (192, 192, 96), "full": (512, 512, 300)}
FIELD: Point = (432.0, 432.0, 384.0)
_STRAIGHT = np.eye(3)


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """Part of a canvas: `box` and, for its voxels, how much of each lies inside a solid (0–1, float32)."""

    box: Box
    alpha: np.ndarray


class Canvas:
    """The voxels of one study, or of its slices `start` to `stop`, while they are drawn.

    `spacing` in mm; the field of view's middle is the world's origin.
    """

    def __init__(
        self, grid: tuple[int, int, int], person: Person, field: Point = FIELD, start: int = 0, stop: int = -1
    ) -> None:
        stop = grid[2] if stop < 0 else stop
        self.shape = shape = (grid[0], grid[1], stop - start)
        self.spacing = tuple(f / n for f, n in zip(field, grid, strict=True))
        corner = [-(n - 1) / 2 * s for n, s in zip(grid, self.spacing, strict=True)]
        self.origin = (corner[0], corner[1], corner[2] + start * self.spacing[2])
        x, y, z = ((o + s * np.arange(n)).astype(np.float32) for o, s, n in zip(self.origin, self.spacing, shape, strict=True))
        self._cos, self._sin, self._shift = np.cos(person.roll), np.sin(person.roll), person.shift
        dx, dy = x[:, None, None] - np.float32(person.shift[0]), y[None, :, None] - np.float32(person.shift[1])
        self.u = np.float32(self._cos) * dx + np.float32(self._sin) * dy
        self.v = np.float32(self._cos) * dy - np.float32(self._sin) * dx
        self.w = (z - np.float32(person.shift[2]))[None, None, :]
        self.rim = float(self.spacing[0])
        self.hu = np.full(shape, -1000.0, dtype=np.float32)
        self.bits = np.zeros(shape, dtype=np.uint16)

    @property
    def affine(self) -> np.ndarray:
        """Voxel → world mm, RAS+."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = self.origin
        return affine

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """The voxels that hold the body-frame box from `low` to `high` (mm), a voxel wider on each side."""
        half = [(b - a) / 2 for a, b in zip(low, high, strict=True)]
        mid = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        c, s = self._cos, self._sin
        centre = (c * mid[0] - s * mid[1], s * mid[0] + c * mid[1], mid[2])
        reach = (abs(c) * half[0] + abs(s) * half[1], abs(s) * half[0] + abs(c) * half[1], half[2])
        slices = []
        for axis in range(3):
            place = (centre[axis] + self._shift[axis] - self.origin[axis]) / self.spacing[axis]
            wide = reach[axis] / self.spacing[axis] + 1
            start = min(max(int(np.floor(place - wide)), 0), self.shape[axis])
            slices.append(slice(start, min(max(int(np.ceil(place + wide)) + 1, start), self.shape[axis])))
        return slices[0], slices[1], slices[2]

    def at(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Body-frame coordinates of a box: u, v (x, y, 1) and w (1, 1, z)."""
        return self.u[box[0], box[1]], self.v[box[0], box[1]], self.w[:, :, box[2]]

    def soft(self, distance: np.ndarray) -> np.ndarray:
        """A signed distance (mm, negative inside) as a share of the voxel."""
        return np.clip(np.float32(0.5) - distance / np.float32(self.rim), 0, 1)

    def paint(self, patch: Patch, hu: float | np.ndarray, add: int = 0, remove: int = 0) -> None:
        """Mixes `hu` in by the patch's share; where it fills half a voxel, sets and clears region bits."""
        view = self.hu[patch.box]
        view += patch.alpha * (hu - view)
        self.mark(patch, add, remove)

    def shade(self, patch: Patch, hu: float, lighter: bool) -> None:
        """Like `paint`, but only where it makes a voxel denser (`lighter`) or thinner: vessels stay visible."""
        view = self.hu[patch.box]
        change = patch.alpha * (hu - view)
        view += np.maximum(change, 0) if lighter else np.minimum(change, 0)

    def mark(self, patch: Patch, add: int = 0, remove: int = 0) -> None:
        """Sets and clears region bits where the patch fills at least half a voxel."""
        if add or remove:
            inside = patch.alpha >= 0.5
            view = self.bits[patch.box]
            view[inside] = (view[inside] & np.uint16(0xFFFF ^ remove)) | np.uint16(add)

    def ellipsoid(self, centre: Point, radii: Point, turn: np.ndarray | None = None, stretch: Point = (1, 1, 1)) -> Patch:
        """An ellipsoid; `turn` (3, 3) has its axes as rows; `stretch` then scales it along the body's own axes."""
        turn = _STRAIGHT if turn is None else turn
        reach = [float(np.sqrt(((turn[:, i] * radii) ** 2).sum())) * stretch[i] for i in range(3)]
        box = self.box([c - r for c, r in zip(centre, reach, strict=True)], [c + r for c, r in zip(centre, reach, strict=True)])
        return Patch(box, self.soft(self.ellipsoid_distance(box, centre, radii, turn, stretch)))

    def ellipsoid_distance(
        self, box: Box, centre: Point, radii: Point, turn: np.ndarray = _STRAIGHT, stretch: Point = (1, 1, 1)
    ) -> np.ndarray:
        """Signed distance (mm, first order near the surface) of a box's voxels to an ellipsoid."""
        p = [(a - np.float32(c)) * np.float32(1 / s) for a, c, s in zip(self.at(box), centre, stretch, strict=True)]
        if turn is not _STRAIGHT:
            p = [np.float32(t[0]) * p[0] + np.float32(t[1]) * p[1] + np.float32(t[2]) * p[2] for t in turn]
        one = [(a * np.float32(1 / r)) ** 2 for a, r in zip(p, radii, strict=True)]
        two = [a * np.float32(1 / r**2) for a, r in zip(one, radii, strict=True)]
        k1 = one[0] + one[1] + one[2]
        k2 = two[0] + two[1] + two[2]
        root = np.sqrt(k1)
        mean = float(np.prod(stretch)) ** (1 / 3)
        return root * (root - 1) / np.sqrt(np.maximum(k2, np.float32(1e-9))) * np.float32(mean)

    def capsule(self, start: Point, stop: Point, radius: float) -> Patch:
        """A rod with round ends from `start` to `stop`."""
        low = [min(a, b) - radius for a, b in zip(start, stop, strict=True)]
        high = [max(a, b) + radius for a, b in zip(start, stop, strict=True)]
        box = self.box(low, high)
        p = [a - np.float32(c) for a, c in zip(self.at(box), start, strict=True)]
        d = [np.float32(b - a) for a, b in zip(start, stop, strict=True)]
        length = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
        along = p[0] * d[0] + p[1] * d[1] + p[2] * d[2]
        along = np.clip(along / max(float(length), 1e-6), 0, 1)
        q = [a - along * b for a, b in zip(p, d, strict=True)]
        distance = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
        return Patch(box, self.soft(distance - np.float32(radius)))

    def tube(self, points: Sequence[Point], radii: Sequence[float]) -> list[Patch]:
        """Capsules along a line; radius i belongs to the piece from point i to point i + 1."""
        return [self.capsule(a, b, r) for a, b, r in zip(points[:-1], points[1:], radii, strict=True)]


def turned(rng: np.random.Generator, amount: float) -> np.ndarray:
    """A small random rotation (3, 3): up to `amount` radians about each axis."""
    a, b, c = rng.uniform(-amount, amount, 3)
    one = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    two = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    three = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return one @ two @ three


def axes(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """A rotation (3, 3) whose first row points along `first` and whose second lies in the plane of both."""
    a = np.asarray(first, dtype=np.float64)
    a = a / np.linalg.norm(a)
    b = np.asarray(second, dtype=np.float64)
    b = b - (b @ a) * a
    b = b / np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)])
