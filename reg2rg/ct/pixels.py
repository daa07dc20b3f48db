"""The pixels of one DICOM slice as stored, with what turns them into HU. In: a `Slice`. Out: `Pixels`.

pydicom's decoders come first, SimpleITK's for what they refuse. What lies outside the reconstruction's circle is told by
PixelPaddingValue and becomes air, also where its number would be tissue.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .dicom import Opener, Slice, quiet
from .hounsfield import AIR
from .itk import quiet as quiet_itk


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Stored pixels (rows, columns), the slope and intercept still to be applied, and which of them are padding (or None)."""

    values: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    padding: np.ndarray | None = None


def decode(s: Slice) -> Pixels:
    """The pixels of one slice. Raises UserError where they are damaged, cut short, or no decoder reads them."""
    slope, intercept = s.rescale or (1.0, 0.0)
    if s.frame is not None:
        frames, padding = _frames(s.opener, s.label)
        values = frames[s.frame]
    else:
        data, packed = _read(s.opener, s.label)
        with quiet():
            # as in `dicom`: whatever pydicom raises on damaged bytes, the file is damaged
            try:
                values = np.asarray(data.pixel_array)
            except Exception as error:
                if not packed:
                    raise UserError(f"{s.label}: {_shortfall(data)}", fix="Copy the series again.") from error
                return Pixels(_decode_itk(s, data))
        padding = _padding(data)
    # padding below air becomes air with all that lies there, whatever the header says
    seen = padding is not None and max(slope * p + intercept for p in padding) > AIR
    return Pixels(values, slope, intercept, _outside(values, padding) if padding and seen else None)


def _read(opener: Opener, label: str) -> tuple[Any, bool]:
    """The whole data set, and whether its pixels are compressed."""
    from pydicom import dcmread
    from pydicom.uid import ImplicitVRLittleEndian

    with quiet(), opener() as file:
        try:
            data = dcmread(file, force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            return data, bool(data.file_meta.TransferSyntaxUID.is_compressed)
        except Exception as error:
            raise UserError(f"{label}: its file is cut short or damaged", fix="Copy the series again.") from error


@functools.lru_cache(maxsize=1)
def _frames(opener: Opener, label: str) -> tuple[np.ndarray, tuple[int, int] | None]:
    """All frames of a multi-frame file (frames, rows, columns), decoded once, and its padding values."""
    data, _ = _read(opener, label)
    with quiet():
        try:
            return np.asarray(data.pixel_array), _padding(data)
        except Exception as error:
            raise UserError(f"{label}: {_shortfall(data)}", fix="Copy the series again.") from error


def forget() -> None:
    """Frees the frames that were decoded last."""
    _frames.cache_clear()


def _padding(data: Any) -> tuple[int, int] | None:
    """The lowest and highest stored value that mean padding."""
    found = [_stored(data, key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    kept = [value for value in found if value is not None]
    return (min(kept), max(kept)) if kept and found[0] is not None else None


def _stored(data: Any, key: str) -> int | None:
    """A value in the pixels' own signedness: writers don't agree on it, and an implicit syntax doesn't tell."""
    value = data.get(key)
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        return None
    signed = int(data.get("PixelRepresentation") or 0) == 1
    if signed and value > 32767:
        return value - 65536
    return value + 65536 if not signed and value < 0 else value


def _outside(values: np.ndarray, padding: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a padding value that hang together with the image's rim: the same number inside is tissue."""
    mask = (values >= padding[0]) & (values <= padding[1])
    if values.ndim != 2 or not mask.any():
        return None
    from scipy import ndimage

    pieces, _ = ndimage.label(mask)
    rim = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    outside = np.isin(pieces, rim[rim > 0])
    return outside if outside.any() else None


def _shortfall(data: Any) -> str:
    """What is wrong with uncompressed pixels that can't be read, in numbers."""
    try:
        wanted = int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames") or 1) * int(data.BitsAllocated) // 8
        return f"it is cut short or damaged ({len(data.PixelData)} of {wanted} bytes of pixels are there)"
    except Exception:
        return "its header or pixels are damaged"


def _decode_itk(s: Slice, data: Any) -> np.ndarray:
    """A compressed slice that pydicom's decoders refuse, through SimpleITK, which gives HU at once."""
    import tempfile

    import SimpleITK as sitk

    name = _syntax(data)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory(prefix="reg2rg-") as folder, s.opener() as file:
        copy = Path(folder) / "slice.dcm"
        copy.write_bytes(file.read())
        try:
            with quiet_itk():
                pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(copy)))
        except RuntimeError as error:
            raise UserError(
                f"{s.label}: no installed decoder reads its {name} pixels, or they are damaged",
                fix="Run: pip install pylibjpeg pylibjpeg-openjpeg pyjpegls. Or export it uncompressed.",
            ) from error
    return pixels[0] if pixels.ndim == 3 else pixels


def _syntax(data: Any) -> str:
    """The transfer syntax's name; an unknown one may be any text, which isn't repeated."""
    uid = data.file_meta.TransferSyntaxUID
    return str(uid.name) if uid.is_transfer_syntax and str(uid.name) != str(uid) else "compressed"
