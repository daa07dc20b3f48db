"""Masks and label maps: the same files and the same geometry checks as a CT, values kept as labels.

In: a NIfTI, NRRD or MetaImage file. Out: integers in RAS+, never squeezed into eight bits, and notes on what was read how.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import orientation
from .image import Image, squeeze
from .reading import read_image

# a probability counts as inside from here on
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A label map: `array` unsigned integers (X, Y, Z) in RAS+, `affine` voxel → mm, `notes` what was put right."""

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The labels in `path` and their affine; see `read_label_map`."""
    labels = read_label_map(path)
    return labels.array, labels.affine


def read_label_map(path: Path) -> Labels:
    """The labels in `path`: integers as they are, 0/255 as 0/1, probabilities cut at 0.5.

    Raises UserError for negative labels, values that are no labels, and what no image reader could place.
    """
    image = read_image(path)
    try:
        array = squeeze(image.array)
        orientation.check_affine(image.affine)
        array, notes = _integers(_scaled(array, image))
        turned, affine = orientation.to_ras(array, image.affine)
    except UserError as error:
        raise UserError(error.what, path, error.fix) from error
    return Labels(turned, affine, tuple([*image.notes, *notes]))


def _scaled(array: np.ndarray, image: Image) -> np.ndarray:
    if image.slope == 1 and image.intercept == 0:
        return array
    return array.astype(np.float32) * np.float32(image.slope) + np.float32(image.intercept)


def _integers(array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    notes = []
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            notes.append("its NaN and infinite voxels count as outside")
            array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
        if not (array == np.rint(array)).all():
            array, said = _cut(array)
            notes.append(said)
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise UserError(f"it has negative labels ({low})", fix="Labels are 0 outside and 1, 2, 3 … inside.")
    if high == 255 and not ((array != 0) & (array != 255)).any():
        array, high = array != 0, 1
        notes.append("its 0/255 were read as 0/1")
    wide = np.uint8 if high < 1 << 8 else np.uint16 if high < 1 << 16 else np.uint32
    return array.astype(wide, copy=False), notes


def _cut(array: np.ndarray) -> tuple[np.ndarray, str]:
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise UserError(
            f"its values ({low:g} to {high:g}, not whole numbers) are neither labels nor probabilities",
            fix="Save it as whole-number labels, or as probabilities from 0 to 1.",
        )
    return array >= THRESHOLD, f"it isn't binary: values from {THRESHOLD} on count as inside"
