"""A DICOM series → one volume: which files belong, in which order, and whether they make a straight, whole stack.

Sorted by position along the slice normal; what would make a wrong volume (a gap, a tilt, two orientations, one position
twice) is refused with the reason. In: `Slice`s. Out: `Image` in HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..errors import UserError
from .dicom import PARTS, Slice
from .hounsfield import AIR, Faults, check_rescale, convert
from .image import Image, check_count
from .members import files, images, names, was
from .orientation import SHEAR, from_lps
from .pixels import decode, forget

# two positions this near are one; a gap may differ from the usual one by this share; slices may be shifted by this much;
# a step this many times what the header says of it is worth a word
_SAME_MM, _STEP_SHARE, _SHIFT_MM, _WIDE = 0.01, 0.1, 1.0, 1.5


def read(slices: Sequence[Slice]) -> Image:
    """The volume of one series; raises UserError saying what is wrong with it."""
    notes: list[str] = []
    slices = _one_stack(images(slices, notes), notes)
    slices, step = _sorted(slices, notes)
    _refuse_interleaved(slices)
    notes += _regular_gaps(slices, float(np.linalg.norm(step)))
    affine = _affine(slices, step)
    array, faults = _pixels(slices)
    trusted = all(s.rescale is not None and s.unit != "US" for s in slices)
    if any(s.rescale is None for s in slices):
        notes.append("no RescaleSlope and RescaleIntercept: the stored values were taken as HU")
    if not slices[0].series:
        notes.append("its SeriesInstanceUID is blank: files were put together by folder and geometry")
    if any(s.lossy for s in slices):
        notes.append("its pixels were compressed with losses")
    return Image(array, affine, trusted=trusted, notes=(*notes, *faults.notes()), kind="DICOM", stored="int16")


def _one_stack(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """The slices of one matrix, spacing and orientation: the series', where a few others lie beside them."""
    if len(slices) == 1:
        raise UserError("it is one slice, not a volume", fix="Give the folder that holds the whole series.")
    if lost := [s.label for s in slices if s.position is None or s.cosines is None]:
        raise UserError(
            f"{names(lost)} without ImagePositionPatient or ImageOrientationPatient, so the slices can't be placed",
            fix="Export the series again with its geometry.",
        )
    if lost := [s.label for s in slices if s.spacing is None or min(s.spacing) <= 0 or min(s.matrix) < 2]:
        raise UserError(f"{names(lost)} without PixelSpacing or size", fix="Export the series again with its geometry.")
    stacks: list[list[Slice]] = []
    for s in slices:
        stack = next((stack for stack in stacks if _alike(stack[0], s)), None)
        stack.append(s) if stack is not None else stacks.append([s])
    stacks.sort(key=len, reverse=True)
    if len(stacks) > 1:
        _refuse_mixture(stacks)
        odd = sum(map(len, stacks[1:]))
        notes.append(f"{files(odd)} of another matrix or orientation {was(odd)} left out")
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
        raise UserError(f"it mixes {reason}: {names(others)} unlike the rest", fix="Give a folder with one stack of slices.")


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
        elif np.array_equal(decode(s).values, decode(before).values):
            dropped += 1
        else:
            told = [name for name, a, b in zip(PARTS, before.parts, s.parts, strict=True) if a != b]
            why = f"told apart by {' and '.join(told)}" if told else "phases, reconstructions?"
            raise UserError(
                f"{before.label} and {s.label} lie at one position and differ: two images a place ({why})",
                fix="Give a folder with one of them.",
            )
    if dropped:
        notes.append(f"{files(dropped)} repeating a position with the same pixels {was(dropped)} left out")
    return kept


def _refuse_interleaved(slices: list[Slice]) -> None:
    """Raises UserError where slices of two stacks alternate at positions of their own, as if they were one finer stack.

    Several parts one after the other are one volume, and so are slices that are all parts of their own.
    """
    for name, values in zip(PARTS, zip(*(s.parts for s in slices), strict=True), strict=True):
        kinds = len(set(values))
        runs = 1 + sum(a != b for a, b in pairwise(values))
        if kinds * 2 <= len(values) < runs * 2:
            raise UserError(
                f"slices of {kinds} stacks alternate in it (told apart by {name})", fix="Give a folder with one of them."
            )


def _regular_gaps(slices: list[Slice], step: float) -> list[str]:
    """A note where the slices lie further apart than their header says, or skip numbers: every second one may be missing."""
    apart, thickness = slices[0].apart, slices[0].thickness
    if apart > 0 and step > _WIDE * apart:
        return [f"its slices lie {step:.4g} mm apart, its SpacingBetweenSlices says {apart:.4g} mm: some may be missing"]
    if thickness > 0 and step > _WIDE * thickness:
        return [f"its slices lie {step:.4g} mm apart and are {thickness:.4g} mm thick: there are gaps, or some are missing"]
    counted = {abs(b.number - a.number) for a, b in pairwise(slices) if a.number is not None and b.number is not None}
    if len(counted) == 1 and (by := counted.pop()) > 1:
        return [f"its slices are numbered in steps of {by}: others of the series may be missing"]
    return []


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
    check_count((*slices[0].matrix, len(slices)))
    out = np.empty((*slices[0].matrix, len(slices)), dtype=np.int16, order="F")
    faults = Faults()
    for k, s in enumerate(slices):
        pixels = decode(s)
        if pixels.values.shape != s.matrix[::-1]:
            raise UserError(
                f"{s.label}: its pixels are {pixels.values.shape}, its header says {s.matrix[::-1]}", fix="Export it again."
            )
        check_rescale(pixels.slope, pixels.intercept)
        plane = out[:, :, k].T
        convert(pixels.values, pixels.slope, pixels.intercept, plane, faults)
        if pixels.padding is not None:
            faults.padding += int((pixels.padding & (plane > AIR)).sum())
            plane[pixels.padding & (plane > AIR)] = AIR
    forget()
    return out, faults
