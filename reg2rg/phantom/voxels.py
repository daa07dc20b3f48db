"""A plan as voxels: the body, its findings and the scanner's noise."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import UserError, suggest
from .body import Body
from .chest import draw_chest
from .findings import draw_findings
from .plan import Plan
from .solids import GRIDS, Canvas
from .trunk import draw_trunk

NOISE = 35.0
# Voxels drawn at once: bounds the memory of large grids.
_SLAB = 8_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """`hu` int16 and `bits` uint16 (bit i = `REGIONS[i]`), both (X, Y, Z) in RAS+; `affine` (4, 4) voxel → mm."""

    hu: np.ndarray
    bits: np.ndarray
    affine: np.ndarray


def render(plan: Plan, size: str = "small") -> Rendered:
    """Draws a study on the grid called `size` (small, medium, full). Raises UserError for another name."""
    if size not in GRIDS:
        raise UserError(f"there is no phantom size '{size}'", fix=suggest(size, GRIDS))
    grid = grid_of(plan, size)
    hu, bits = np.empty(grid, dtype=np.int16), np.empty(grid, dtype=np.uint16)
    noise = plan.stream(3)
    deep = max(1, _SLAB // (grid[0] * grid[1]))
    for start in range(0, grid[2], deep):
        canvas = _slab(plan, grid, start, min(start + deep, grid[2]))
        for z in range(canvas.shape[2]):
            canvas.hu[:, :, z] += noise.standard_normal(grid[:2], dtype=np.float32) * np.float32(NOISE)
        slab = slice(start, start + canvas.shape[2])
        hu[:, :, slab] = np.clip(np.rint(canvas.hu), -1024, 3071)
        bits[:, :, slab] = canvas.bits
    return Rendered(hu, bits, Canvas(grid, plan.person, stop=1).affine)


def grid_of(plan: Plan, size: str) -> tuple[int, int, int]:
    """The study's voxels: the named grid; in the strict profile every fourth study has coarser or finer ones.

    The field of view is the same, so the spacing differs.
    """
    x, y, z = GRIDS[size]
    if plan.profile == "demo" or plan.index % 4 != 2:
        return x, y, z
    plane, along = ((7, 6), (9, 10), (8, 12))[plan.index // 4 % 3]
    return x * plane // 8, y * plane // 8, z * along // 8


def _slab(plan: Plan, grid: tuple[int, int, int], start: int, stop: int) -> Canvas:
    """Slices `start` to `stop` of the drawing, which draws the same solids whatever part of them is asked for."""
    canvas = Canvas(grid, plan.person, start=start, stop=stop)
    body = Body(canvas, plan)
    draw_trunk(body)
    draw_chest(body)
    draw_findings(body)
    return canvas
