"""The store: one HDF5 file a study and a `store.json`, written by `preprocess`, read by everything after it.

    store.json           format version, segmenter, settings, counts
    failures.csv         study,stage,error,hint: one row a refused study
    studies/<id>.h5      datasets `hu` int16 and `regions` uint16, both (X, Y, Z) in RAS+, bit i of `regions` = REGIONS[i];
                         dataset `study`: the text and facts as JSON; attributes `affine` (4, 4) voxel → mm,
                         `regions_given`, `format`, `fingerprint`, `notes`, `mask_notes`; `frame`, `boxes`, `contents`,
                         `voxels`: `boxes.Facts`, by which crops are cut without reading the whole; of quality control
                         (`inspection`): attribute `qc`, dataset `qc_picture`

Each file is written to a temporary name and renamed, so that a study is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..anatomy import REGIONS
from ..contracts import RegionMask, Study, Volume
from ..errors import EXIT_USAGE, UserError
from ..files import shared_file
from ..shares import share
from .boxes import Box, Facts, measure
from .chunks import read_array, read_box, write_array
from .inspection import Inspection, write_inspection

FORMAT = 1
_REDO = "Run the same reg2rg preprocess again: it writes this study anew."


def write_study(
    path: Path,
    volume: Volume,
    mask: RegionMask,
    study: Study,
    *,
    fingerprint: str = "",
    facts: Facts | None = None,
    inspection: Inspection | None = None,
) -> None:
    """Writes one study's file, whole or not at all.

    `fingerprint` says by which segmenter and settings the voxels were made; `facts` are those of these arrays, where the
    caller has them; `inspection` is what quality control found. Raises UserError where mask and volume differ in shape.
    """
    if mask.bits.shape != volume.shape:
        raise UserError(f"the mask's shape {mask.bits.shape} isn't the volume's {volume.shape}", study.id)
    import h5py

    with shared_file(path) as temp, h5py.File(temp, "w") as file:
        _write(file, volume, mask, study)
        write_facts(file, facts or measure(volume.hu, mask.bits))
        file.attrs["fingerprint"] = fingerprint
        if inspection:
            write_inspection(file, inspection)


def _write(file: Any, volume: Volume, mask: RegionMask, study: Study) -> None:
    write_array(file, "hu", volume.hu)
    write_array(file, "regions", mask.bits)
    _write_text(file, study)
    file.attrs["affine"] = volume.affine
    file.attrs["regions_given"] = np.array([r for r in REGIONS if r in mask.given], dtype=object)
    file.attrs["format"] = FORMAT
    # a file's name needn't be UTF-8, an attribute must be
    file.attrs["source"] = volume.source.encode("utf-8", "replace").decode()
    file.attrs["notes"] = json.dumps(volume.notes, ensure_ascii=False)
    file.attrs["mask_notes"] = json.dumps(mask.notes, ensure_ascii=False)


def write_facts(file: Any, facts: Facts) -> None:
    """Writes where a study's content lies as attributes; a box is [start, stop) along (X, Y, Z), zeros where there is none."""

    def rows(boxes: Mapping[str, Box]) -> np.ndarray:
        return np.array([_ends(boxes.get(region)) for region in REGIONS], dtype=np.int32)

    file.attrs["frame"] = np.array(_ends(facts.frame), dtype=np.int32)
    file.attrs["boxes"], file.attrs["contents"] = rows(facts.boxes), rows(facts.contents)
    file.attrs["voxels"] = np.array([facts.voxels.get(region, 0) for region in REGIONS], dtype=np.int64)


def read_facts(file: Any) -> Facts | None:
    """What `write_facts` wrote into an open file, or None where it holds none."""
    attrs = file.attrs
    if any(name not in attrs for name in ("frame", "boxes", "contents", "voxels")):
        return None
    boxes, contents = (
        {r: box for r, e in zip(REGIONS, attrs[name], strict=True) if (box := _box(e))} for name in ("boxes", "contents")
    )
    voxels = {r: int(n) for r, n in zip(REGIONS, attrs["voxels"], strict=True) if n}
    return Facts(tuple(file["hu"].shape), _box(attrs["frame"]), boxes, contents, voxels)  # type: ignore[arg-type]


def _ends(box: Box | None) -> list[list[int]]:
    return [[part.start, part.stop] for part in box] if box else [[0, 0]] * 3


def _box(ends: np.ndarray) -> Box | None:
    x, y, z = (slice(int(start), int(stop)) for start, stop in ends)
    return (x, y, z) if x.stop else None


def _write_text(file: Any, study: Study) -> None:
    # surrogates (a file name that isn't UTF-8) can't be stored as text: they become \udc.. escapes
    file.create_dataset("study", data=_as_json(study))


def _as_json(study: Study) -> str:
    data = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    return json.dumps(data, ensure_ascii=True, sort_keys=True, default=dict)


def rewrite_text(path: Path, study: Study) -> None:
    """Replaces the text of a study's file; its voxels stay as they are."""

    def change(file: Any) -> None:
        del file["study"]
        _write_text(file, study)

    _rewrite(path, change)


def add_inspection(path: Path, inspection: Inspection) -> None:
    """Adds to a study's file what quality control found; the rest stays as it is."""
    _rewrite(path, lambda file: write_inspection(file, inspection))


def _rewrite(path: Path, change: Callable[[Any], None]) -> None:
    """Changes a copy of a study's file, which then takes its name."""
    import shutil

    import h5py

    with shared_file(path) as temp:
        shutil.copyfile(path, temp)
        with h5py.File(temp, "r+") as file:
            change(file)


@contextlib.contextmanager
def open_study(path: Path) -> Iterator[Any]:
    """A study's HDF5 file, open for reading; raises UserError where it is missing, damaged or of a newer format."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            version = int(file.attrs["format"])
            if version > FORMAT:
                raise UserError(f"the study has format {version}, this reg2rg reads up to {FORMAT}", path, "Update reg2rg.")
            yield file
    except FileNotFoundError as error:
        raise UserError("the store has no such study", path, "List its studies with: reg2rg inspect STORE") from error
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError("the study's file is damaged, or no study of a reg2rg store", path, _REDO) from error


def read_study(path: Path) -> Study:
    """The text and facts of one study's file."""
    with open_study(path) as file:
        return Study(**json.loads(file["study"][()]))


def read_volume(path: Path) -> Volume:
    """The CT of one study's file."""
    with open_study(path) as file:
        attrs = file.attrs
        notes = tuple(json.loads(attrs.get("notes", "[]")))
        return Volume(read_array(file["hu"]), attrs["affine"], str(attrs.get("source", "")), notes)


def read_mask(path: Path) -> RegionMask:
    """The region masks of one study's file."""
    with open_study(path) as file:
        notes = tuple(json.loads(file.attrs.get("mask_notes", "[]")))
        return RegionMask(read_array(file["regions"]), frozenset(map(str, file.attrs["regions_given"])), notes)


def study_fingerprint(path: Path) -> str:
    """By which segmenter and settings a study's voxels were made; raises UserError where its file isn't whole."""
    with open_study(path) as file:
        if file["hu"].shape != file["regions"].shape or "study" not in file:
            raise UserError("the study's file isn't whole", path, _REDO)
        return str(file.attrs["fingerprint"])


def write_info(root: Path, info: dict[str, Any]) -> None:
    """Writes `store.json`."""
    text = json.dumps(info, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    with shared_file(root / "store.json") as temp:
        temp.write_text(text, encoding="utf-8")


class Store:
    """A folder of preprocessed studies.

    `root`: the folder; `info`: its `store.json`. Raises UserError where the folder is no store or of a newer format.
    Holds no open file, so that it can be sent to other processes.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.info = _info(self.root)
        self._studies: dict[str, Study] = {}

    def ids(self, split: str = "") -> list[str]:
        """The ids of all studies, or of one split's, sorted."""
        folder = self.root / "studies"
        names = (
            sorted(p.name[:-3] for p in folder.iterdir() if p.suffix == ".h5" and p.name[0] != ".") if folder.is_dir() else []
        )
        return [i for i in names if self.study(i).split == split] if split else names

    def path(self, id: str) -> Path:
        """The HDF5 file of one study."""
        return self.root / "studies" / f"{id}.h5"

    def study(self, id: str) -> Study:
        """Text and facts of one study, without its voxels; read once."""
        if id not in self._studies:
            self._studies[id] = read_study(self.path(id))
        return self._studies[id]

    def studies(self, split: str = "") -> list[Study]:
        """Text and facts of all studies, or of one split's, sorted by id."""
        return [self.study(i) for i in self.ids(split)]

    def chosen(self, split: str, shard: str = "") -> list[Study]:
        """The studies of a split or of `all`, of them the part `shard` (I/N). Raises UserError (usage) where there are none."""
        studies = share(self.studies("" if split == "all" else split), shard)
        if not studies:
            known = ", ".join(sorted({s.split or "(none)" for s in self.studies()}))
            fix = f"It has: {known}; or --split all."
            raise UserError(f"no study of the store is in the split '{split}'", self.root, fix, EXIT_USAGE)
        return studies

    def volume(self, id: str) -> Volume:
        """The CT of one study."""
        return read_volume(self.path(id))

    def mask(self, id: str) -> RegionMask:
        """The region masks of one study."""
        return read_mask(self.path(id))

    def facts(self, id: str) -> Facts:
        """Where the content of one study lies; measured now where its file (of an older store) doesn't say."""
        with open_study(self.path(id)) as file:
            facts = read_facts(file)
        return facts or measure(self.volume(id).hu, self.mask(id).bits)

    def crop(self, id: str, region: str) -> tuple[Volume, RegionMask] | None:
        """The part of one study that is the box of a region's mask, or None where it has no voxel; no more is read."""
        box = self.facts(id).boxes.get(region)
        if box is None:
            return None
        with open_study(self.path(id)) as file:
            affine = file.attrs["affine"].copy()
            affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
            given = frozenset(map(str, file.attrs["regions_given"]))
            volume = Volume(read_box(file["hu"], box), affine, str(file.attrs.get("source", "")))
            return volume, RegionMask(read_box(file["regions"], box), given)

    def fingerprint(self) -> str:
        """A short hash of what the store holds: its studies, how their voxels were made, and their texts."""
        digest = hashlib.sha256(f"format {FORMAT}".encode())
        for study in self.studies():
            digest.update(f"{study_fingerprint(self.path(study.id))} {_as_json(study)}\n".encode())
        return digest.hexdigest()[:16]


def is_store(root: Path) -> bool:
    """Whether a folder looks like a store."""
    return (root / "store.json").is_file()


def _info(root: Path) -> dict[str, Any]:
    path = root / "store.json"
    make = "Make a store with: reg2rg preprocess SOURCE --out STORE"
    if not root.is_dir():
        raise UserError("no such store", root, make)
    if not path.is_file():
        raise UserError("the folder is no store (it holds no store.json)", root, make)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        version = int(info["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("the store's store.json is damaged", path, "Run the same reg2rg preprocess again.") from error
    if version > FORMAT:
        raise UserError(f"the store has format {version}, this reg2rg reads up to {FORMAT}", root, "Update reg2rg.")
    return dict(info)
