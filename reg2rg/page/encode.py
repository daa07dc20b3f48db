"""Voxels for the browser: a study's CT and region masks as a small JSON-able payload (about 0.2–2 MB).

In: `Volume` and `RegionMask` on one grid. Out: grey slices as WebP sheets in base64 (lossy: for looking, not measuring) and
the region bits as zlib in base64 (lossless, so a region's rim is exactly where the mask has it). Big volumes are reduced to
`MAX_SHAPE` by whole factors: block means for HU, the blocks' middle voxels for bits.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np

from ..anatomy import PALETTE, REGIONS
from ..contracts import RegionMask, Volume
from ..errors import UserError

MAX_SHAPE = (256, 256, 300)

# HU → 8-bit code, piecewise linear: soft tissue gets steps of 4 HU, lung 9 and bone 19, so that every window looks smooth.
KNOTS = ((-1024, 0), (-160, 100), (240, 200), (1300, 255))

# A sheet stays far below the canvas limits of phones (16.7 million pixels); cells end on WebP's 16-pixel blocks.
_SHEET_SIDE, _BLOCK, _QUALITY = 2048, 16, 82


def encode_study(volume: Volume, mask: RegionMask) -> dict[str, Any]:
    """The payload that `assets/voxels.js` decodes; the same input gives the same bytes.

    Keys: `shape`, `spacing` (mm), `affine` (voxel → RAS mm, of the reduced grid), `knots`, `sheets` (see `_sheets`),
    `labels` (low bytes of the bits of every voxel, then high bytes; x fastest, then y, z), `regions` (name, bit, colour, the
    slices of its largest cross-sections, millilitres). Raises UserError where mask and volume differ in shape.
    """
    if volume.shape != mask.bits.shape:
        raise UserError(f"the mask is {mask.bits.shape} and the volume {volume.shape}", volume.source)
    factors = tuple(-(-n // most) for n, most in zip(volume.shape, MAX_SHAPE, strict=True))
    hu, bits = block_mean(volume.hu, factors), block_pick(mask, factors)
    scale = np.diag([*factors, 1.0])
    scale[:3, 3] = [(f - 1) / 2 for f in factors]  # a block's centre, in the fine grid's voxels
    return {
        "shape": list(hu.shape),
        "spacing": [round(s * f, 5) for s, f in zip(volume.spacing, factors, strict=True)],
        "affine": np.round(volume.affine @ scale, 5).tolist(),
        "knots": [list(knot) for knot in KNOTS],
        "sheets": _sheets(to_codes(hu)),
        "labels": _labels(bits),
        "regions": _regions(bits, mask, volume.voxel_ml),
    }


def to_codes(hu: np.ndarray) -> np.ndarray:
    """HU → uint8 codes by `KNOTS`."""
    low, high = KNOTS[0][0], KNOTS[-1][0]
    table = np.rint(np.interp(np.arange(low, high + 1), *np.array(KNOTS, dtype=float).T)).astype(np.uint8)
    return table[np.clip(hu, low, high).astype(np.int32) - low]


def block_mean(hu: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Means over blocks of `factors` voxels, int16; the last block of an axis may be a part one."""
    if max(factors) == 1:
        return hu
    shape = tuple(-(-n // f) for n, f in zip(hu.shape, factors, strict=True))
    total, count = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    # one strided pass for each place in a block: sums stay whole numbers below 2**24, so float32 is exact
    for place in np.ndindex(*factors):
        part = hu[tuple(slice(start, None, f) for start, f in zip(place, factors, strict=True))]
        inside = tuple(slice(n) for n in part.shape)
        total[inside] += part
        count[inside] += 1
    return np.rint(total / count).astype(np.int16)


def block_pick(mask: RegionMask, factors: tuple[int, ...]) -> np.ndarray:
    """The bits at each block's middle voxel; a region so small that all its voxels fall between is kept by its blocks."""
    if max(factors) == 1:
        return mask.bits
    picks = [np.minimum(np.arange(0, n, f) + f // 2, n - 1) for n, f in zip(mask.bits.shape, factors, strict=True)]
    out = mask.bits[np.ix_(*picks)]
    seen = int(np.bitwise_or.reduce(out, axis=None))
    for region in mask.present():
        bit = 1 << REGIONS.index(region)
        if not seen & bit:
            x, y, z = (c // f for c, f in zip(np.nonzero(mask.bits & bit), factors, strict=True))
            out[x, y, z] |= np.uint16(bit)
    return out


def _sheets(codes: np.ndarray) -> dict[str, Any]:
    """Axial slices as cells of WebP sheets, row by row: `cell` (w, h) in pixels, `columns`, `per` sheet, `images` base64."""
    nx, ny, nz = codes.shape
    cell = [-(-n // _BLOCK) * _BLOCK for n in (nx, ny)]
    columns, rows = (max(1, _SHEET_SIDE // side) for side in cell)
    # few slices: a sheet no larger than it must be
    columns = min(columns, nz)
    rows = min(rows, -(-nz // columns))
    padded = np.pad(codes, ((0, cell[0] - nx), (0, cell[1] - ny), (0, 0)), mode="edge")
    per = columns * rows
    images = [_webp(_tile(padded[:, :, z : z + per], columns)) for z in range(0, nz, per)]
    return {"cell": cell, "columns": columns, "per": per, "images": images}


def _tile(slices: np.ndarray, columns: int) -> np.ndarray:
    width, height, n = slices.shape
    sheet = np.zeros((-(-n // columns) * height, columns * width), dtype=np.uint8)
    for i in range(n):
        row, column = divmod(i, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = slices[:, :, i].T
    return sheet


def _webp(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(buffer, "WEBP", quality=_QUALITY, method=4)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _labels(bits: np.ndarray) -> str:
    flat = np.ravel(bits, order="F")
    planes = np.concatenate([(flat & 255).astype(np.uint8), (flat >> 8).astype(np.uint8)])
    return base64.b64encode(zlib.compress(planes.tobytes(), 7)).decode("ascii")


def _regions(bits: np.ndarray, mask: RegionMask, voxel_ml: float) -> list[dict[str, Any]]:
    rows = []
    for region, voxels in mask.voxels().items():
        if not voxels:
            continue
        bit = REGIONS.index(region)
        inside = (bits >> bit) & 1
        side = inside.sum(axis=0, dtype=np.int32)  # (Y, Z)
        areas = inside.sum(axis=(1, 2), dtype=np.int64), side.sum(axis=1), side.sum(axis=0)
        best = [int(area.argmax()) for area in areas]
        rows.append({"name": region, "bit": bit, "color": PALETTE[region], "best": best, "ml": round(voxels * voxel_ml, 2)})
    return rows
