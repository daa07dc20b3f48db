"""The pleura as a shell around the lungs' surface, for segmenters that have no class of their own for it.

In: the lungs on any grid. Out: the shell on the same grid; bone, airway and what lies outside of the body are still in it.
"""

from __future__ import annotations

from ._grid import Mask, Spacing, dilate, erode

PLEURA_MM = (5.0, 7.0)  # the shell's reach outside and inside the lung's surface


def shell(lung: Mask, spacing: Spacing, voxels: float = 0.0) -> Mask:
    """All within `PLEURA_MM` of the surface of `lung`, bool (X, Y, Z); `spacing` in mm.

    Each reach is at least `voxels` times the voxel's larger side in the axial plane. From 1 on the shell takes the next voxel
    sideways on any grid; below, it doesn't where voxels are wider than the shell.
    """
    outside, inside = (max(mm, voxels * max(spacing[:2])) for mm in PLEURA_MM)
    return dilate(lung, outside, spacing) & ~erode(lung, inside, spacing)
