"""A made-up chest of ellipsoids and tubes in millimetres, drawn on any grid: what a rule-based segmenter must get right."""

from __future__ import annotations

import dataclasses

import numpy as np

from reg2rg.contracts import Volume

SIZE = (360.0, 280.0, 340.0)  # mm of the whole field of view; x to the right, y to the front, z to the head


@dataclasses.dataclass(frozen=True, eq=False)
class Chest:
    """The volume and the solids that were drawn into it."""

    volume: Volume
    solids: dict[str, np.ndarray]


def chest(voxel: tuple[float, float, float] = (3.0, 3.0, 3.0), *, blood: float = 45.0, table: bool = True) -> Chest:
    """A torso on a table: fat, muscle, two lungs, heart left of the middle, airway, aorta, spine, ribs, liver; noise 10 HU."""
    x, y, z = np.meshgrid(
        *((np.arange(round(n / v)) + 0.5) * v for n, v in zip(SIZE, voxel, strict=True)), indexing="ij", sparse=True
    )
    solids = _solids(x, y, z)
    hu = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), -1000.0, dtype=np.float32)
    if table:
        hu[np.broadcast_to((np.abs(y - 14) < 5) & (np.abs(x - 180) < 170) & (z > -1), hu.shape)] = 60.0
    for name, value in _values(blood).items():
        hu[solids[name]] = value
    hu += np.random.default_rng(5).normal(0, 10, hu.shape).astype(np.float32)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (-180.0, -120.0, -900.0)
    return Chest(Volume(np.clip(hu, -1024, 3071).astype(np.int16), affine, "made-up chest"), solids)


def _values(blood: float) -> dict[str, float]:
    """HU in the order of drawing."""
    soft = {"fat": -95.0, "muscle": 50.0, "liver": 60.0, "lung": -840.0, "mediastinum": -80.0, "heart": blood, "aorta": blood}
    return {**soft, "ribs": 450.0, "spine": 320.0, "airway": -995.0}


def _ellipsoid(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, centre: tuple[float, float, float], radii: tuple[float, ...]
) -> np.ndarray:
    return sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), centre, radii, strict=True)) < 1  # type: ignore[return-value]


def _solids(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    body = ((x - 180) / 165) ** 2 + ((y - 140) / 118) ** 2 + 0 * z
    muscle = ((x - 180) / 148) ** 2 + ((y - 140) / 100) ** 2 + 0 * z
    domes = z < 105 + 28 * np.exp(-(((np.abs(x - 180) - 75) / 45) ** 2))
    cage = np.broadcast_to((muscle < 0.78) & (z < 300 - 90 * muscle), (body + z).shape)
    middle = np.abs(x - 180) < 38 + 0 * y + 0 * z
    heart = _ellipsoid(x, y, z, (158, 160, 160), (58, 46, 46)) & ~domes
    airway = ((x - 180) / 9) ** 2 + ((y - 125) / 9) ** 2 + 0 * z < np.where(z > 225, 1, 0)
    for side in (-1, 1):
        airway = airway | (
            ((x - 180 - side * (225 - z) * 0.9) / 8) ** 2 + ((y - 125) / 7) ** 2 < np.where((z > 185) & (z <= 226), 1, 0)
        )
    aorta = (np.hypot(x - 158, y - 94) < 12 + 0 * z) & (z < 250)
    aorta = aorta | ((np.abs(x - 160) < 11) & (y > 84) & (y < 162) & (z > 230) & (z < 252))  # the arch
    aorta = aorta | ((np.hypot(x - 165, y - 150) < 12) & (z > 185) & (z < 252))
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    return {
        "fat": body < 1,
        "muscle": muscle < 1,
        "liver": np.broadcast_to((muscle < 0.78) & domes, shape),
        "lung": cage & ~domes & ~middle & ~heart & ~airway,
        "mediastinum": cage & ~domes & middle,
        "heart": np.broadcast_to(heart, shape),
        "aorta": np.broadcast_to(aorta, shape),
        "ribs": np.broadcast_to((muscle > 0.8) & (muscle < 0.93) & (z % 24 < 8) & (z > 60) & (z < 290), shape),
        "spine": np.broadcast_to((np.hypot(x - 180, y - 62) < 21) | ((np.abs(x - 180) < 7) & (y < 62) & (y > 42)), shape),
        "airway": np.broadcast_to(airway, shape),
    }


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Twice the common part over the sum."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The found part of the truth."""
    return float((found & truth).sum() / max(1, truth.sum()))


def crop(volume: Volume, x: slice = slice(None), y: slice = slice(None), z: slice = slice(None)) -> Volume:
    """A part of a volume, in its place in the world."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start or 0 for s in (x, y, z)]
    return Volume(np.array(volume.hu[x, y, z]), affine, "a crop")
