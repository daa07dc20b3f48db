"""An enhanced (multi-frame) CT object → one `Slice` a frame, by its functional groups (DICOM PS3.3, C.7.6.16).

What every frame shares stands once, what differs stands with the frame; the frame's own word wins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from .dicom import Slice, number, numbers, quiet

MOST_FRAMES = 20_000


def expand(slices: Sequence[Slice]) -> list[Slice]:
    """The same slices, multi-frame files replaced by their frames. Raises UserError where the frames can't be placed."""
    return [frame for s in slices for frame in (_frames(s) if s.frames > 1 else [s])]


def _frames(s: Slice) -> list[Slice]:
    if s.frames > MOST_FRAMES:
        raise UserError(f"it says that it holds {s.frames} frames, which no CT does", fix="Export the series again.")
    shared, single = _groups(s)
    if len(single) != s.frames:
        raise UserError(
            "it is a multi-frame object without a place for each frame",
            fix="Export it as a classic CT series, or convert it to NIfTI, e.g. with dcm2niix.",
        )
    return [_frame(s, i, own, shared) for i, own in enumerate(single)]


def _groups(s: Slice) -> tuple[Any, list[Any]]:
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    names = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
    with quiet(), s.opener() as file:
        # as in `dicom`: whatever pydicom raises on damaged bytes, the file is damaged
        try:
            data = dcmread(file, stop_before_pixels=True, force=True, specific_tags=names)
            shared, single = (list(data.get(name) or []) for name in names)
        except Exception as error:
            raise UserError("a DICOM file's header is damaged", fix="Copy the series again.") from error
    return shared[0] if shared else Dataset(), single


def _frame(s: Slice, index: int, own: Any, shared: Any) -> Slice:
    measures, plane = _group(own, shared, "PixelMeasuresSequence"), _group(own, shared, "PlaneOrientationSequence")
    place, content = _group(own, shared, "PlanePositionSequence"), _group(own, shared, "FrameContentSequence")
    rescale = _group(own, shared, "PixelValueTransformationSequence")
    spacing, cosines = numbers(measures, "PixelSpacing", 2), numbers(plane, "ImageOrientationPatient", 6)
    slope, intercept = number(rescale, "RescaleSlope"), number(rescale, "RescaleIntercept")
    position = numbers(place, "ImagePositionPatient", 3)
    parts = list(s.parts)
    parts[0] = str(content.get("FrameAcquisitionNumber") or parts[0])
    parts[1] = str(content.get("TemporalPositionIndex") or parts[1])
    return dataclasses.replace(
        s,
        label=f"frame {index + 1}",
        instance=f"{s.instance}#{index}",
        frames=1,
        frame=index,
        number=None,
        spacing=s.spacing if spacing is None else (float(spacing[0]), float(spacing[1])),
        position=s.position if position is None else np.asarray(position),
        cosines=s.cosines if cosines is None else cosines.reshape(2, 3),
        rescale=s.rescale if slope is None or intercept is None else (slope, intercept),
        thickness=number(measures, "SliceThickness") or s.thickness,
        apart=number(measures, "SpacingBetweenSlices") or s.apart,
        unit=str(rescale.get("RescaleType") or s.unit).upper(),
        parts=tuple(parts),
    )


def _group(own: Any, shared: Any, name: str) -> Any:
    """The one item of a functional group: the frame's, else the shared one, else an empty one."""
    from pydicom.dataset import Dataset

    found = own.get(name) or shared.get(name)
    return found[0] if found else Dataset()
