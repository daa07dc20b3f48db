"""Quality of a study in numbers: volumes, lungs apart, overlap of lung and pleura, places, pieces, what the border cuts.

In: `Volume`, `RegionMask` and `boxes.Facts`, while they are in memory. Out: `Quality`, kept in the study's file; what is odd
about it is said by `qc_rules`, so that a better rule needs no voxel again. Volumes and overlap are exact; places, pieces and
HU are of every n-th voxel, about 4 mm apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..anatomy import REGIONS
from ..contracts import RegionMask, Volume
from ..data.boxes import Box, Facts, overlap

VERSION = 1
GRID_MM = 4.0
SIDES = (("left", "right"), ("back", "front"), ("foot", "head"))  # first and last plane of each axis in RAS+
IN_ONE_PIECE = ("abdomen", "esophagus", "heart", "lung", "mediastinum", "thyroid", "trachea and bronchie")
AIR, GAS, DENSE = -500, -300, (20, 250)  # HU: lung and airway; bowel gas; liver, spleen and muscle, with contrast or without
_LEAST_GAS_ML, _SAMPLES = 10.0, 20_000

Place = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One region: `ml`; of one that has a voxel also its median `hu`, the share of it that is `air`, the sides at which the
    volume's border `cut` it, the shares of its three largest `pieces`, and its `centre` in mm from left, back and foot."""

    ml: float
    hu: int | None = None
    air: float | None = None
    cut: tuple[str, ...] = ()
    pieces: tuple[float, ...] = ()
    centre: Place | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Quality:
    """The facts of one study; None or absent: can't be told.

    `regions`: those given; `spine`: the column's place in mm from the left and from the back; `lungs`: left and right in ml;
    `dice` of lung and pleura; `inside`: the share of the pleura that is lung too; `liver`: by how many mm the abdomen's dense
    tissue lies to the right of its gas (a healthy liver lies right, the stomach left).
    """

    regions: Mapping[str, Part]
    spine: tuple[float, float] | None = None
    lungs: tuple[float, float] | None = None
    dice: float | None = None
    inside: float | None = None
    liver: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able data that `from_json` reads."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(data: Any) -> Quality | None:
        """Reads `to_json`; None where there is nothing, or what another version measured."""
        if not isinstance(data, Mapping) or data.get("version") != VERSION:
            return None
        fields = {key: _tuples(value) for key, value in data.items() if key not in ("version", "regions")}
        return Quality({r: Part(**{k: _tuples(v) for k, v in part.items()}) for r, part in data["regions"].items()}, **fields)


def _tuples(value: Any) -> Any:
    """JSON has lists only."""
    return tuple(value) if isinstance(value, list) else value


class Sampled:
    """Every n-th voxel of a study, about `GRID_MM` apart: `hu`, `bits` (X, Y, Z); `step` in mm and `first` sample's place."""

    def __init__(self, volume: Volume, mask: RegionMask) -> None:
        spacing = np.array(volume.spacing)
        self.stride = np.maximum(1, np.rint(GRID_MM / spacing).astype(int))
        picks = tuple(slice(min(int(s) // 2, n - 1), None, int(s)) for s, n in zip(self.stride, volume.shape, strict=True))
        self.hu, self.bits = (np.ascontiguousarray(a[picks]) for a in (volume.hu, mask.bits))
        self.step = self.stride * spacing
        self.first = (np.array([p.start for p in picks]) + 0.5) * spacing
        self.ml = float(volume.voxel_ml * self.stride.prod())

    def box(self, box: Box) -> Box:
        """The samples around a box of voxels, one more at each side so that it is never empty."""
        x, y, z = (
            slice(max(0, p.start // int(s) - 1), min(n, p.stop // int(s) + 1))
            for p, s, n in zip(box, self.stride, self.bits.shape, strict=True)
        )
        return x, y, z

    def has(self, region: str, box: Box) -> np.ndarray:
        """Which samples in a box of samples lie in a region."""
        return self.bits[box] & np.uint16(1 << REGIONS.index(region)) != 0

    def centre(self, inside: np.ndarray, box: Box) -> np.ndarray:
        """The centre of the True samples of a box, in mm from the volume's left, back and foot."""
        sums = (inside.sum(axis=a, dtype=np.int64) for a in ((1, 2), (0, 2), (0, 1)))
        index = [float((s * np.arange(s.size)).sum() / s.sum()) + part.start for s, part in zip(sums, box, strict=True)]
        return self.first + np.array(index) * self.step


def measure_quality(volume: Volume, mask: RegionMask, facts: Facts) -> Quality:
    """The quality facts of one study; `facts` are `boxes.measure` of the same arrays."""
    grid = Sampled(volume, mask)
    regions = {r: _part(r, grid, facts, volume.voxel_ml) for r in REGIONS if r in mask.given}
    spine = _spine(grid, facts)
    dice, inside = _shared(mask.bits, facts)
    lungs = _lungs(grid, facts, spine[0] if spine else None, regions["lung"].ml) if "lung" in facts.boxes else None
    return Quality(regions, spine, lungs, dice, inside, _liver(grid, facts))


def _part(region: str, grid: Sampled, facts: Facts, voxel_ml: float) -> Part:
    if region not in facts.boxes:
        return Part(0.0)
    ml, cut = round(facts.voxels[region] * voxel_ml, 2), _cut(facts.boxes[region], facts)
    box = grid.box(facts.boxes[region])
    inside = grid.has(region, box)
    if not inside.any():
        return Part(ml, cut=cut)  # so small that it lies between the samples
    hu = grid.hu[box][inside]
    hu = hu[:: -(-hu.size // _SAMPLES)]
    pieces = _pieces(inside) if region in IN_ONE_PIECE else ()
    x, y, z = (round(float(c), 1) for c in grid.centre(inside, box))
    return Part(ml, int(np.median(hu)), round(float((hu < AIR).mean()), 3), cut, pieces, (x, y, z))


def _cut(box: Box, facts: Facts) -> tuple[str, ...]:
    """The sides at which a mask reaches the volume's border, or along Z the last slice that isn't air throughout."""
    ends = [(0, n) for n in facts.shape]
    if facts.frame:
        ends[2] = facts.frame[2].start, facts.frame[2].stop
    sides = []
    for part, (start, stop), (low, high) in zip(box, ends, SIDES, strict=True):
        sides += [low] * (part.start <= start) + [high] * (part.stop >= stop)
    return tuple(sides)


def _pieces(inside: np.ndarray) -> tuple[float, ...]:
    """The shares of the three largest connected pieces, largest first."""
    sizes = np.sort(_labelled(inside)[1])[::-1]
    return tuple(round(float(n), 4) for n in sizes[:3] / sizes.sum())


def _labelled(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected pieces (edges and corners connect) as labels from 1, and their sizes."""
    from scipy import ndimage

    labels, n = ndimage.label(inside, structure=np.ones((3, 3, 3), dtype=bool))
    return labels, np.bincount(labels.ravel(), minlength=n + 1)[1:]


def _spine(grid: Sampled, facts: Facts) -> tuple[float, float] | None:
    """Where bone stands longest along the body: median place of those columns, if they are bone over half its length."""
    if "bone" not in facts.boxes:
        return None
    box = grid.box(facts.boxes["bone"])
    inside = grid.has("bone", box)
    height = inside.sum(axis=2, dtype=np.int32)
    if not height.any() or height.max() < 0.5 * np.count_nonzero(inside.any(axis=(0, 1))):
        return None
    columns = np.nonzero(height >= 0.8 * height.max())
    x, y = (float(np.median(c)) + p.start for c, p in zip(columns, box[:2], strict=True))
    return round(float(grid.first[0] + x * grid.step[0]), 1), round(float(grid.first[1] + y * grid.step[1]), 1)


def _lungs(grid: Sampled, facts: Facts, spine: float | None, ml: float) -> tuple[float, float] | None:
    """Left and right lung in ml: pieces by the side of their centre; lungs that touch are parted by a plane.

    The plane is the spine's, or where none is found the valley between two humps of the lungs' profile from left to right.
    """
    box = grid.box(facts.boxes["lung"])
    inside = grid.has("lung", box)
    profile = inside.sum(axis=(1, 2), dtype=np.int64)
    middle = _valley(profile) if spine is None else (spine - grid.first[0]) / grid.step[0] - box[0].start
    if middle is None or not profile.any():
        return None
    labels, sizes = _labelled(inside)
    if sizes.max() > 0.9 * sizes.sum():
        left = float(profile[: max(0, int(np.floor(middle)) + 1)].sum())
    else:
        places = (np.arange(inside.shape[0])[:, None, None] * inside)[inside]
        centres = np.bincount(labels[inside], places)[1:] / sizes
        left = float(sizes[centres <= middle].sum())
    share = left / float(profile.sum())
    return round(share * ml, 2), round((1 - share) * ml, 2)


def _valley(profile: np.ndarray) -> float | None:
    """The lowest place of the middle third, if both sides rise to twice its height."""
    third = profile.size // 3
    if not third:
        return None
    best = np.flatnonzero(profile[third:-third] == profile[third:-third].min())
    place = float(third + best.mean())
    low = min(profile[: int(place)].max(initial=0), profile[int(place) + 1 :].max(initial=0))
    return place if low > 2 * profile[int(place)] else None


def _shared(bits: np.ndarray, facts: Facts) -> tuple[float | None, float | None]:
    """Dice of lung and pleura, and the share of the pleura that is lung too; None where one of them has no voxel."""
    lung, pleura = (facts.boxes.get(r) for r in ("lung", "pleura"))
    if lung is None or pleura is None:
        return None, None
    box = overlap(lung, pleura)
    both = _count(bits[box], sum(1 << REGIONS.index(r) for r in ("lung", "pleura"))) if box else 0
    n_lung, n_pleura = (facts.voxels[r] for r in ("lung", "pleura"))
    return round(2 * both / (n_lung + n_pleura), 4), round(both / n_pleura, 4)


def _count(bits: np.ndarray, wanted: int) -> int:
    """Voxels that have all the `wanted` bits; slab by slab as they lie in memory."""
    bits = np.moveaxis(bits, int(np.argmax(np.abs(bits.strides))), 0)
    return sum(int(np.count_nonzero((slab & np.uint16(wanted)) == wanted)) for slab in bits)


def _liver(grid: Sampled, facts: Facts) -> float | None:
    if "abdomen" not in facts.boxes:
        return None
    box = grid.box(facts.boxes["abdomen"])
    inside, hu = grid.has("abdomen", box), grid.hu[box]
    gas, dense = inside & (hu < GAS), inside & (hu > DENSE[0]) & (hu < DENSE[1])
    if np.count_nonzero(gas) * grid.ml < _LEAST_GAS_ML or not dense.any():
        return None
    return round(float(grid.centre(dense, box)[0] - grid.centre(gas, box)[0]), 1)
