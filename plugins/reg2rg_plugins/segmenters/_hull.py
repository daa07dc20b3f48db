"""Convex hulls of axial slices: the space that lungs and what lies between them take up."""

from __future__ import annotations

import numpy as np

from ._grid import Mask, Spacing

DIRECTIONS = 32


def hull_slices(mask: Mask, spacing: Spacing) -> Mask:
    """The convex hull of each axial slice (a polygon of up to 32 sides around it)."""
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    x, y = np.meshgrid(*(np.arange(n) * s for n, s in zip(mask.shape[:2], spacing, strict=False)), indexing="ij")
    along = np.stack([np.cos(a) * x + np.sin(a) * y for a in angles]).astype(np.float32)  # (direction, x, y)
    out = np.zeros_like(mask)
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        reach = along[:, mask[:, :, k]].max(axis=1)
        out[:, :, k] = (along <= reach[:, None, None] + 1e-3).all(axis=0)
    return out
