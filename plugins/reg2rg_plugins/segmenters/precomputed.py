"""Segmenter `precomputed`: masks that some other tool made, read from disk and checked against the CT.

Forms: a folder with `<region>.nii.gz` files; one file `seg_<volume>.nii.gz` of whole numbers whose bit i is `REGIONS[i]`,
alone or in a folder; one label map with a table of names; TotalSegmentator's output, a folder of `<class>.nii.gz` or a label
map. All are laid on the CT's grid by their place in the world; when they count as another grid or as another scan's is said in
`_maskgrid`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from reg2rg.anatomy import REGIONS, region_name
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

from ._maskcanvas import Canvas
from ._maskfile import bare, is_image, read_labels
from ._names import read_names
from ._total_classes import REGION_CLASSES, is_class, regions_of, word
from ._total_regions import derive

VERSION = 1
TOTAL = "totalsegmentator"  # the value of `names` that stands for its class table
_ALL = (1 << len(REGIONS)) - 1
_CLASSES = frozenset(name for names in REGION_CLASSES.values() for name in names)


class Precomputed:
    """Reads region masks from `masks` (a folder or a file).

    `names`: a table label → region (YAML, JSON or CSV) for a label map, or `totalsegmentator` for that tool's output: a folder
    of its class files, or a label map whose header names its classes. Regions without a file or a name aren't given; an empty
    mask means that the region isn't in the field of view. Masks on another grid of the same world are resampled to the nearest
    voxel with a remark; those that don't overlay the scan are refused.
    """

    def __init__(self, masks: Path | None = None, names: Path | None = None) -> None:
        self.masks, self.names = masks, names
        self._classes = str(names) == TOTAL
        self._table = read_names(names) if names is not None and not self._classes else {}
        self.regions: frozenset[str] = frozenset(REGIONS)
        said: object = sorted(self._table.items())
        if self._table:
            self.regions = regions_of(frozenset(self._table.values()))
        if self._classes:
            self.regions, said = regions_of(_CLASSES), sorted(REGION_CLASSES.items())
        table = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12] if said else "none"
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
            fix = " ".join(["Check that the masks belong to this scan.", *mask.notes])
            raise UserError(f"all masks are empty{read}", path, fix)
        return mask

    def _file(self, path: Path, volume: Volume) -> RegionMask:
        name = self._name(path)
        if self._table:
            return _label_map(path, volume, self._table)
        if name is None and self._classes:
            return _label_map(path, volume, None)
        if name is None and bare(path).startswith("seg_"):
            return _bits(path, volume)
        if name is not None:
            return _mask_files({name: [path]}, (), volume, path)
        raise UserError(
            "it can't be told what its labels mean",
            path,
            "Name the regions in a table (option names), call a file of region bits seg_<volume>.nii.gz, or give a folder "
            "of <region>.nii.gz files.",
        )

    def _folder(self, folder: Path, volume: Volume) -> RegionMask:
        files = sorted(p for p in folder.iterdir() if p.is_file() and is_image(p))
        by_name: dict[str, list[Path]] = {}
        others = []
        for file in files:
            if name := self._name(file):
                by_name.setdefault(name, []).append(file)
            else:
                others.append(file)
        if by_name and not self._table:
            return _mask_files(by_name, others, volume, folder)
        single = files if self._table or self._classes else [p for p in files if bare(p).startswith("seg_")]
        if len(single) == 1:
            return self._file(single[0], volume)
        if len(single) > 1:
            raise UserError(
                f"it holds {len(single)} mask files of one study each", folder, "Name the one that belongs to the scan."
            )
        found = ", ".join(p.name for p in files[:4]) or "no image file"
        hint = " For TotalSegmentator's classes: names=totalsegmentator." if any(is_class(bare(p)) for p in files) else ""
        raise UserError(
            f"no file in it is named after a region (found: {found})",
            folder,
            f"Call them <region>.nii.gz: {', '.join(REGIONS)}.{hint}",
        )

    def _name(self, file: Path) -> str | None:
        """The class or region that the file's name says."""
        return bare(file) if self._classes and is_class(bare(file)) else region_name(bare(file))


def _mask_files(by_name: Mapping[str, list[Path]], others: Iterable[Path], volume: Volume, where: Path) -> RegionMask:
    """One file a region or class (several that name the same one are joined); `others` are left aside."""
    canvas, told = Canvas(volume), set[str]()
    classes = any(region_name(name) is None for name in by_name)
    for name, paths in by_name.items():
        if len(paths) > 1:
            canvas.notes.append(f"{name}: {' and '.join(p.name for p in paths)} were joined")
        for path in paths:
            if (bits := word(name)) and canvas.add_mask(path, bits):
                told.add(name)
    return _packed(canvas, frozenset(told), where, classes, _aside(others, classes))


def _label_map(path: Path, volume: Volume, table: Mapping[int, str] | None) -> RegionMask:
    """A label map by a table label → region or class, or by the one in its own header."""
    stored = read_labels(path)
    if table is None and not stored.names:
        raise UserError(
            "its header doesn't name its labels, as TotalSegmentator's label maps do", path, "Give a table (option names)."
        )
    canvas = Canvas(volume)
    told = canvas.add_named(stored, stored.names if table is None else table, path)
    return _packed(canvas, told, path, any(region_name(name) is None for name in told), "")


def _bits(path: Path, volume: Volume) -> RegionMask:
    """A file of region bits: it tells all ten regions where it covers the scan."""
    stored = read_labels(path)
    if stored.array.size and int(stored.array.max()) > _ALL:
        raise UserError(
            f"its values reach {int(stored.array.max())}, but ten regions make at most {_ALL}",
            path,
            "Bit i is the i-th region; for a label map give a table (option names).",
        )
    canvas = Canvas(volume)
    if (bits := canvas.turned(stored, path)) is not None:
        return RegionMask(bits.astype(np.uint16, copy=False), frozenset(REGIONS))
    whole = canvas.add_labels(stored, np.arange(_ALL + 1, dtype=np.uint16), path)
    seen = int(np.bitwise_or.reduce(canvas.bits, axis=None))
    return _packed(canvas, frozenset(r for i, r in enumerate(REGIONS) if whole or seen >> i & 1), path, False, "")


def _packed(canvas: Canvas, names: frozenset[str], where: Path, classes: bool, note: str) -> RegionMask:
    """The canvas as a region mask; what classes don't tell by themselves is derived."""
    canvas.finish(where)
    derived = derive(canvas.bits, canvas.volume.spacing, names) if classes else ()
    return RegionMask(canvas.bits, regions_of(names), tuple(said for said in (note, *canvas.notes, *derived) if said))


def _aside(others: Iterable[Path], classes: bool) -> str:
    names = [p.name for p in others]
    hint = not classes and any(is_class(bare(Path(name))) for name in names)
    more = " (some are TotalSegmentator's classes: names=totalsegmentator reads them)" if hint else ""
    what = "named after no region or class" if classes else "not named after a region"
    return f"{what}, left aside: {', '.join(names[:6])}{more}" if names else ""
