"""A mask file on disk → its values as stored with their place in the world, and those as booleans or labels."""

from __future__ import annotations

import dataclasses
import gzip
import html
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from reg2rg.errors import UserError

from ._maskgrid import MEND, size

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
INSIDE = 0.5  # a probability counts as inside from here on
LARGEST = 1 << 20  # a label above this is taken for a fault, not for a name
_PIECE = 1 << 22  # values looked at at once
_NAMED = re.compile(r'<Label\b[^>]*?\bKey="(\d+)"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Values as stored (i, j, k), voxel → RAS mm, and the names of labels that the header tells."""

    array: np.ndarray
    affine: np.ndarray
    names: dict[int, str] = dataclasses.field(default_factory=dict)


def bare(path: Path) -> str:
    """The file's name without the ending of an image."""
    name = path.name
    return next((name[: -len(e)] for e in ENDINGS if name.lower().endswith(e)), name)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file (hidden files aren't)."""
    return path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")


def read_stored(path: Path) -> Stored:
    """The stored values of `path`; raises UserError where it can't be read, isn't 3-D or has no place in the world."""
    stored = _read_nifti(path) if is_nifti(path) else _read_itk(path)
    array = stored.array
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.dtype.kind not in "iufb":
        raise UserError(f"a mask is a 3-D image, this one is {size(array.shape)}", path, "Save one mask a file.")
    return dataclasses.replace(stored, array=array)


def read_labels(path: Path) -> Stored:
    """The same as whole numbers from 0; raises UserError also for negative, broken or huge ones."""
    stored = read_stored(path)
    return dataclasses.replace(stored, array=as_labels(stored.array, path))


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii.gz", ".nii"))


def has_place(header: Any) -> bool:
    """Whether a NIfTI header says where its image lies: without a code, readers invent a place, each another one."""
    return bool(header["qform_code"] > 0 or header["sform_code"] > 0)


def _nowhere(path: Path) -> UserError:
    return UserError("its header has no place in the world (no affine)", path, MEND)


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
    if not has_place(image.header):
        raise _nowhere(path)
    return Stored(array, image.affine, _names(image.header))


def _names(header: Any) -> dict[int, str]:
    """The label table of a NIfTI header's extension, as TotalSegmentator and Connectome Workbench write it."""
    texts = (bytes(e.get_content()) for e in header.extensions if e.get_code() in (0, 30))
    found = _NAMED.findall(b"\n".join(texts).decode("utf-8", "replace"))
    return {int(key): (named or html.unescape(plain)).strip() for key, named, plain in found if int(key)}


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
    if path.name.lower().endswith(".nrrd") and not image.HasMetaDataKey("NRRD_space"):
        raise _nowhere(path)
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
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind == "f":
        array = _whole(array, path)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0:
        raise UserError(f"it has negative labels ({low})", path, "Labels are 0 outside and 1, 2, 3 … inside.")
    if high > LARGEST:
        raise UserError(f"its labels reach {high}", path, f"Number labels up to {LARGEST}.")
    return array


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    """A label map of floats as int32, in pieces; NaN is outside."""
    whole = np.zeros(array.shape, dtype=np.int32, order="F" if array.flags.f_contiguous else "C")
    flat, out = array.ravel(order="K"), whole.ravel(order="K")
    for start in range(0, flat.size, _PIECE):
        piece = np.nan_to_num(flat[start : start + _PIECE], nan=0.0, posinf=np.inf, neginf=-np.inf)
        if not np.isfinite(piece).all() or (piece != np.rint(piece)).any():
            raise UserError("its labels aren't whole numbers", path, "Save the label map as integers.")
        if np.abs(piece).max() > LARGEST:
            raise UserError(f"its labels reach {np.abs(piece).max():g}", path, f"Number labels up to {LARGEST}.")
        out[start : start + _PIECE] = piece
    return whole


def label_counts(labels: np.ndarray) -> np.ndarray:
    """How many voxels each label has (int64, as long as the largest label and one more), in pieces."""
    flat, counts = labels.ravel(order="K"), np.zeros(1, dtype=np.int64)
    for start in range(0, flat.size, _PIECE):
        found = np.bincount(flat[start : start + _PIECE].astype(np.int64, copy=False), minlength=counts.size)
        found[: counts.size] += counts
        counts = found
    return counts
