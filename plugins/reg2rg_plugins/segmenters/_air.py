"""Body, outside air and the air of the lungs, told apart by place and density."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from ._grid import Grid, Mask, dilate, largest, open_

SOFT = -300  # HU: above is tissue, below is air, lung or foam
AIR = -400  # HU: below is lung, airway, gas
GAS = -950  # HU: gas without tissue


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A connected part of what isn't tissue: `label`, `ml`, share of pure gas, faces of the volume that it touches."""

    label: int
    ml: float
    gas: float
    touches: frozenset[str]  # of x-, x+, y-, y+, z-, z+
    corner: bool  # holds a vertical edge of the volume


def tissue(grid: Grid) -> Mask:
    """The body's soft tissue and bone, without table and clothes: the largest part that survives an opening by 6 mm."""
    soft = grid.hu > SOFT
    core = largest(open_(soft, 6.0, grid.spacing))
    return dilate(core, 7.0, grid.spacing) & soft


def parts(labels: np.ndarray, grid: Grid) -> list[Part]:
    """The parts of a labelled image, largest first."""
    n = int(labels.max())
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    gas = np.bincount(labels[grid.hu < GAS], minlength=n + 1)
    corners = {int(v) for x in (0, -1) for y in (0, -1) for v in np.unique(labels[x, y])}
    out = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[label] * grid.ml < 1.0:
            continue
        faces = [f"{a}-" for a, s in zip("xyz", box, strict=True) if s.start == 0]
        faces += [f"{a}+" for a, s, n_ in zip("xyz", box, labels.shape, strict=True) if s.stop == n_]
        share = float(gas[label] / sizes[label])
        out.append(Part(label, float(sizes[label] * grid.ml), share, frozenset(faces), label in corners))
    return sorted(out, key=lambda p: -p.ml)


def is_outside(part: Part) -> bool:
    """Outside air reaches a side of the volume and is pure gas (a lung that a crop has cut isn't)."""
    lateral = part.touches & {"x-", "x+", "y-", "y+"}
    return bool(lateral) and (part.gas > 0.5 or (part.gas > 0.25 and part.corner))


def lung_parts(found: list[Part]) -> list[Part]:
    """The parts that are lung: little pure gas, and either large or cut by the upper face as lung bases are."""
    inside = [p for p in found if not is_outside(p)]
    main = [p for p in inside if (p.ml > 500 and p.gas < 0.6) or (p.ml > 40 and p.gas < 0.25 and "z+" in p.touches)]
    if not main:
        return []
    least = max(10.0, 0.05 * main[0].ml)
    return [p for p in inside if p.ml >= least and (p in main or (p.gas < 0.25 and main[0].ml > 500))]


def split_air(grid: Grid) -> tuple[Mask, Mask]:
    """The body (filled, without table) and the air of lungs and airways in it; the latter is empty where no lung is."""
    solid = tissue(grid)
    labels, _ = ndimage.label(~solid)
    found = parts(labels, grid)
    outside = np.isin(labels, [p.label for p in found if is_outside(p)])
    lungs = np.isin(labels, [p.label for p in lung_parts(found)]) & (grid.hu < AIR)
    return ~outside, lungs
