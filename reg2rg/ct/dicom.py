"""One DICOM file's header: the facts that reading needs. In: a binary file. Out: `Slice`; its pixels are `pixels`' matter.

Nothing that identifies a patient leaves this file: `Slice` has no field for it but the UIDs that group files and a digest that
tells two patients apart, and a file's name is said only where it is a plain counter. What makes a series a volume is in
`series`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from ..errors import UserError

# what tells apart two stacks that one SeriesInstanceUID holds: phases, repetitions, reconstructions
PARTS = ("AcquisitionNumber", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ConvolutionKernel", "KVP")
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "RescaleType", "LossyImageCompression",
    "InstanceNumber", "PatientID", "PatientName", "AccessionNumber", "PatientBirthDate", "StudyDate", "StudyID", *PARTS,
]  # fmt: skip
_IDENTIFIERS = ("PatientID", "PatientName", "AccessionNumber", "PatientBirthDate", "StudyDate", "StudyID")
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_DIRECTORY = "1.2.840.10008.1.3.10"
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# the SOP class says what an object is, whatever its Modality says
_CLASSES = {
    "CT": ("2", "2.1", "2.2"), "MR": ("4", "4.1", "4.3", "4.4"), "PT": ("128", "128.1", "130"), "NM": ("20",),
}  # fmt: skip
_KIND_OF = {f"1.2.840.10008.5.1.4.1.1.{end}": kind for kind, ends in _CLASSES.items() for end in ends}
# a damaged header may hold any text as modality: only these are repeated
_MODALITIES = {
    "CR", "CT", "DX", "MG", "MR", "NM", "PT", "US", "XA", "RF", "SC", "OT", "SR", "PR", "KO", "SEG", "REG", "RTDOSE",
    "RTSTRUCT", "RTPLAN", "RTIMAGE", "RTRECORD", "ECG", "ES", "XC", "GM", "SM", "OP", "IO", "PX", "DOC", "AU", "HD",
}  # fmt: skip
UNNAMED = "a slice"
# a name of these words and at most two short counters tells nothing of a patient; longer numbers may be dates or his record's
_WORDS = {
    "im", "img", "image", "ct", "i", "s", "sl", "slice", "ser", "series", "axial", "ax", "z", "dcm", "dicom", "ima", "file",
    "frame", "copy", "out", "export",
}  # fmt: skip

# gives a binary file, so that files on disk and members of a zip read alike
Opener = Callable[[], IO[bytes]]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The header facts of one DICOM file, or of one frame of it, that reading needs; `label` is a name safe to say.

    `patient` is a digest; `number` is the InstanceNumber; `parts` are the values of `PARTS`; `thickness` and `apart` are what
    the header says of the slices' thickness and distance in mm (0: nothing); `unit` is the RescaleType; `frame` counts from 0,
    None for a file of one image.
    """

    opener: Opener = dataclasses.field(repr=False)
    label: str
    series: str
    instance: str
    patient: str
    space: str
    modality: str
    localizer: bool
    capture: bool
    matrix: tuple[int, int]
    frames: int
    samples: int
    spacing: tuple[float, float] | None
    position: np.ndarray | None
    cosines: np.ndarray | None
    rescale: tuple[float, float] | None
    pixels: bool
    number: int | None = None
    parts: tuple[str, ...] = ("",) * len(PARTS)
    thickness: float = 0.0
    apart: float = 0.0
    unit: str = ""
    lossy: bool = False
    frame: int | None = None


def is_dicom(head: bytes) -> bool:
    """Whether a file begins like DICOM: the magic word, or (without preamble) a first element of group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00" and len(head) > 16


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
    with quiet(), contextlib.suppress(Exception):
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
    slope, intercept = number(data, "RescaleSlope"), number(data, "RescaleIntercept")
    kinds = [str(k).upper() for k in _several(data.get("ImageType"))]
    spacing, position = numbers(data, "PixelSpacing", 2), numbers(data, "ImagePositionPatient", 3)
    cosines = numbers(data, "ImageOrientationPatient", 6)
    return Slice(
        opener=opener,
        label=_safe(data, name, position),
        series=_text(data, "SeriesInstanceUID"),
        instance=_text(data, "SOPInstanceUID"),
        patient=hashlib.sha256(who.encode()).hexdigest() if (who := _text(data, "PatientID")) else "",
        space=_text(data, "FrameOfReferenceUID"),
        modality=_modality(data),
        localizer=bool({"LOCALIZER", "SCOUT"} & set(kinds)),
        capture=_text(data, "SOPClassUID").startswith(_CAPTURE),
        matrix=(int(data.get("Columns") or 0), int(data.get("Rows") or 0)),
        frames=int(number(data, "NumberOfFrames") or 1),
        samples=int(data.get("SamplesPerPixel") or 1),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        position=position,
        cosines=None if cosines is None else cosines.reshape(2, 3),
        rescale=None if slope is None or intercept is None else (slope, intercept),
        pixels=pixels,
        number=None if (counter := number(data, "InstanceNumber")) is None else int(counter),
        parts=tuple(_text(data, key) for key in PARTS),
        thickness=number(data, "SliceThickness") or 0.0,
        apart=number(data, "SpacingBetweenSlices") or 0.0,
        unit=_text(data, "RescaleType").upper(),
        lossy=_text(data, "LossyImageCompression") == "01",
    )


def _modality(data: Any) -> str:
    """What kind of object it is: by its SOP class where that says so, else by its Modality; "unknown" for no known one."""
    said = _text(data, "Modality").upper()
    by_class = _KIND_OF.get(_text(data, "SOPClassUID"), "")
    if by_class and (not said or (said == "CT" and by_class != "CT")):
        return by_class
    return said if said in _MODALITIES else "unknown"


def _text(data: Any, key: str) -> str:
    """An element's value as text; several values joined."""
    return "/".join(str(v).strip() for v in _several(data.get(key)))


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def number(data: Any, key: str) -> float | None:
    """An element's one finite number, or None."""
    found = numbers(data, key, 1)
    return None if found is None else float(found[0])


def numbers(data: Any, key: str, count: int) -> np.ndarray | None:
    """An element's `count` finite numbers, or None."""
    try:
        found = np.array([float(v) for v in _several(data.get(key))])
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def _safe(data: Any, name: str, position: np.ndarray | None) -> str:
    """The file's name where it is a plain counter without any of the header's identifiers, else the slice's place."""
    words = [_plain(w) for key in _IDENTIFIERS for w in _text(data, key).replace("^", " ").split()]
    leaks = any(len(word) > 2 and word in _plain(name) for word in words)
    leaks |= any(uid and uid in name for uid in (_text(data, key) for key in _UIDS))
    if not leaks and _is_counter(name):
        return name
    return UNNAMED if position is None else f"{UNNAMED} at z {position[2]:.3f}"


def _is_counter(name: str) -> bool:
    counters = [n.lstrip("0") for n in re.findall(r"\d+", name)]
    words = re.findall(r"[^\W\d_]+", name.lower())
    return len(counters) <= 2 and all(len(n) <= 4 for n in counters) and _WORDS.issuperset(words)


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
