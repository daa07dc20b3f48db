"""Stored numbers → Hounsfield units: rescaled exactly once, int16 by clipping and never by wrap-around, checked to be HU.

No full-size float64 copy is made: conversion runs in slabs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..errors import UserError

AIR = -1024
# Below this no tissue and no resampling ring lies: it is the scanner's padding (-2000, -2048, -3024 …).
PADDING = -1500
# What any CT with some air or lung and some bone or contrast shows; MR, 0–255 and 0–1 pictures and lost offsets don't.
AIR_PERCENTILE, AIR_LIMIT, DENSE_LIMIT = 1.0, -700, 300
# Voxels clipped at the top are metal; more of them than this share are a header that reads signed pixels as unsigned.
BEYOND_SHARE = 0.01
# Padding is one number (a little spread by lossy coding and resampling); a larger share of many numbers that low is no padding.
_SPREAD, SPREAD_SHARE = 32, 0.1
# No CT is without anything as dense as this, whatever was cut out of it.
_LEAST_DENSE = -300
_SLAB = 1 << 22
_SAMPLE = 1 << 18


@dataclasses.dataclass(slots=True)
class Faults:
    """Voxels that had to be put right while converting."""

    nan: int = 0
    infinite: int = 0
    clipped: int = 0
    padding: int = 0

    def notes(self) -> list[str]:
        """One sentence for each kind that occurred."""
        kinds = {
            f"NaN, set to air ({AIR} HU)": self.nan,
            f"infinite, set to air ({AIR} HU)": self.infinite,
            "outside the range of int16, clipped": self.clipped,
            f"padding by PixelPaddingValue, set to air ({AIR} HU)": self.padding,
        }
        return [f"{n} voxel{'s were' if n > 1 else ' was'} {kind}" for kind, n in kinds.items() if n]


def convert(block: np.ndarray, slope: float, intercept: float, out: np.ndarray, faults: Faults) -> None:
    """Writes HU = slope·block + intercept into `out` (int16, same shape), counting what was put right."""
    values: Any
    # uint64 has no wider integer to go to
    if block.dtype.kind in "iub" and block.dtype != np.uint64 and slope == 1 and intercept == round(intercept):
        values = block.astype(np.int64 if block.dtype.itemsize > 2 else np.int32)
        values += int(intercept)
    else:
        # float32 holds integers up to 2^24 exactly; wider input needs float64, for one slab only
        wide = block.dtype.itemsize > (4 if block.dtype.kind == "f" else 2)
        values = block.astype(np.float64 if wide else np.float32)
        values *= slope
        values += intercept
        if block.dtype.kind == "f":
            _repair(values, faults)
        np.rint(values, out=values)
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    if values.size and (values.min() < low or values.max() > high):
        faults.clipped += int(((values < low) | (values > high)).sum())
        np.clip(values, low, high, out=values)
    out[...] = values


def _repair(values: np.ndarray, faults: Faults) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    nan = int(np.isnan(values).sum())
    faults.nan += nan
    faults.infinite += int(values.size - finite.sum()) - nan
    values[~finite] = AIR


def check_rescale(slope: float, intercept: float) -> None:
    """Raises UserError where slope and intercept can't turn stored numbers into HU."""
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        raise UserError(f"its rescale is broken (slope {slope}, intercept {intercept})", fix="Put it right in the header.")


def to_hu(array: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> tuple[np.ndarray, list[str]]:
    """The array in HU as int16 (the same array where it is that already), and notes on what was put right."""
    if array.dtype.kind == "b":
        raise UserError("it holds yes/no values: a mask, not a CT", fix="Give the CT volume.")
    check_rescale(slope, intercept)
    if array.dtype == np.int16 and array.dtype.isnative and slope == 1 and intercept == 0:
        return array, []
    out = np.empty(array.shape, dtype=np.int16, order="F")
    faults = Faults()
    step = max(1, _SLAB * array.shape[-1] // max(1, array.size))
    for start in range(0, array.shape[-1], step):
        slab = np.s_[..., start : start + step]
        convert(array[slab], slope, intercept, out[slab], faults)
    if faults.nan + faults.infinite == array.size:
        raise UserError("it holds no finite number", fix="Export the scan again.")
    return out, faults.notes()


def clamp_padding(hu: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Sets padding (values far below air) to -1024 HU; small undershoot of resampled CTs stays as it is."""
    if hu.min() >= PADDING:
        return hu, []
    count = int((hu < PADDING).sum())
    return np.maximum(hu, np.int16(AIR)), [f"{count} padding voxels below {PADDING} HU were set to air ({AIR} HU)"]


def _sample(hu: np.ndarray) -> np.ndarray:
    """An even sample of about 260,000 voxels."""
    flat = hu.ravel(order="K")
    return flat[:: max(1, flat.size // _SAMPLE)]


def _scattered(sample: np.ndarray) -> float:
    """The share of values below any tissue that aren't near the commonest of them."""
    low = sample[sample < PADDING]
    if low.size <= SPREAD_SHARE * sample.size:
        return 0.0
    commonest = int(np.bincount(low.astype(np.int64) + (1 << 15)).argmax()) - (1 << 15)
    return float((np.abs(low.astype(np.int32) - commonest) > _SPREAD).sum() / sample.size)


def _offset_lost(sample: np.ndarray) -> bool:
    """Whether soft tissue lies near 1024 instead of 0: nothing below fat, and a bump where bone should thin out."""
    bump, before = (int(((sample > low) & (sample < low + 300)).sum()) for low in (900, 500))
    return int((sample < _LEAST_DENSE).sum()) * 100 < sample.size and bump * 20 > sample.size and bump > 2 * before


def low_percentile(hu: np.ndarray) -> int:
    """The first percentile, from an even sample."""
    sample = _sample(hu)
    rank = int(sample.size * AIR_PERCENTILE / 100)
    return int(np.partition(sample, rank)[rank])


def check_hu(hu: np.ndarray, trusted: bool = False) -> None:
    """Raises UserError where the values can't be a CT's HU; `trusted` CTs need only have an image content."""
    low, high = int(hu.min()), int(hu.max())
    if low == high:
        raise UserError(f"every voxel is {low}: no image content", fix="Export the scan again.")
    limit = np.iinfo(np.int16).max
    if high == limit and np.count_nonzero(hu == limit) > hu.size * BEYOND_SHARE:
        raise UserError(
            f"many of its values lie beyond the range of HU ({limit} and above)",
            fix="Check its signedness and rescale, or export it again.",
        )
    sample = _sample(hu)
    if _scattered(sample) > SPREAD_SHARE:
        raise UserError(
            f"its values ({low} to {high}) lie far below air: rescaled twice, or read in the wrong byte order?",
            fix="A chest CT has air near -1000: give the original CT, in HU.",
        )
    if trusted and high > _LEAST_DENSE and not _offset_lost(sample):
        return
    # the same as asking whether the first percentile lies at or below AIR_LIMIT, without sorting
    if high > DENSE_LIMIT and np.count_nonzero(hu <= AIR_LIMIT) > hu.size * AIR_PERCENTILE / 100:
        return
    air = low_percentile(hu)
    raise UserError(
        f"its values ({low} to {high}, first percentile {air}) aren't Hounsfield units{_guess(low, high, air)}",
        fix="A chest CT has air near -1000 and bone above 300: give the original CT, in HU.",
    )


def _guess(low: int, high: int, air: int) -> str:
    if low >= 0 and high <= 1:
        return " (they look normalised, or like a mask)"
    if low >= 0 and high <= 255:
        return " (they look like an 8-bit picture or a label map)"
    if low >= 0 and air < 200 and 1000 < high < 6000:
        return " (they look like a CT whose offset of -1024 was lost, or like an MR)"
    if air > AIR_LIMIT:
        return " (no air: an MR, or a CT cut to a window?)"
    return " (nothing dense: a CT cut to a window?)"
