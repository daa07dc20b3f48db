"""Segmenter `precomputed`: masks that some other tool made, read from disk and checked against the CT.

Forms: a folder with `<region>.nii.gz` files; one file `seg_<volume>.nii.gz` of whole numbers whose bit i is `REGIONS[i]`,
alone or in a folder; one label map with a table of names. All are turned to RAS+ and must lie on the CT's grid.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from reg2rg.anatomy import REGIONS, region_name
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

from ._maskfile import as_labels, bare, is_image, read_on_grid
from ._maskslabs import add_binary, no_bits
from ._names import read_names

VERSION = 1
_ALL = (1 << len(REGIONS)) - 1


class Precomputed:
    """Reads region masks from `masks` (a folder or a file).

    `names`: a table label → region (YAML, JSON or CSV) for a label map. Regions without a file or a name aren't given; an
    empty mask means that the region isn't in the field of view.
    """

    def __init__(self, masks: Path | None = None, names: Path | None = None) -> None:
        self.masks, self.names = masks, names
        self._table = read_names(names) if names is not None else {}
        self.regions: frozenset[str] = frozenset(self._table.values() or REGIONS)
        table = hashlib.sha256(json.dumps(sorted(self._table.items())).encode()).hexdigest()[:12] if self._table else "none"
        self.fingerprint = f"precomputed-{VERSION} names={table}"

    def for_study(self, masks: Path) -> Precomputed:
        """The same segmenter bound to one study's masks (a folder or a file)."""
        bound = Precomputed.__new__(Precomputed)
        bound.__dict__.update(self.__dict__, masks=masks)
        return bound

    def segment(self, volume: Volume) -> RegionMask:
        """The masks as bits on the volume's grid; raises UserError where they don't fit, say nothing or can't be read."""
        if self.masks is None:
            raise UserError(
                "no masks were given", fix="Say where they are: --masks DIR (or the option masks of the segmenter)."
            )
        path = Path(self.masks)
        if not path.exists():
            raise UserError("no such mask file or folder", path, "Check --masks.")
        mask = self._folder(path, volume) if path.is_dir() else self._file(path, volume)
        if not mask.bits.any():
            read = "" if len(mask.given) == len(REGIONS) else f" ({', '.join(sorted(mask.given))})"
            raise UserError(f"all masks are empty{read}", path, "Check that the masks belong to this scan.")
        return mask

    def _file(self, path: Path, volume: Volume) -> RegionMask:
        if self._table:
            return self._label_map(path, volume)
        if bare(path).startswith("seg_"):
            return _bits(path, volume)
        if region := region_name(bare(path)):
            return _region_files({region: [path]}, (), volume)
        raise UserError(
            "it can't be told what its labels mean",
            path,
            "Name the regions in a table (option names), call a file of region bits seg_<volume>.nii.gz, or give a folder "
            "of <region>.nii.gz files.",
        )

    def _folder(self, folder: Path, volume: Volume) -> RegionMask:
        files = sorted(p for p in folder.iterdir() if p.is_file() and is_image(p))
        by_region: dict[str, list[Path]] = {}
        for file in files:
            if region := region_name(bare(file)):
                by_region.setdefault(region, []).append(file)
        if by_region and not self._table:
            known = {p for paths in by_region.values() for p in paths}
            return _region_files(by_region, [p.name for p in files if p not in known], volume)
        single = files if self._table else [p for p in files if bare(p).startswith("seg_")]
        if len(single) == 1:
            return self._file(single[0], volume)
        if len(single) > 1:
            raise UserError(
                f"it holds {len(single)} mask files of one study each", folder, "Name the one that belongs to the scan."
            )
        found = ", ".join(p.name for p in files[:4]) or "no image file"
        raise UserError(
            f"no file in it is named after a region (found: {found})",
            folder,
            f"Call them <region>.nii.gz: {', '.join(REGIONS)}.",
        )

    def _label_map(self, path: Path, volume: Volume) -> RegionMask:
        labels = as_labels(read_on_grid(path, volume), path)
        seen = np.unique(labels)
        table = np.zeros(int(seen[-1]) + 1 if seen.size else 1, dtype=np.uint16)
        for label, region in self._table.items():
            if label < table.size:
                table[label] |= np.uint16(1 << REGIONS.index(region))
        unnamed = [int(v) for v in seen if v and not table[int(v)]]
        said = f"{path.name}: labels without a name were left out: {', '.join(map(str, unnamed[:8]))}"
        return RegionMask(table[labels], self.regions, (said,) if unnamed else ())


def _bits(path: Path, volume: Volume) -> RegionMask:
    """A file of region bits: it tells all ten regions."""
    array = as_labels(read_on_grid(path, volume), path)
    if array.size and int(array.max()) > _ALL:
        raise UserError(
            f"its values reach {int(array.max())}, but ten regions make at most {_ALL}",
            path,
            "Bit i is the i-th region; for a label map give a table (option names).",
        )
    return RegionMask(np.asarray(array, dtype=np.uint16), frozenset(REGIONS))


def _region_files(by_region: dict[str, list[Path]], others: list[str] | tuple[str, ...], volume: Volume) -> RegionMask:
    """One file a region (several that name the same one are joined); `others` are the names of files left aside."""
    bits = no_bits(volume.hu)
    notes = [f"not named after a region, left aside: {', '.join(others[:6])}"] if others else []
    for region, paths in by_region.items():
        if len(paths) > 1:
            notes.append(f"{region}: {' and '.join(p.name for p in paths)} were joined")
        for path in paths:
            said = add_binary(path, volume, bits, np.uint16(1 << REGIONS.index(region)))
            notes += [said] if said else []
    return RegionMask(bits, frozenset(by_region), tuple(notes))
