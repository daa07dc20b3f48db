"""NIfTI-1 and NIfTI-2, gzip or not: nibabel reads the header, the voxels come straight from the bytes as stored.

The sform wins over the qform, spacing comes from the affine and never from pixdim, and a file with neither is refused:
libraries disagree on which way its axes point.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from . import orientation
from .bytes import CUT, open_plain, read_array
from .image import Image, check_shape

_UNITS_MM = {"meter": 1000.0, "micron": 0.001}
_APART_MM, _SPACING_RATIO = 0.5, 0.01
# 60°: an axis that two forms turn by more points elsewhere
_LEAST_COSINE = 0.5


def is_nifti(head: bytes) -> bool:
    """Whether plain content begins like a NIfTI header (one file, either byte order, version 1 or 2)."""
    size = head[:4]
    one = size in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c") and head[344:347] in (b"n+1", b"ni1")
    two = size in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") and head[4:7] in (b"n+2", b"ni2")
    return one or two


def read(path: Path) -> Image:
    """The image in `path`; raises UserError for what can't be read or placed in the world."""
    header = _header(path)
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = header.get_data_dtype()
    if not shape or min(shape) < 1 or not dtype.itemsize:
        raise UserError(f"its header gives the shape {shape} and the number type {dtype}", fix="Export it again.")
    # before the voxels are read: a long 4-D series needn't be
    check_shape(shape)
    affine, notes = _affine(header)
    slope, intercept = _rescale(header)
    array = read_array(path, _offset(header), shape, dtype)
    return Image(
        array,
        affine,
        slope=slope,
        intercept=intercept,
        notes=tuple(notes),
        kind="NIfTI",
        stored=str(dtype),
    )


def _header(path: Path) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    with open_plain(path) as file:
        raw = file.read(540)
    two = raw[4:6] in (b"n+", b"ni") and raw[344:346] != b"n+"
    size = 540 if two else 348
    if len(raw) < size:
        raise UserError(f"{CUT}: not even the header is whole", fix="Copy or download it again.")
    magic = raw[4:7] if two else raw[344:347]
    if magic in (b"ni1", b"ni2"):
        raise UserError("it is half of a .hdr/.img pair", fix="Convert the pair to one .nii file.")
    try:
        header = (Nifti2Header if two else Nifti1Header)(raw[:size], check=False)
        header.get_data_dtype()
        return header
    except (HeaderDataError, WrapStructError, ValueError, KeyError) as error:
        raise UserError("its NIfTI header is broken", fix="Export it again.") from error


def _offset(header: Any) -> int:
    """Where the voxels begin; a file that says "inside the header" (0, as a rule) has them nobody knows where."""
    offset = float(header["vox_offset"])
    # nibabel's types carry their header's size: 348 or 540 bytes, and four more that tell of extensions
    if not math.isfinite(offset) or offset < header.sizeof_hdr + 4 or offset != int(offset):
        raise UserError(f"its header says that its voxels begin at byte {offset:g}, which can't be", fix="Export it again.")
    return int(offset)


def _rescale(header: Any) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise UserError("its rescale is broken", fix="Put slope and intercept right in the header.") from error
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def _affine(header: Any) -> tuple[np.ndarray, list[str]]:
    """Voxel → RAS mm by the sform, else the qform, and what should be said about it."""
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        raise UserError(
            "its orientation is unknown (qform and sform codes are 0), so left and right can't be told",
            fix="Export it again with its orientation, or write a true sform into the header.",
        )
    qform = _qform(header) if codes[1] else None
    affine = np.asarray(header.get_sform(), dtype=np.float64) if codes[0] else qform
    if affine is None:
        raise UserError("the quaternion of its qform is broken", fix="Write a valid affine into the header.")
    notes = _differences(header, affine, qform if codes[0] else None)
    unit = _unit(header)
    if factor := _UNITS_MM.get(unit):
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
        notes.append(f"its unit is the {unit}, turned to mm")
    return affine, notes


def _refuse_mirrored(sform: np.ndarray, qform: np.ndarray) -> None:
    """Raises UserError where both forms are whole and point an axis to different sides: one of them swaps left and right."""
    columns = [form[:3, :3] / np.maximum(np.linalg.norm(form[:3, :3], axis=0), 1e-9) for form in (sform, qform)]
    # a form that is no geometry at all is the affine check's matter
    if any(not np.isfinite(c).all() or not c.any(axis=0).all() for c in columns):
        return
    if float((columns[0] * columns[1]).sum(axis=0).min()) < _LEAST_COSINE:
        said = [orientation.codes(form) for form in (sform, qform)]
        raise UserError(
            f"its sform says that its axes point {said[0]}, its qform {said[1]}: which one is true can't be told",
            fix="Set the wrong one's code to 0 in the header.",
        )


def _unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"


def _qform(header: Any) -> np.ndarray | None:
    from nibabel.spatialimages import HeaderDataError

    header = header.copy()
    if math.isfinite(float(header["pixdim"][0])):
        # the standard: below 0 the third axis is flipped, anything else (old files have 0) isn't
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return None


def _differences(header: Any, affine: np.ndarray, qform: np.ndarray | None) -> list[str]:
    notes = []
    shape = [*header.get_data_shape(), 1, 1, 1][:3]
    if qform is not None:
        _refuse_mirrored(affine, qform)
        corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])], dtype=float)
        apart = float(np.linalg.norm(((affine - qform) @ corners.T)[:3], axis=0).max())
        if apart > _APART_MM:
            notes.append(f"its sform and qform lie up to {apart:.1f} mm apart, the sform was used: other programs may differ")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    zooms = np.abs(np.asarray([*header["pixdim"][1:4]], dtype=float))
    if (np.abs(zooms - spacing) > _SPACING_RATIO * spacing).any():
        said = "×".join(f"{z:.4g}" for z in zooms)
        notes.append(f"its pixdim says {said} mm, the affine {'×'.join(f'{s:.4g}' for s in spacing)} mm: the affine was used")
    return notes
