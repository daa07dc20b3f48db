"""NRRD and MetaImage (MHA, MHD) through SimpleITK, after `headers` has checked what it is silent on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from . import headers
from .bytes import AGAIN, head
from .image import Image
from .orientation import from_lps


def is_nrrd(head: bytes) -> bool:
    """Whether a file begins like NRRD."""
    return head.startswith(b"NRRD00")


def is_meta(head: bytes) -> bool:
    """Whether a file begins like a MetaImage header."""
    text = head.lstrip()[:400]
    return text.startswith((b"ObjectType", b"NDims", b"Comment")) and b"NDims" in text


def read(path: Path) -> Image:
    """The image in `path`; raises UserError for what can't be read or placed in the world."""
    nrrd = is_nrrd(head(path, 8))
    notes = headers.check_nrrd(path) if nrrd else headers.check_meta(path)
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps ITK's C++ parts from writing to the screen (they do it past every setting), where there is one."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _read(path: Path) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with quiet():
            return sitk.ReadImage(str(path))
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "orthonormal" in text:
            raise UserError("its axes aren't at right angles", fix="Resample it to a straight grid first.") from error
        raise UserError("it could not be read (damaged, or its data file is missing)", fix=AGAIN) from error
