"""The one shape in which every reader hands over: stored voxels, their rescale, and where they lie in the world.

`finish` turns that into a `Volume`: geometry checked, HU made, HU checked, turned to RAS+. In: `Image`. Out: `Volume`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from ..contracts import Volume
from ..errors import UserError
from . import hounsfield, orientation

# Fewer slices than this are pictures, not a volume; less room than this shows no region of a chest.
LEAST_SLICES, LEAST_SLICES_CHEST, LEAST_EXTENT_MM = 4, 8, 30.0
OBLIQUE_DEGREES = 2.0
# 4 GiB as int16, four times the finest chest CT: a header that asks for more is damaged or a trap
MOST_VOXELS = 1 << 31


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Image:
    """What a file holds: `array` (i, j, k) as stored, `affine` voxel → RAS mm, HU = `slope`·stored + `intercept`.

    `trusted`: the file itself says that this is a CT in HU (DICOM, Modality CT, with rescale), so that a crop without air
    is believed. `notes`: what the reader put right, in sentences; `kind`: the format's name; `stored`: its data type.
    """

    array: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    trusted: bool = False
    notes: tuple[str, ...] = ()
    kind: str = ""
    stored: str = ""

    @property
    def codes(self) -> str:
        """The direction in which each stored index grows, e.g. "LPS"."""
        return orientation.codes(self.affine)


def check_count(shape: Iterable[int]) -> None:
    """Raises UserError where a shape has more voxels than any chest CT, before anything is allocated."""
    sizes = [int(n) for n in shape]
    if math.prod(sizes) > MOST_VOXELS:
        size = "×".join(map(str, sizes))
        raise UserError(f"its header promises {size} voxels, more than any chest CT has", fix="Check where it came from.")


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises UserError where a shape isn't that of one volume with more than one slice; trailing ones are free."""
    size = "×".join(map(str, shape))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise UserError(
            f"it is {len(shape)}-D ({size}): several volumes in one file", fix="Save the one volume you mean alone."
        )
    if len(shape) < 3 or min(shape) < 2:
        raise UserError(f"it is a single slice ({size}), not a volume", fix="Give the whole scan.")
    check_count(shape)


def squeeze(array: np.ndarray) -> np.ndarray:
    """Drops trailing axes of length 1; raises UserError where what is left isn't one grey volume."""
    if array.dtype.fields is not None or array.dtype.kind not in "iufb":
        raise UserError("it holds colours or complex numbers, not one grey value a voxel", fix="Give a grey CT volume.")
    check_shape(array.shape)
    return array.reshape(array.shape[:3], order="F")


def finish(image: Image, source: str, *, whole: bool = True) -> Volume:
    """An `Image` as a `Volume` in RAS+.

    `whole=False` lets small pieces through (to describe them); a study needs at least 8 slices and 30 mm each way.
    Raises UserError where the geometry or the values can't be a CT's.
    """
    array = squeeze(image.array)
    orientation.check_affine(image.affine)
    _check_size(array.shape, image.affine, whole)
    hu, notes = hounsfield.to_hu(array, image.slope, image.intercept)
    hounsfield.check_hu(hu, image.trusted)
    hu, clamped = hounsfield.clamp_padding(hu)
    if (angle := orientation.obliqueness(image.affine)) > OBLIQUE_DEGREES:
        clamped.append(
            f"its axes are turned by {angle:.1f}° against the body's: the voxels stay as they are, the affine says so"
        )
    codes = image.codes
    affine, turned = image.affine, []
    if codes != "RAS":
        hu, affine = orientation.to_ras(hu, affine)
        turned = [f"stored as {codes}, turned to RAS"]
    return Volume(hu, affine, source, tuple([*image.notes, *notes, *clamped, *turned]))


def _check_size(shape: tuple[int, ...], affine: np.ndarray, whole: bool) -> None:
    extent = np.linalg.norm(affine[:3, :3], axis=0) * np.asarray(shape)
    room = "×".join(f"{e:.0f}" for e in extent)
    if min(shape) < (LEAST_SLICES_CHEST if whole else LEAST_SLICES):
        raise UserError(f"it has only {min(shape)} slices ({room} mm): not a volume", fix="Give the whole scan.")
    if whole and extent.min() < LEAST_EXTENT_MM:
        raise UserError(f"it measures only {room} mm: not a volume of a chest", fix="Give the whole scan.")
