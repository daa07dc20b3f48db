"""Which files of a DICOM series are the slices of its volume, and what must not lie among them.

In: all `Slice`s of one SeriesInstanceUID. Out: those that can be stacked, with notes on what was left out. Objects of another
kind (reports, localizers, captures) are left out; two patients, colour or another modality are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import UserError
from .dicom import Slice
from .multiframe import expand


def images(slices: Sequence[Slice], notes: list[str]) -> list[Slice]:
    """The CT slices with pixels, each once, multi-frame files as their frames."""
    kept = _of_ct(slices, notes)
    kept = _without(kept, lambda s: s.localizer, "with a localizer", notes)
    if not kept:
        raise UserError("it is a localizer (scout), not a volume", fix="Give the CT series itself.")
    if rest := [s for s in kept if not _loose_capture(s)]:
        kept = _without(kept, _loose_capture, "with a secondary capture", notes) if len(rest) < len(kept) else kept
    if not any(s.pixels for s in kept):
        raise UserError("its files hold no pixels", fix="Export the images again.")
    if without := [s.label for s in kept if not s.pixels]:
        raise UserError(f"{names(without)} without pixels", fix="Export the series again.")
    if colour := [s.label for s in kept if s.samples != 1]:
        raise UserError(f"{names(colour)} in colour: a secondary capture, not a CT volume", fix="Give the CT series itself.")
    _refuse_strangers(kept)
    return _once(expand(kept), notes)


def _of_ct(slices: Sequence[Slice], notes: list[str]) -> list[Slice]:
    """Without reports, presentation states and the like; raises UserError where an image is no CT."""
    pictures = [s for s in slices if s.pixels or s.modality == "CT"]
    modalities = sorted({s.modality or "unknown" for s in pictures or slices})
    if modalities != ["CT"]:
        raise UserError(f"its modality is {' and '.join(modalities)}, not CT", fix="Give a CT series.")
    if other := len(slices) - len(pictures):
        notes.append(f"{files(other)} without an image {was(other)} left out")
    return pictures


def _without(slices: list[Slice], test: Callable[[Slice], bool], what: str, notes: list[str]) -> list[Slice]:
    kept = [s for s in slices if not test(s)]
    if dropped := len(slices) - len(kept):
        notes.append(f"{files(dropped)} {what} {was(dropped)} left out")
    return kept


def _loose_capture(s: Slice) -> bool:
    """A screenshot: some systems write whole CTs as captures, but those have a place."""
    return s.capture and (s.position is None or s.samples != 1)


def _refuse_strangers(slices: Sequence[Slice]) -> None:
    """Raises UserError where files of one series say that they don't belong together."""
    if len({s.patient for s in slices if s.patient}) > 1:
        raise UserError("its files belong to different patients (PatientID)", fix="Export each patient's series again.")
    bare = [s.label for s in slices if s.rescale is None]
    if bare and any(s.rescale not in (None, (1.0, 0.0)) for s in slices):
        raise UserError(f"{names(bare)} without a rescale that the others have", fix="Export the series again.")
    if len({s.space for s in slices if s.space}) > 1:
        raise UserError(
            "its slices lie in different frames of reference, so their positions can't be compared",
            fix="Export the series again, or give a folder with one part of it.",
        )
    if odd := {s.unit for s in slices if s.unit and not s.unit.startswith("HU") and s.unit != "US"}:
        known = sorted(odd & {"OD", "Z_EFF", "ED", "EDW", "MGML", "PCT", "CPS", "NONE"})
        unit = f" ({' and '.join(known)})" if known else ""
        raise UserError(f"its pixels are rescaled to another unit than HU{unit}", fix="Give the series in HU.")


def _once(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """Each SOP instance once: copies of a file in the tree are one slice."""
    seen: dict[str, Slice] = {}
    for i, s in enumerate(slices):
        seen.setdefault(s.instance or f"#{i}", s)
    if copies := len(slices) - len(seen):
        notes.append(f"{files(copies)} repeating a slice's SOPInstanceUID {was(copies)} left out")
    return list(seen.values())


def files(n: int) -> str:
    """ "1 file", "2 files"."""
    return f"{n} file" if n == 1 else f"{n} files"


def was(n: int) -> str:
    """The verb to a number of files."""
    return "was" if n == 1 else "were"


def names(labels: Sequence[str]) -> str:
    """A few files by their labels, and the verb."""
    if len(labels) == 1:
        return f"{labels[0]} is"
    return f"{len(labels)} files ({', '.join(labels[:3])}{', …' * (len(labels) > 3)}) are"
