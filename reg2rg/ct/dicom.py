"""One DICOM file: the header facts that reading needs, and its pixels. In: a binary file. Out: `Slice`, stored pixels.

Nothing that identifies a patient leaves this file: `Slice` has no field for it but the UIDs that group files, and a file's
name is said only where it contains none of its header's identifiers. What makes a series a volume is in `series`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import UserError
from .itk import quiet

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "ImageType", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
    "RescaleIntercept", "PatientID", "PatientName", "AccessionNumber", "PatientBirthDate", "StudyDate", "StudyID",
]  # fmt: skip
_IDENTIFIERS = ("PatientID", "PatientName", "AccessionNumber", "PatientBirthDate", "StudyDate", "StudyID")
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_DIRECTORY = "1.2.840.10008.1.3.10"
UNNAMED = "a slice"
_CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1")

# gives a binary file, so that files on disk and members of a zip read alike
Opener = Callable[[], IO[bytes]]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The header facts of one DICOM file that reading needs; `label` is a name safe to say."""

    opener: Opener
    label: str
    series: str
    instance: str
    modality: str
    localizer: bool
    matrix: tuple[int, int]
    frames: int
    samples: int
    spacing: tuple[float, float] | None
    position: np.ndarray | None
    cosines: np.ndarray | None
    rescale: tuple[float, float] | None
    pixels: bool


def is_dicom(head: bytes) -> bool:
    """Whether a file begins like DICOM: the magic word, or (without preamble) a first element of group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00" and len(head) > 16


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pydicom's warnings quote header values: keep them off the screen and out of logs."""
    import logging

    from pydicom import config

    logger, mode = logging.getLogger("pydicom"), config.settings.reading_validation_mode
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        config.settings.reading_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.reading_validation_mode = mode
            logger.setLevel(level)


def header(file: IO[bytes], opener: Opener, name: str) -> Slice | None:
    """The facts of one file called `name`; None where it isn't a DICOM object, or a DICOMDIR.

    Raises UserError where it says that it is DICOM and can't be read.
    """
    from pydicom import dcmread

    # pydicom fails in many ways on damaged bytes, some of them undocumented: all mean the same here
    with _quiet(), contextlib.suppress(Exception):
        data = dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        if str(getattr(data.file_meta, "MediaStorageSOPClassUID", "")) == _DIRECTORY:
            return None
        if "SOPClassUID" in data or ("Rows" in data and "Modality" in data):
            return _slice(data, opener, name, _has_pixels(file) or _deflated(data))
    file.seek(128)
    if file.read(4) != b"DICM":
        return None
    raise UserError("a DICOM file's header is damaged", fix="Copy the series again.")


def _has_pixels(file: IO[bytes]) -> bool:
    """Whether the element at which reading stopped is there and is PixelData (7FE0,0010), in either byte order."""
    tag = file.read(4)
    return tag in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


def _deflated(data: Any) -> bool:
    """A deflated file is read from a copy in memory, so its place on disk says nothing of pixels."""
    return str(getattr(data.file_meta, "TransferSyntaxUID", "")) == "1.2.840.10008.1.2.1.99"


def _slice(data: Any, opener: Opener, name: str, pixels: bool) -> Slice:
    slope, intercept = _number(data, "RescaleSlope"), _number(data, "RescaleIntercept")
    kinds = [str(k).upper() for k in _several(data.get("ImageType"))]
    spacing, position = _numbers(data, "PixelSpacing", 2), _numbers(data, "ImagePositionPatient", 3)
    cosines = _numbers(data, "ImageOrientationPatient", 6)
    modality = str(data.get("Modality") or "").upper() or ("CT" if str(data.get("SOPClassUID")) in _CT else "")
    return Slice(
        opener=opener,
        label=_safe(data, name, position),
        series=str(data.get("SeriesInstanceUID") or "").strip(),
        instance=str(data.get("SOPInstanceUID") or "").strip(),
        modality=modality,
        localizer=bool({"LOCALIZER", "SCOUT"} & set(kinds)),
        matrix=(int(data.get("Columns") or 0), int(data.get("Rows") or 0)),
        frames=int(_number(data, "NumberOfFrames") or 1),
        samples=int(data.get("SamplesPerPixel") or 1),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        position=position,
        cosines=None if cosines is None else cosines.reshape(2, 3),
        rescale=None if slope is None or intercept is None else (slope, intercept),
        pixels=pixels,
    )


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def _number(data: Any, key: str) -> float | None:
    numbers = _numbers(data, key, 1)
    return None if numbers is None else float(numbers[0])


def _numbers(data: Any, key: str, count: int) -> np.ndarray | None:
    try:
        numbers = np.array([float(v) for v in _several(data.get(key))])
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _safe(data: Any, name: str, position: np.ndarray | None) -> str:
    """The file's name, or its place where the name contains an identifier of the patient or of the study."""
    words = [w for key in _IDENTIFIERS for w in str(data.get(key) or "").replace("^", " ").split()]
    words += [str(data.get(key) or "") for key in _UIDS]
    leaks = any(len(word) > 2 and word.lower() in name.lower() for word in words)
    if not leaks:
        return name
    return UNNAMED if position is None else f"{UNNAMED} at z {position[2]:.3f}"


def decode(s: Slice) -> tuple[np.ndarray, float, float]:
    """Stored pixels (rows, columns) of one slice, with the slope and intercept still to be applied."""
    from pydicom import dcmread
    from pydicom.uid import ImplicitVRLittleEndian

    slope, intercept = s.rescale or (1.0, 0.0)
    with _quiet(), s.opener() as file:
        # as above: whatever pydicom raises on damaged bytes, the file is damaged
        try:
            data = dcmread(file, force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            packed = bool(data.file_meta.TransferSyntaxUID.is_compressed)
        except Exception as error:
            raise UserError(f"{s.label}: its file is cut short or damaged", fix="Copy the series again.") from error
        try:
            return np.asarray(data.pixel_array), slope, intercept
        except Exception as error:
            if not packed:
                raise UserError(f"{s.label}: {_shortfall(data)}", fix="Copy the series again.") from error
            return _decode_itk(s, data), 1.0, 0.0


def _shortfall(data: Any) -> str:
    """What is wrong with uncompressed pixels that can't be read, in numbers."""
    try:
        wanted = int(data.Rows) * int(data.Columns) * int(data.BitsAllocated) // 8
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
            with quiet():
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
