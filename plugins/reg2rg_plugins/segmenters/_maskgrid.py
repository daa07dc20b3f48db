"""Where a mask's grid lies against the scan's: the same, another one of the same world, or nothing that overlays it.

- **The same**: turned to RAS+, shape and corners agree (to 0.01 mm). The mask is read as it is.
- **Refused as shifted**: shape and voxel size agree, the place doesn't. By index and by world it would say two things.
- **Another grid**: everything else that has a place in the world. The mask is resampled, nearest neighbour by world (half way
  between two voxels the later one as stored), and a remark says so. It is refused where it lies beside the scan, where it is
  cut off at its own grid's border while the scan goes on there, and where less than half of the masks' volume lies in the scan.

Grids made by resampling may end before the scan does: by less than one of their voxels, since their number is rounded down, and
by half the difference in voxel size, where the first voxels' centres were laid on each other. That isn't called cut off.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from reg2rg.contracts import Volume
from reg2rg.errors import UserError

OFF_MM = 1e-2  # so far a corner may lie from the volume's
ROUNDED = 0.999  # so many of its own voxels a grid may lack by rounding
TIE = 1e-4  # of a voxel: header rounding mustn't decide between two neighbours
SLAB = 1 << 20  # voxels resampled at once
MEND = "Resample the masks to the CT's grid, or give the CT that they were drawn on."
_CUT = "Save it on a grid that covers the scan, or one that ends after the mask does."


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A stored grid (i, j, k) against a volume's.

    `turn`: how the stored array is turned to the volume's grid, as nibabel says it, or None where the grids differ; `index`:
    4×4, the volume's voxel → the stored one's; `shape` as stored, `spacing` in mm, `volume_shape` (X, Y, Z).
    """

    turn: np.ndarray | None
    index: np.ndarray
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    volume_shape: tuple[int, int, int]

    def says(self) -> str:
        """The grid in words."""
        return f"{size(self.shape)} voxels of {size(f'{s:.3g}' for s in self.spacing)} mm"

    def open_faces(self) -> list[tuple[int, bool, float]]:
        """The faces (axis, whether the far one, mm of scan beyond) behind which the scan goes on for more than rounding."""
        low, high = self._reach()
        allowed = ROUNDED + np.abs(1 - np.abs(self.index[:3, :3]).sum(axis=1)) / 2
        gaps = [(axis, far, gap) for axis in range(3) for far, gap in enumerate((-low[axis], high[axis] - self.shape[axis]))]
        return [(axis, bool(far), float(gap * self.spacing[axis])) for axis, far, gap in gaps if gap > allowed[axis]]

    def beside(self) -> bool:
        """Whether no part of it lies in the scan."""
        low, high = self._reach()
        return bool((high <= 0).any() or (low >= self.shape).any())

    def _reach(self) -> tuple[np.ndarray, np.ndarray]:
        """How far the scan's box reaches along each axis of this grid, in its voxels from its outer face."""
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=float)
        corners[:, :3] = corners[:, :3] * self.volume_shape - 0.5
        reach = (self.index @ corners.T)[:3] + 0.5
        return reach.min(axis=1), reach.max(axis=1)


def place(shape: tuple[int, ...], affine: np.ndarray, volume: Volume, path: Path) -> Place:
    """Where a stored grid lies. Raises UserError where its header doesn't say, or where it doesn't overlay the volume."""
    import nibabel as nib

    placed = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9
    turn = nib.orientations.io_orientation(affine) if placed else np.full((3, 2), np.nan)
    if np.isnan(turn).any():
        raise UserError("its header has no place in the world (no affine)", path, MEND)
    turned = tuple(shape[int(axis)] for axis in np.argsort(turn[:, 0]))
    same = _same_grid(path, turned, affine @ nib.orientations.inv_ornt_aff(turn, shape), volume)
    spacing = tuple(float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0))
    found = Place(turn if same else None, np.linalg.inv(affine) @ volume.affine, shape, spacing, volume.shape)  # type: ignore[arg-type]
    if not same and found.beside():
        raise UserError(f"its grid ({found.says()}) lies beside the scan and doesn't overlay it", path, MEND)
    return found


def _same_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray, volume: Volume) -> bool:
    """Whether a grid in RAS+ is the volume's; raises UserError where it would be, but lies in another place."""
    if shape != volume.shape:
        return False
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in shape), 1]
    off = ((affine - volume.affine) @ corners.T)[:3]
    worst = float(np.linalg.norm(off, axis=0).max())
    if worst <= OFF_MM:
        return True
    if (np.abs(np.linalg.norm(affine[:3, :3], axis=0) - volume.spacing) * shape).max() > OFF_MM:
        return False
    shift = ", ".join(f"{a} {mm:+.1f}" for a, mm in zip("RAS", off[:, 0], strict=True))
    raise UserError(
        f"it lies {worst:.2f} mm off the volume's grid ({shift} mm at the first voxel) though its shape is the same",
        path,
        MEND,
    )


def size(shape: object) -> str:
    """A shape or a spacing in words: 64×64×24."""
    return "×".join(map(str, shape))  # type: ignore[call-overload]


def resample(stored: np.ndarray, where: Place, table: np.ndarray, bits: np.ndarray, path: Path) -> tuple[int, int]:
    """Sets `table[value]` of the nearest stored value in `bits` (X, Y, Z), a few slices at a time.

    `stored`: whole numbers from 0 below `table`'s length, on the grid `where`. Returns how many stored voxels the table names,
    and how many of those lie in the volume. Raises UserError where they are cut off at the grid's border inside the scan.
    """
    for axis, far, mm in where.open_faces():
        if table[stored.take(-1 if far else 0, axis=axis)].any():
            raise UserError(
                f"it is cut off at the border of its own grid ({where.says()}), and the scan goes on for {mm:.1f} mm there",
                path,
                _CUT,
            )
    named, box = _extent(stored, table)
    if box is None:
        return 0, 0
    reach, inside = _reached(box, where)
    straight = _is_straight(where.index, where.volume_shape)
    x, y, z = (range(*r.indices(n)) for r, n in zip(reach, where.volume_shape, strict=True))
    step = max(1, SLAB // max(1, len(x) * len(y)))
    for start in range(z.start, z.stop, step):
        (_straight if straight else _oblique)(stored, where, table, bits, (x, y, z[start - z.start :][:step]))
    return named, named if inside else _count_inside(stored, where, table, box)


def _extent(stored: np.ndarray, table: np.ndarray) -> tuple[int, tuple[slice, slice, slice] | None]:
    """How many stored voxels the table names, and their bounding box."""
    named, hits = 0, [np.zeros(n, dtype=bool) for n in stored.shape]
    step = max(1, SLAB // int(np.prod(stored.shape[:2])))
    for start in range(0, stored.shape[2], step):
        found = table[stored[..., start : start + step]] != 0
        if count := int(np.count_nonzero(found)):
            named += count
            plane = found.any(axis=2)
            hits[0] |= plane.any(axis=1)
            hits[1] |= plane.any(axis=0)
            hits[2][start : start + step] |= found.any(axis=(0, 1))
    i, j, k = (np.flatnonzero(hit) for hit in hits)
    return named, (slice(i[0], i[-1] + 1), slice(j[0], j[-1] + 1), slice(k[0], k[-1] + 1)) if named else None


def _reached(box: tuple[slice, ...], where: Place) -> tuple[list[slice], bool]:
    """The volume's voxels that a stored box can reach, and whether its voxels' centres all lie in the volume."""
    back, corners = np.linalg.inv(where.index), np.array(list(np.ndindex(2, 2, 2)), dtype=float)
    ends = np.array([[b.start, b.stop - 1] for b in box], dtype=float)
    centres = back[:3, :3] @ (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * corners.T) + back[:3, 3:]
    around = np.abs(back[:3, :3]).sum(axis=1) / 2 + 1  # half a stored voxel, and rounding
    low, high = np.floor(centres.min(axis=1) - around), np.ceil(centres.max(axis=1) + around)
    edge = np.array(where.volume_shape) - 0.5
    inside = bool((centres.min(axis=1) > -0.5).all() and (centres.max(axis=1) < edge).all())
    return [slice(max(int(a), 0), max(int(b) + 1, 0)) for a, b in zip(low, high, strict=True)], inside


def _nearest(place: np.ndarray) -> np.ndarray:
    return np.floor(place + (0.5 + TIE)).astype(np.intp)


def _is_straight(index: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether each axis of the other grid follows one axis of this, within a hundredth of a voxel."""
    reach = np.abs(index[:3, :3]) * shape
    main = reach.argmax(axis=1)
    return bool(sorted(main) == [0, 1, 2] and (reach.sum(axis=1) - reach.max(axis=1)).max() < 0.01)


def _straight(stored: np.ndarray, where: Place, table: np.ndarray, bits: np.ndarray, part: tuple[range, ...]) -> None:
    """Nearest values for a part of the volume where axes run along axes: one index list an axis."""
    order = np.abs(where.index[:3, :3]).argmax(axis=0)  # the stored axis that follows x, y, z
    lines, to = [], []
    for axis, (a, here) in enumerate(zip(order, part, strict=True)):
        line = _nearest(where.index[a, axis] * np.arange(here.start, here.stop) + where.index[a, 3])
        kept = np.flatnonzero((line >= 0) & (line < where.shape[a]))
        if not kept.size:
            return
        lines.append(line[kept])
        to.append(slice(here.start + kept[0], here.start + kept[-1] + 1))
    found = stored.transpose(order).T[lines[2]][:, lines[1]][:, :, lines[0]]  # z first: files hold x next to x
    target = bits[tuple(to)].T
    target |= table[found]


def _oblique(stored: np.ndarray, where: Place, table: np.ndarray, bits: np.ndarray, part: tuple[range, ...]) -> None:
    """The same between grids that are turned against each other."""
    slices = tuple(slice(r.start, r.stop) for r in part)
    x, y, z = np.ogrid[slices]
    index = where.index
    at = [_nearest(index[a, 0] * x + index[a, 1] * y + index[a, 2] * z + index[a, 3]) for a in range(3)]
    inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(at, where.shape, strict=True)])
    bits[slices][inside] |= table[stored[at[0][inside], at[1][inside], at[2][inside]]]


def _count_inside(stored: np.ndarray, where: Place, table: np.ndarray, box: tuple[slice, ...]) -> int:
    """How many of the stored voxels that the table names have their centre in the volume."""
    back, inside = np.linalg.inv(where.index), 0
    edge = np.array(where.volume_shape, dtype=float).reshape(3, 1) - 0.5 + TIE
    for k in range(box[2].start, box[2].stop):
        i, j = np.nonzero(table[stored[..., k]])
        at = back[:3, :3] @ np.array([i, j, np.full_like(i, k)], dtype=float) + back[:3, 3:]
        inside += int(((at > -0.5 - TIE) & (at < edge)).all(axis=0).sum())
    return inside
