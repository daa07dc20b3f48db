"""Local Feature Decoupling (Sec. III-B, Eqs. 3–5) and the global view (Eq. 7): a segmented CT → what the encoders see.

In: `Volume`, `RegionMask`, the recipe's `views`. Out: `StudyViews`. A region's *texture* is the masked volume cropped to its
own box and resized, so that its detail keeps the encoder's full resolution; its *geometry* is the uncropped mask, which keeps
the size and place that the crop has lost. Cropping is by intensity (voxels above -1000 HU), resizing is area averaging
without keeping the aspect, and masks stay soft, all as in the official implementation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..anatomy import REGIONS
from ..contracts import RegionMask, StudyViews, Volume
from ..errors import UserError
from ..recipe import Size, Views

BACKGROUND = -1024.0  # HU outside a region
FOREGROUND = -1000.0  # voxels above it count as content when cropping

Box = tuple[slice, slice, slice]


def bounding_box(inside: np.ndarray) -> Box | None:
    """The smallest box of True voxels of (X, Y, Z), or None where there is none."""
    along_x = np.flatnonzero(inside.any(axis=(1, 2)))
    if not along_x.size:
        return None
    inside = inside[along_x[0] : along_x[-1] + 1]
    along_y, along_z = np.flatnonzero(inside.any(axis=(0, 2))), np.flatnonzero(inside.any(axis=(0, 1)))
    return tuple(slice(int(a[0]), int(a[-1]) + 1) for a in (along_x, along_y, along_z))  # type: ignore[return-value]


def _shift(inner: Box, outer: Box) -> Box:
    return tuple(slice(i.start + o.start, i.stop + o.start) for i, o in zip(inner, outer, strict=True))  # type: ignore[return-value]


def resize(array: np.ndarray, size: Size) -> Tensor:
    """Area resize of (X, Y, Z) to float32 `size`: cell i averages ⌊i·n/N⌋ … ⌈(i+1)·n/N⌉ along each axis, also enlarging."""
    return F.adaptive_avg_pool3d(torch.from_numpy(array.astype(np.float32))[None], size)[0]


def _axis_weights(n: int, size: int, part: slice) -> Tensor:
    """The rows of area resizing n → `size` as a matrix (size, part): the same cells as `resize`, for a part of the axis."""
    out = torch.arange(size)
    start, stop = out * n // size, -((-(out + 1) * n) // size)
    place = torch.arange(part.start, part.stop)
    inside = (place >= start[:, None]) & (place < stop[:, None])
    return inside / (stop - start)[:, None]


def resize_sparse(array: np.ndarray, box: Box, shape: Sequence[int], size: Size) -> Tensor:
    """`resize` of a volume of `shape` that is zero outside `box`, where it holds `array`: work for the box alone."""
    x, y, z = (_axis_weights(n, s, part) for n, s, part in zip(shape, size, box, strict=True))
    small = torch.from_numpy(array.astype(np.float32))
    small = torch.tensordot(small, z, dims=([2], [1]))
    small = torch.tensordot(small, y, dims=([1], [1]))
    return torch.tensordot(x, small, dims=([1], [0])).transpose(1, 2).contiguous()


def to_window(hu: Tensor, window: tuple[float, float]) -> Tensor:
    """HU → [-1, 1], clamped to `window`."""
    low, high = window
    return (hu.clamp(low, high) - (low + high) / 2) / ((high - low) / 2)


def make_views(volume: Volume, mask: RegionMask, views: Views, regions: Sequence[str], geometry: bool = True) -> StudyViews:
    """The views of one study for those of `regions` that have content, in that order.

    A region without a voxel, or over air alone, is left out. `geometry` False skips the masks. Raises UserError where the
    volume holds nothing above -1000 HU.
    """
    frame = bounding_box(volume.hu > FOREGROUND)
    if frame is None:
        raise UserError("the volume holds nothing but air", volume.source, "Check that its intensities are Hounsfield units.")
    hu, bits = volume.hu[frame], mask.bits[frame]
    kept, textures, masks = [], [], []
    for region in regions:
        content = _region(hu, bits, region, views)
        if content is None:
            continue
        inside, around, texture = content
        kept.append(region)
        if views.texture != "none":
            textures.append(to_window(texture, views.window))
        if geometry:
            masks.append(resize_sparse(inside, around, hu.shape, views.geometry_size or views.size))
    image = to_window(resize(hu, views.size), views.window)[None] if views.image else None
    return StudyViews(image, _stack(textures, views.size), _stack(masks, views.geometry_size or views.size), tuple(kept))


def _stack(parts: list[Tensor], size: Size) -> Tensor:
    return torch.stack(parts)[:, None] if parts else torch.zeros(0, 1, *size)


def _region(hu: np.ndarray, bits: np.ndarray, region: str, views: Views) -> tuple[np.ndarray, Box, Tensor] | None:
    """One region's mask (cut to its box), that box, and its texture in HU before windowing; None where it has no content."""
    inside = (bits >> REGIONS.index(region)) & 1 != 0
    around = bounding_box(inside)
    if around is None:
        return None
    inside, part = inside[around], hu[around]
    if int(inside.sum()) < views.min_voxels:
        return None
    box = bounding_box(inside & (part > FOREGROUND))
    if box is None:
        return None
    if views.texture == "masked":  # without LFD: the masked volume, uncropped
        return (
            inside,
            around,
            BACKGROUND + resize_sparse((part - np.float32(BACKGROUND)) * inside, around, hu.shape, views.size),
        )
    cropped = np.where(inside[box], part[box], np.int16(BACKGROUND))
    return inside, around, resize(cropped, views.size)
