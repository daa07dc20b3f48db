"""A plan as voxels: the body, its findings and the scanner's noise."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import UserError, suggest
from .body import Body
from .findings import draw_findings
from .plan import Plan
from .solids import GRIDS, Canvas

NOISE = 35.0


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
    canvas = Canvas(GRIDS[size], plan.person)
    body = Body(canvas, plan)
    body.draw()
    draw_findings(body)
    noise = plan.stream(3)
    for z in range(canvas.shape[2]):
        canvas.hu[:, :, z] += noise.standard_normal(canvas.shape[:2], dtype=np.float32) * np.float32(NOISE)
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)
    return Rendered(hu, canvas.bits, canvas.affine)
