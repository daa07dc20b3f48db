"""What a table beside a data set says of a volume: its rescale and spacing, where the file's own header is known to be wrong.

CT-RATE's first release stores raw numbers under a header that says slope 1 and intercept 0, its re-release stores HU; both go
by the same names and the same table. So the rescale is never taken on trust: the values decide whether it is still to be
applied, once. In: an `Image` and its `Facts`. Out: the `Image` put right, with a note of what was done.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import UserError
from .image import Image
from .orientation import LARGEST_VOXEL_MM, LEAST_VOXEL_MM

# where soft tissue, and air and lung, lie in HU; the rarer of both tells how well numbers fit
_TISSUE, _AIR = (-200, 200), (-1100, -700)
# a reading fits from this share on, and is believed where it fits this many times better than the other
_LEAST_FIT, _CLEARLY = 0.02, 3.0
_SAME = 0.01
_SAMPLE = 1 << 18


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """A table's row: HU = `slope`·stored + `intercept`; `spacing` in mm along x (sideways), y (to the front), z (to the head).

    `shape` is (columns, rows, slices) where the table has it; `notes` are sentences on the row itself.
    """

    slope: float | None = None
    intercept: float | None = None
    spacing: tuple[float, float, float] | None = None
    shape: tuple[int, int, int] | None = None
    notes: tuple[str, ...] = ()


def apply(image: Image, facts: Facts | None) -> Image:
    """The image with the table's rescale and spacing where they are needed.

    Raises UserError where the values don't tell whether the rescale was applied already.
    """
    if facts is None:
        return image
    image = dataclasses.replace(image, notes=(*image.notes, *facts.notes))
    return _spaced(_rescaled(image, facts), facts)


def _rescaled(image: Image, facts: Facts) -> Image:
    if facts.slope is None or facts.intercept is None:
        return image
    said = f"slope {facts.slope:g}, intercept {facts.intercept:g}"
    if (facts.slope, facts.intercept) == (image.slope, image.intercept):
        return image
    sample = _sample(image.array)
    as_stored = _fit(sample * image.slope + image.intercept)
    rescaled = _fit(sample * facts.slope + facts.intercept)
    if rescaled >= _LEAST_FIT and rescaled > _CLEARLY * as_stored:
        note = f"its values are raw: the metadata table's rescale ({said}) was applied"
        return dataclasses.replace(image, slope=facts.slope, intercept=facts.intercept, notes=(*image.notes, note))
    if as_stored >= _LEAST_FIT and as_stored > _CLEARLY * rescaled:
        note = f"its values are HU already: the metadata table's rescale ({said}) was not applied again"
        return dataclasses.replace(image, notes=(*image.notes, note))
    if max(as_stored, rescaled) >= _LEAST_FIT:
        raise UserError(
            f"its values don't tell whether the metadata table's rescale ({said}) was applied already",
            fix="Write the rescale into the file's header, or take its row out of the table.",
        )
    # neither fits: not a chest, or no CT; the check of HU says so
    return image


def _sample(array: np.ndarray) -> np.ndarray:
    flat = array.ravel(order="K")
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    if sample.dtype.kind not in "iuf":
        return np.zeros(1)
    return sample[np.isfinite(sample)].astype(np.float64)


def _fit(hu: np.ndarray) -> float:
    """How well numbers look like a chest's HU: the smaller of the shares of soft tissue and of air and lung."""
    if not hu.size:
        return 0.0
    shares = [float(((hu >= low) & (hu <= high)).mean()) for low, high in (_TISSUE, _AIR)]
    return min(shares)


def _spaced(image: Image, facts: Facts) -> Image:
    """The affine's columns scaled to the table's spacing where they differ; directions and first voxel stay."""
    matrix = image.affine[:3, :3]
    if facts.spacing is None or not plausible(facts.spacing) or image.array.ndim < 3 or not np.isfinite(matrix).all():
        return image
    axes = np.abs(matrix).argmax(axis=0)
    header = np.linalg.norm(matrix, axis=0)
    if sorted(axes) != [0, 1, 2] or header.min() <= 0:
        return image
    wanted = np.asarray(facts.spacing)[axes]
    if (np.abs(header - wanted) <= _SAME * wanted).all():
        return image
    said = "×".join(f"{w:.4g}" for w in facts.spacing)
    if facts.shape is not None and sorted(facts.shape) != sorted(image.array.shape[:3]):
        note = f"the metadata table describes another grid ({said} mm): the header's spacing was kept (a resampled copy?)"
        return dataclasses.replace(image, notes=(*image.notes, note))
    affine = image.affine.copy()
    affine[:3, :3] *= wanted / header
    was = "×".join(f"{h:.4g}" for h in header[np.argsort(axes)])
    note = f"its header says {was} mm, the metadata table {said} mm (x, y, z): the table was used"
    return dataclasses.replace(image, affine=affine, notes=(*image.notes, note))


def plausible(spacing: tuple[float, float, float]) -> bool:
    """Whether a CT can have this spacing."""
    return all(LEAST_VOXEL_MM <= s <= LARGEST_VOXEL_MM for s in spacing)
