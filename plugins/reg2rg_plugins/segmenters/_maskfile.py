"""A mask file on disk → whole numbers in RAS+ that lie on the volume's grid, or a refusal that says how far off it is."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from reg2rg.contracts import Volume
from reg2rg.errors import UserError

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
INSIDE = 0.5  # a probability counts as inside from here on
OFF_MM = 1e-2  # so far a corner may lie from the volume's
_MEND = "Resample the masks to the CT's grid, or give the CT that they were drawn on."


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Values as stored (i, j, k), voxel → RAS mm."""

    array: np.ndarray
    affine: np.ndarray


def bare(path: Path) -> str:
    """The file's name without the ending of an image."""
    name = path.name
    return next((name[: -len(e)] for e in ENDINGS if name.lower().endswith(e)), name)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file (hidden files aren't)."""
    return path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")


def read_on_grid(path: Path, volume: Volume) -> np.ndarray:
    """The stored values of `path` in RAS+, checked to lie on the grid of `volume`; raises UserError naming the offset."""
    import nibabel as nib

    stored = _read_nifti(path) if is_nifti(path) else _read_itk(path)
    array = stored.array
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.dtype.kind not in "iufb":
        raise UserError(f"a mask is a 3-D image, this one is {_size(array.shape)}", path, "Save one mask a file.")
    turn = turn_to(volume, array.shape, stored.affine, path)
    return nib.orientations.apply_orientation(array, turn)  # type: ignore[no-any-return]


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii.gz", ".nii"))


def turn_to(volume: Volume, shape: tuple[int, ...], affine: np.ndarray, path: Path) -> np.ndarray:
    """How an image (i, j, k) is turned to RAS+, as nibabel says it; raises UserError where that isn't on the volume's grid."""
    import nibabel as nib

    placed = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9
    turn = nib.orientations.io_orientation(affine) if placed else np.full((3, 2), np.nan)
    if np.isnan(turn).any():
        raise UserError("its header has no place in the world (no affine)", path, _MEND)
    turned = tuple(shape[int(axis)] for axis in np.argsort(turn[:, 0]))
    _check_grid(path, turned, affine @ nib.orientations.inv_ornt_aff(turn, shape), volume)
    return turn


def _check_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray, volume: Volume) -> None:
    if shape != volume.shape:
        raise UserError(f"its shape {_size(shape)} isn't the volume's {_size(volume.shape)}", path, _MEND)
    ends = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in shape), 1]
    off = ((affine - volume.affine) @ ends.T)[:3]
    worst = float(np.linalg.norm(off, axis=0).max())
    if worst > OFF_MM:
        shift = ", ".join(f"{a} {mm:+.1f}" for a, mm in zip("RAS", off[:, 0], strict=True))
        raise UserError(
            f"it lies {worst:.2f} mm off the volume's grid ({shift} mm at the first voxel) though its shape is the same",
            path,
            _MEND,
        )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _read_nifti(path: Path) -> Stored:
    """Reads and inflates by hand (isal where it is installed): a third of nibabel's time for a small file."""
    import nibabel as nib

    raw = _bytes(path)
    try:
        kind = nib.Nifti2Image if raw[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nib.Nifti1Image
        image = kind.from_bytes(raw)
        stored: Any = image.dataobj
        if stored.slope == 1 and stored.inter == 0:
            array = np.ndarray(stored.shape, stored.dtype, raw, stored.offset, order="F")  # no copy
        else:
            array = np.asarray(stored, dtype=np.float32)
    except (
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        nib.wrapstruct.WrapStructError,
        OSError,
        TypeError,
        ValueError,
        EOFError,
        OverflowError,
    ) as error:
        raise UserError(
            "it isn't a whole NIfTI image", path, "Make the file again: it is cut short or another format."
        ) from error
    return Stored(array, image.affine)


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"it can't be read ({error.strerror})", path, "Check the path and its permissions.") from error
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return _inflate(raw)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError("it is cut short or damaged", path, "Copy or make the file again.") from error
    except Exception as error:  # isal's own error has no base class but Exception
        raise UserError("it is damaged", path, "Copy or make the file again.") from error


def _inflate(raw: bytes) -> bytes:
    try:
        from isal import igzip
    except ImportError:
        return gzip.decompress(raw)
    return bytes(igzip.decompress(raw))


def _read_itk(path: Path) -> Stored:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(
            "it can't be read as an image", path, "Make the file again: it is cut short or another format."
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError("a mask is a 3-D image of one value a voxel", path, "Save one mask a file.")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1  # LPS → RAS
    return Stored(sitk.GetArrayFromImage(image).T, affine)


def as_binary(array: np.ndarray, path: Path) -> tuple[np.ndarray, str]:
    """A mask of one region as booleans, and a remark where it wasn't plain 0/1.

    0 and one other number are outside and inside, probabilities count from 0.5. Raises UserError for negative values and
    for several labels.
    """
    low, high = np.nanmin(array), np.nanmax(array)
    if low < 0:
        raise UserError(f"it has negative labels ({low:g})", path, "Save it as 0 outside and 1 inside.")
    inside = array != 0
    if array.dtype.kind == "f" and np.isnan(array).any():
        inside &= ~np.isnan(array)
    if high in (0, 1) and (array.dtype.kind != "f" or not ((array > 0) & (array < 1)).any()):
        return inside, ""
    if not (inside & (array != high)).any() and high >= 1:
        return inside, f"{path.name}: {high:g} was read as inside"
    if array.dtype.kind == "f" and high <= 1:
        return array >= INSIDE, f"{path.name} isn't binary: values from {INSIDE} on count as inside"
    raise UserError("it holds several labels, not one region's mask", path, "Save one mask a file, or give a table `names`.")


def as_labels(array: np.ndarray, path: Path) -> np.ndarray:
    """A label map as whole numbers; raises UserError for negative or broken ones."""
    if array.dtype.kind == "f":
        whole = np.nan_to_num(array, nan=0.0).astype(np.int64)
        if (whole != np.nan_to_num(array, nan=0.0)).any():
            raise UserError("its labels aren't whole numbers", path, "Save the label map as integers.")
        array = whole
    if array.size and int(array.min()) < 0:
        raise UserError(f"it has negative labels ({int(array.min())})", path, "Labels are 0 outside and 1, 2, 3 … inside.")
    return array
