"""NRRD and MetaImage (MHA, MHD) through SimpleITK, with the checks on which it is silent.

SimpleITK fills a file that is cut short and makes up a geometry where the header has none; here both are refused.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .bytes import AGAIN, CUT
from .image import Image
from .orientation import from_lps

_SPACES = {
    "right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps",
}  # fmt: skip
_NRRD_BYTES = {
    1: ("char", "uchar", "int8", "uint8"),
    2: ("short", "int16", "uint16", "ushort"),
    4: ("int ", "int32", "uint32", "uint", "float"),
    8: ("long", "int64", "uint64", "double", "ulong"),
}


def is_nrrd(head: bytes) -> bool:
    """Whether a file begins like NRRD."""
    return head.startswith(b"NRRD00")


def is_meta(head: bytes) -> bool:
    """Whether a file begins like a MetaImage header."""
    text = head.lstrip()[:400]
    return text.startswith((b"ObjectType", b"NDims", b"Comment")) and b"NDims" in text


def read(path: Path) -> Image:
    """The image in `path`; raises UserError for what can't be read or placed in the world."""
    nrrd = is_nrrd(path.open("rb").read(8))
    notes = _check_nrrd(path) if nrrd else _check_meta(path)
    image = _read(path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError("it holds several values a voxel (colours or several volumes)", fix="Give one grey CT volume.")
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image).T
    affine = np.eye(4)
    if array.ndim >= 3:
        n = array.ndim
        direction = np.asarray(image.GetDirection()).reshape(n, n)[:3, :3]
        affine[:3, :3] = direction * np.asarray(image.GetSpacing()[:3])
        affine[:3, 3] = image.GetOrigin()[:3]
    return Image(array, from_lps(affine), notes=tuple(notes), kind="NRRD" if nrrd else "MetaImage", stored=str(array.dtype))


def _read(path: Path) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "orthonormal" in text:
            raise UserError("its axes aren't at right angles", fix="Resample it to a straight grid first.") from error
        raise UserError("it could not be read (damaged, or its data file is missing)", fix=AGAIN) from error


def _header(path: Path, comment: str, stop: str = "") -> tuple[dict[str, str], int]:
    """Keys (lower case) and values of a text header, and where the voxels begin."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(2000):
            line = file.readline(65536)
            text = line.decode("latin-1").strip()
            if not line or (not text and not stop):
                break
            key, _, value = text.partition("=" if stop else ":")
            if value and not text.startswith(comment):
                fields[key.strip().lower()] = value.strip(" =")
            if stop and key.strip().lower() == stop:
                break
        return fields, file.tell()


def _check_nrrd(path: Path) -> list[str]:
    fields, start = _header(path, "#")
    if "space directions" not in fields or "space origin" not in fields:
        raise UserError(
            "its header has no space directions and origin, so its size and place are unknown",
            fix="Export it again with its geometry.",
        )
    space = fields.get("space", "").lower().replace("_", "-")
    if space not in _SPACES:
        raise UserError(
            f"its space is '{fields.get('space', 'not given')}', so left and right can't be told",
            fix="Export it again in left-posterior-superior or right-anterior-superior.",
        )
    if "data file" in fields or "datafile" in fields:
        return []
    kind = fields.get("type", "").lower().removeprefix("signed ").removeprefix("unsigned ")
    itemsize = next((size for size, names in _NRRD_BYTES.items() if (kind + " ").startswith(names)), 0)
    wanted = itemsize * _product(fields.get("sizes", ""))
    encoding = fields.get("encoding", "raw").lower()
    if encoding == "raw":
        _check_length(path.stat().st_size - start, wanted)
    elif encoding in ("gz", "gzip"):
        _check_inflated(path, start, wanted, 31)
    return []


def _check_meta(path: Path) -> list[str]:
    fields, start = _header(path, "#", stop="elementdatafile")
    if "elementspacing" not in fields and "elementsize" not in fields:
        raise UserError("its header has no ElementSpacing, so its size is unknown", fix="Export it again with its geometry.")
    notes = []
    if not {"transformmatrix", "rotation", "orientation"} & set(fields):
        notes.append("its header has no TransformMatrix: MetaImage's own default, LPS, was taken")
    if fields.get("elementdatafile", "").lower() != "local":
        return notes
    itemsize = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "LONG": 4, "DOUBLE": 8, "LONG_LONG": 8}.get(
        fields.get("elementtype", "").upper().removeprefix("MET_").replace("UCHAR", "CHAR").replace("USHORT", "SHORT")
        .replace("UINT", "INT").replace("ULONG", "LONG"),
        0,
    )  # fmt: skip
    wanted = itemsize * _product(fields.get("dimsize", "")) * int(fields.get("elementnumberofchannels", "1") or 1)
    if fields.get("compresseddata", "false").lower() == "true":
        _check_inflated(path, start, wanted, 15 + 32)
    else:
        _check_length(path.stat().st_size - start, wanted)
    return notes


def _product(sizes: str) -> int:
    try:
        return int(np.prod([int(n) for n in sizes.split()], dtype=object))
    except ValueError as error:
        raise UserError("its header gives no sizes", fix=AGAIN) from error


def _check_length(got: int, wanted: int) -> None:
    if got < wanted:
        raise UserError(f"{CUT}: {got} of {wanted} bytes of voxels are there", fix=AGAIN)


def _check_inflated(path: Path, start: int, wanted: int, window: int) -> None:
    """Inflates once more, without keeping the result: ITK doesn't tell of a stream that breaks off."""
    inflate, got = zlib.decompressobj(window), 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            while not inflate.eof and (piece := file.read(1 << 20)):
                got += len(inflate.decompress(piece))
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UserError("its compressed voxels are damaged", fix=AGAIN) from error
    if not inflate.eof:
        raise UserError(f"{CUT}: its compressed voxels break off", fix=AGAIN)
    _check_length(got, wanted)
