"""A DICOM series → one volume: which files belong, in which order, and whether they make a straight, whole stack.

Sorted by position along the slice normal; what would make a wrong volume (a gap, a tilt, two orientations, one position
twice) is refused with the reason. In: `Slice`s. Out: `Image` in HU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .dicom import Slice, decode
from .hounsfield import Faults, convert
from .image import Image
from .orientation import SHEAR, from_lps

# two positions this near are one; a gap may differ from the usual one by this share; slices may be shifted by this much
_SAME_MM, _STEP_SHARE, _SHIFT_MM = 0.01, 0.1, 1.0


def read(slices: Sequence[Slice]) -> Image:
    """The volume of one series; raises UserError saying what is wrong with it."""
    notes: list[str] = []
    slices = _images(slices, notes)
    slices = _one_stack(_once(slices, notes), notes)
    slices, step = _sorted(slices, notes)
    affine = _affine(slices, step)
    array, faults = _pixels(slices)
    trusted = all(s.rescale is not None for s in slices)
    if not trusted:
        notes.append("no RescaleSlope and RescaleIntercept: the stored values were taken as HU")
    if not slices[0].series:
        notes.append("its SeriesInstanceUID is blank: files were put together by folder and geometry")
    return Image(array, affine, trusted=trusted, notes=(*notes, *faults.notes()), kind="DICOM", stored="int16")


def _images(slices: Sequence[Slice], notes: list[str]) -> list[Slice]:
    """Only CT slices with pixels, without localizers."""
    modalities = sorted({s.modality or "unknown" for s in slices})
    if modalities != ["CT"]:
        raise UserError(f"its modality is {' and '.join(modalities)}, not CT", fix="Give a CT series.")
    kept = [s for s in slices if not s.localizer]
    if not kept:
        raise UserError("it is a localizer (scout), not a volume", fix="Give the CT series itself.")
    if dropped := len(slices) - len(kept):
        notes.append(f"{_files(dropped)} with a localizer {_was(dropped)} left out")
    if not any(s.pixels for s in kept):
        raise UserError("its files hold no pixels", fix="Export the images again.")
    if without := [s.label for s in kept if not s.pixels]:
        raise UserError(f"{_names(without)} without pixels", fix="Export the series again.")
    if colour := [s.label for s in kept if s.samples != 1]:
        raise UserError(f"{_names(colour)} in colour: a secondary capture, not a CT volume", fix="Give the CT series itself.")
    if any(s.frames > 1 for s in kept):
        raise UserError("it is a multi-frame object", fix="Convert it to NIfTI first, e.g. with dcm2niix.")
    return kept


def _files(n: int) -> str:
    return f"{n} file" if n == 1 else f"{n} files"


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _names(labels: Sequence[str]) -> str:
    return (
        f"{labels[0]} is"
        if len(labels) == 1
        else f"{len(labels)} files ({', '.join(labels[:3])}{', …' * (len(labels) > 3)}) are"
    )


def _once(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """Each SOP instance once: copies of a file in the tree are one slice."""
    seen: dict[str, Slice] = {}
    for i, s in enumerate(slices):
        seen.setdefault(s.instance or f"#{i}", s)
    if copies := len(slices) - len(seen):
        notes.append(f"{_files(copies)} repeating a slice's SOPInstanceUID {_was(copies)} left out")
    return list(seen.values())


def _one_stack(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """The slices of one matrix, spacing and orientation: the series', where a few others lie beside them."""
    if len(slices) == 1:
        raise UserError("it is one slice, not a volume", fix="Give the folder that holds the whole series.")
    if lost := [s.label for s in slices if s.position is None or s.cosines is None]:
        raise UserError(
            f"{_names(lost)} without ImagePositionPatient or ImageOrientationPatient, so the slices can't be placed",
            fix="Export the series again with its geometry.",
        )
    if lost := [s.label for s in slices if s.spacing is None or min(s.spacing) <= 0 or min(s.matrix) < 2]:
        raise UserError(f"{_names(lost)} without PixelSpacing or size", fix="Export the series again with its geometry.")
    stacks: list[list[Slice]] = []
    for s in slices:
        stack = next((stack for stack in stacks if _alike(stack[0], s)), None)
        stack.append(s) if stack is not None else stacks.append([s])
    stacks.sort(key=len, reverse=True)
    if len(stacks) > 1:
        _refuse_mixture(stacks)
        odd = sum(map(len, stacks[1:]))
        notes.append(f"{_files(odd)} of another matrix or orientation {_was(odd)} left out")
    return stacks[0]


def _alike(a: Slice, b: Slice) -> bool:
    assert a.spacing and b.spacing and a.cosines is not None and b.cosines is not None
    near = np.allclose(a.spacing, b.spacing, rtol=1e-3) and np.abs(a.cosines - b.cosines).max() < 0.002
    return a.matrix == b.matrix and bool(near)


def _refuse_mixture(stacks: list[list[Slice]]) -> None:
    """Raises UserError unless the largest stack is whole without the others, and they are only a few."""
    first, second = stacks[0], stacks[1]
    reason = _difference(first[0], second[0])
    others = [s.label for stack in stacks[1:] for s in stack]
    whole = len(first) >= 8 and len(others) * 4 <= len(first)
    try:
        _sorted(first, [])
    except UserError:
        whole = False
    if not whole:
        raise UserError(f"it mixes {reason}: {_names(others)} unlike the rest", fix="Give a folder with one stack of slices.")


def _difference(a: Slice, b: Slice) -> str:
    assert a.cosines is not None and b.cosines is not None
    if a.matrix != b.matrix:
        return f"matrices ({a.matrix[0]}×{a.matrix[1]} and {b.matrix[0]}×{b.matrix[1]})"
    return "pixel spacings" if np.abs(a.cosines - b.cosines).max() < 0.002 else "orientations"


def _normal(s: Slice) -> np.ndarray:
    assert s.cosines is not None
    row, column = s.cosines
    if abs(row @ column) > SHEAR or not np.allclose([row @ row, column @ column], 1, atol=0.01):
        raise UserError(
            f"{s.label}: its ImageOrientationPatient isn't two unit vectors at right angles", fix="Export it again."
        )
    normal = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def _sorted(slices: list[Slice], notes: list[str]) -> tuple[list[Slice], np.ndarray]:
    """The slices by position along the normal, duplicates dropped, and the mean step (mm, LPS) from one to the next."""
    normal = _normal(slices[0])
    slices = sorted(slices, key=lambda s: float(s.position @ normal))  # type: ignore[operator]
    if float((slices[-1].position - slices[0].position) @ normal) <= _SAME_MM:  # type: ignore[operator]
        raise UserError("all its slices lie at one position", fix="Export the series again with its geometry.")
    slices = _distinct(slices, normal, notes)
    places = np.array([s.position for s in slices])
    along = np.diff(places @ normal)
    usual = float(np.median(along))
    if wide := [i for i, gap in enumerate(along) if abs(gap - usual) > _STEP_SHARE * usual]:
        i = wide[0]
        raise UserError(
            f"slices are missing or unevenly spaced: a gap of {along[i]:.3f} mm at z {places[i : i + 2, 2].mean():.3f} "
            f"(after {slices[i].label}) among gaps of {usual:.3f} mm",
            fix="Export the series again, complete.",
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    aside = step - (step @ normal) * normal
    if np.linalg.norm(aside) > SHEAR * np.linalg.norm(step):
        angle = np.degrees(np.arcsin(np.linalg.norm(aside) / np.linalg.norm(step)))
        raise UserError(
            f"its slices are tilted by {angle:.1f}° against the direction in which they step (gantry tilt)",
            fix="Correct the tilt first, e.g. with dcm2niix and its tilt-corrected output.",
        )
    shift = places - (places[0] + np.outer(np.arange(len(places)), step))
    if (off := float(np.linalg.norm(shift, axis=1).max())) > max(_SHIFT_MM, _STEP_SHARE * usual):
        raise UserError(f"its slices are shifted against each other by up to {off:.1f} mm", fix="Export the series again.")
    return slices, step


def _distinct(slices: list[Slice], normal: np.ndarray, notes: list[str]) -> list[Slice]:
    """One slice a position: a second one of the same pixels is dropped, of other pixels refused."""
    kept = [slices[0]]
    dropped = 0
    for s in slices[1:]:
        before = kept[-1]
        if float((s.position - before.position) @ normal) > _SAME_MM:  # type: ignore[operator]
            kept.append(s)
        elif np.array_equal(decode(s)[0], decode(before)[0]):
            dropped += 1
        else:
            raise UserError(
                f"{before.label} and {s.label} lie at one position and differ: two images a place (phases, reconstructions?)",
                fix="Give a folder with one of them.",
            )
    if dropped:
        notes.append(f"{_files(dropped)} repeating a position with the same pixels {_was(dropped)} left out")
    return kept


def _affine(slices: list[Slice], step: np.ndarray) -> np.ndarray:
    first = slices[0]
    assert first.cosines is not None and first.spacing is not None
    affine = np.eye(4)
    affine[:3, 0] = first.cosines[0] * first.spacing[1]
    affine[:3, 1] = first.cosines[1] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return from_lps(affine)


def _pixels(slices: list[Slice]) -> tuple[np.ndarray, Faults]:
    """HU int16 (columns, rows, slices), each slice by its own rescale."""
    out = np.empty((*slices[0].matrix, len(slices)), dtype=np.int16, order="F")
    faults = Faults()
    for k, s in enumerate(slices):
        pixels, slope, intercept = decode(s)
        if pixels.shape != s.matrix[::-1]:
            raise UserError(
                f"{s.label}: its pixels are {pixels.shape}, its header says {s.matrix[::-1]}", fix="Export it again."
            )
        convert(pixels, slope, intercept, out[:, :, k].T, faults)
    return out, faults
