"""Where voxels lie: axis codes, turning to RAS+, and what an affine must be to be believed.

World coordinates are RAS millimetres (nibabel's); DICOM and ITK speak LPS, `from_lps` turns those.
"""

from __future__ import annotations

import numpy as np

from ..errors import UserError

# cosine between two voxel axes from which an affine counts as sheared: 0.3°, 1.5 mm over a 300 mm chest
SHEAR = 0.005
LEAST_VOXEL_MM, LARGEST_VOXEL_MM = 0.05, 30.0


def codes(affine: np.ndarray) -> str:
    """The direction in which each index grows, e.g. "LPS"."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    nearest = np.abs(matrix).argmax(axis=0)
    return "".join("LPI"[row] if matrix[row, column] < 0 else "RAS"[row] for column, row in enumerate(nearest))


def obliqueness(affine: np.ndarray) -> float:
    """The largest angle in degrees between a voxel axis and the nearest axis of the world."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    nearest = (np.abs(matrix) / np.linalg.norm(matrix, axis=0)).max(axis=0).min()
    return float(np.degrees(np.arccos(min(nearest, 1.0))))


def from_lps(affine: np.ndarray) -> np.ndarray:
    """A voxel → LPS mm matrix as voxel → RAS mm."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (i, j, k, …) so that the indices grow to R, A, S; a view, nothing is resampled.

    An oblique scan keeps its rotation: only axes are swapped and flipped.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    affine = np.asarray(affine, dtype=np.float64)
    turn = io_orientation(affine)
    if np.isnan(turn).any():
        raise UserError("an axis of the affine has no direction", fix="Write a valid affine into the header.")
    if (turn == [[0, 1], [1, 1], [2, 1]]).all():
        return array, affine
    return apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape[:3])


def check_affine(affine: np.ndarray) -> None:
    """Raises UserError where the affine isn't finite, is sheared, turned past telling, or gives voxels that no CT has."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    if not np.isfinite(affine).all():
        raise UserError("its affine holds NaN or infinite numbers", fix="Write a valid affine into the header.")
    spacing = np.linalg.norm(matrix, axis=0)
    size = "×".join(f"{s:.4g}" for s in spacing)
    if spacing.min() < LEAST_VOXEL_MM or spacing.max() > LARGEST_VOXEL_MM:
        raise UserError(f"its voxels measure {size} mm, which no CT has", fix="Put the spacing right in the header.")
    cosines = matrix / spacing
    shear = np.abs(cosines.T @ cosines - np.eye(3)).max()
    if shear > SHEAR:
        angle = np.degrees(np.arcsin(min(shear, 1.0)))
        raise UserError(
            f"its axes aren't at right angles (sheared by {angle:.1f}°, as by an uncorrected gantry tilt)",
            fix="Resample it to a straight grid first.",
        )
    if len(set(np.abs(cosines).argmax(axis=0))) < 3:
        raise UserError(
            "it is turned so far that its axes can't be told right, front and head", fix="Resample it to straight axes first."
        )
