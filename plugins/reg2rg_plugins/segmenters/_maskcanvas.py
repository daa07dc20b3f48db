"""The bits of one study in the making: masks and label maps are laid on it one after another, with remarks.

In: files on any grid that overlays the scan (see `_maskgrid`). Out: uint16 (X, Y, Z), and how far the files can tell the scan.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reg2rg.contracts import Volume
from reg2rg.errors import UserError

from ._maskfile import Stored, as_binary, is_nifti, label_counts, read_stored
from ._maskgrid import MEND, SLAB, Place, place, resample
from ._maskslabs import Unusual, add_slabs, no_bits
from ._total_classes import word

MOST = 0.5  # of what masks on other grids hold lies in the scan, or they belong to another one


class Canvas:
    """`bits` uint16 (X, Y, Z) on the grid of `volume`, `notes` in sentences."""

    def __init__(self, volume: Volume) -> None:
        self.volume, self.bits, self.notes = volume, no_bits(volume.hu), list[str]()
        self._others: dict[str, list[str]] = {}
        self._ml = np.zeros(2)  # of masks on other grids: in all, and within the scan

    def add_mask(self, path: Path, word: int) -> bool:
        """Sets the bits `word` where one structure's mask lies; returns whether it tells the whole scan.

        It doesn't where it is empty and its grid leaves out a part of the scan. Raises UserError where it can't be read, isn't
        one structure's mask or doesn't overlay the scan.
        """
        if is_nifti(path):
            with contextlib.suppress(Unusual):
                add_slabs(path, self.volume, self.bits, np.uint16(word))
                return True
        stored = read_stored(path)
        where = self._place(stored, path)
        inside, said = as_binary(stored.array if where.turn is None else _turned(stored, where), path)
        self.notes += [said] if said else []
        if where.turn is None:
            return self._resample(inside.view(np.uint8), where, np.array([0, word], dtype=np.uint16), path)
        np.bitwise_or(self.bits, np.uint16(word), out=self.bits, where=inside)
        return True

    def add_labels(self, stored: Stored, table: np.ndarray, path: Path) -> bool:
        """Sets the bits `table[label]` (uint16) of a label map; returns whether its grid covers the scan.

        `stored` holds whole numbers from 0 below the table's length.
        """
        where = self._place(stored, path)
        if where.turn is None:
            self._resample(stored.array, where, table, path)
            return not where.open_faces()
        labels = _turned(stored, where)
        step = max(1, SLAB // int(np.prod(labels.shape[:2])))
        for start in range(0, labels.shape[2], step):
            self.bits[..., start : start + step] |= table[labels[..., start : start + step]]
        return True

    def add_named(self, stored: Stored, names: Mapping[int, str], path: Path) -> frozenset[str]:
        """The same by a table label → region or class; returns the names that it tells, remarks on labels without one."""
        counts = label_counts(stored.array)
        words = {label: bits for label, name in names.items() if (bits := word(name)) is not None}
        table = np.zeros(counts.size, dtype=np.uint16)
        for label, bits in words.items():
            if label < table.size:
                table[label] = bits
        if unnamed := [str(names.get(int(v), v)) for v in np.flatnonzero(counts) if v and int(v) not in words]:
            self.notes.append(f"{path.name}: labels without a name were left out: {', '.join(unnamed[:8])}")
        whole = self.add_labels(stored, table, path)
        return frozenset(names[label] for label in words if whole or (label < counts.size and counts[label]))

    def turned(self, stored: Stored, path: Path) -> np.ndarray | None:
        """Stored values in RAS+, not copied, or None where they lie on another grid than the scan's.

        Raises UserError where they don't overlay the scan.
        """
        where = self._place(stored, path)
        return None if where.turn is None else _turned(stored, where)

    def finish(self, path: Path) -> None:
        """Writes the remarks on other grids. Raises UserError where most of what lies on them is outside the scan."""
        for grid, names in self._others.items():
            said = f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            self.notes.append(f"{said}: on another grid ({grid}), resampled by place to the nearest voxel")
        whole, inside = self._ml
        if whole and inside < MOST * whole:
            raise UserError(
                f"only {100 * inside / whole:.0f} % of what the masks hold lies in the scan: they don't overlay it", path, MEND
            )

    def _place(self, stored: Stored, path: Path) -> Place:
        return place(stored.array.shape, stored.affine, self.volume, path)

    def _resample(self, values: np.ndarray, where: Place, table: np.ndarray, path: Path) -> bool:
        named, inside = resample(values, where, table, self.bits, path)
        self._ml += np.array([named, inside]) * np.prod(where.spacing)
        self._others.setdefault(where.says(), []).append(path.name)
        if inside < MOST * named:
            self.notes.append(f"{path.name}: {100 * inside / named:.0f} % of its mask lies in the scan")
        return bool(named or not where.open_faces())


def _turned(stored: Stored, where: Place) -> np.ndarray:
    """The stored values in RAS+."""
    import nibabel as nib

    return nib.orientations.apply_orientation(stored.array, where.turn)  # type: ignore[no-any-return]
