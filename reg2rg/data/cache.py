"""The cache of views: each view is resized once and kept on disk, in the type that the recipe says.

    STORE/cache/views-<key>/   present.npy (n, 10) bool: which regions have content; image.npy (n, H, W, D);
                               textures.npy, masks.npy (n, 10, H, W, D), holes where a region is absent; done.json

bfloat16, which numpy lacks, lies there as uint16. The key follows from the view settings and the studies' files. Making a cache
sweeps what killed runs left and caches whose studies have changed since; of the others the latest used stay.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..anatomy import REGIONS
from ..contracts import StudyViews
from ..errors import UserError
from ..files import atomic_folder, stamp
from ..progress import Progress
from ..recipe import Views

FORMAT = 2  # of the cache; to be raised also when views come out otherwise
KEEP = 6  # caches of a store: three splits of two recipes used in turn
CHUNK = 16  # studies that a process makes at a time
POOL_FROM = 48  # studies from which on starting worker processes pays
DONE = "done.json"


class Live(Protocol):
    """Views that are computed when asked for, and what they follow from: the files, the settings, with `geometry` or not."""

    ids: Sequence[str]
    paths: Sequence[Path]
    views: Views
    geometry: bool

    def __getitem__(self, index: int) -> StudyViews: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """A .npy file of `per` equal parts a study: where they begin, their shape and type."""

    path: Path
    start: int
    per: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, path: Path) -> _Rows:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            per, part = (1, shape[1:]) if len(shape) == 4 else (shape[1], shape[2:])
            return cls(path, file.tell(), per, part, dtype)

    def _place(self, study: int, part: int) -> int:
        return self.start + (study * self.per + part) * math.prod(self.shape) * self.dtype.itemsize

    def read(self, study: int, parts: Sequence[int]) -> np.ndarray:
        """Some parts of a study, side by side."""
        out = np.empty((len(parts), *self.shape), dtype=self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for row, part in zip(out, parts, strict=True):
                file.seek(self._place(study, part))
                if file.readinto(row) != row.nbytes:  # type: ignore[arg-type]
                    raise UserError("the cache of views is cut short", self.path, "Delete its folder: it is made anew.")
        return out

    def write(self, study: int, parts: Sequence[int], values: Tensor) -> None:
        """Writes some parts of a study, in the type of `values`."""
        with self.path.open("rb+") as file:
            for part, value in zip(parts, values, strict=True):
                file.seek(self._place(study, part))
                file.write(value.contiguous().view(torch.uint8).numpy().data)


class CachedViews:
    """Views from a cache folder. Holds no array and no file but a lock, which keeps other runs from sweeping the folder."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.folder = folder
        self.ids: Sequence[str] = list(ids)
        if (handle := _lock(folder, shared=True)) is not None:
            weakref.finalize(self, os.close, handle)
        facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
        self.dtype: torch.dtype = getattr(torch, facts["dtype"])
        self._present = np.load(folder / "present.npy")
        self._rows = {p.stem: _Rows.open(p) for p in folder.glob("*.npy") if p.stem != "present"}
        with contextlib.suppress(OSError):  # a read-only disk
            os.utime(folder / DONE)  # the latest used is kept longest

    @property
    def kinds(self) -> set[str]:
        """Which views it holds: image, textures, masks."""
        return set(self._rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedViews, (self.folder, self.ids)

    def __getitem__(self, index: int) -> StudyViews:
        places = np.flatnonzero(self._present[index]).tolist()
        image = self._read("image", index, [0])
        textures, masks = (self._read(name, index, places) for name in ("textures", "masks"))
        empty = torch.zeros(0)
        return StudyViews(
            image,
            empty if textures is None else textures[:, None],
            empty if masks is None else masks[:, None],
            tuple(REGIONS[i] for i in places),
        )

    def _read(self, name: str, index: int, parts: Sequence[int]) -> Tensor | None:
        rows = self._rows.get(name)
        return None if rows is None else torch.from_numpy(rows.read(index, parts)).view(self.dtype)


def open_cache(root: Path, live: Live, workers: int, progress: Progress) -> CachedViews | None:
    """The cache of `live` in the folder `root`, made now where it is missing; None where nothing can be written there.

    Of several processes that ask at once, one makes it.
    """
    folder = root / f"views-{_key(live)}"
    if made := _opened(folder, live):
        return made
    try:
        root.mkdir(exist_ok=True)
    except OSError:
        return None
    if not os.access(root, os.W_OK):
        return None
    with _alone(root) as alone:
        if made := _opened(folder, live):  # by another process, meanwhile
            return made
        if alone:
            _sweep(root, live.paths[0].parent)
        _build(live, folder, workers, progress)
        return CachedViews(folder, live.ids)


def _opened(folder: Path, live: Live) -> CachedViews | None:
    """The cache in `folder`, or None where it is missing, damaged or being swept at this moment."""
    try:
        made = CachedViews(folder, live.ids)
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return made if made.kinds == set(_arrays(live)) else None


def _key(live: Live) -> str:
    settings = json.dumps([FORMAT, live.views.model_dump(mode="json"), live.geometry])
    return hashlib.sha256(f"{settings} {_stamps(live.paths)}".encode()).hexdigest()[:20]


def _stamps(paths: Sequence[Path]) -> str:
    """A hash of the files' names, sizes and times."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{stamp(path)}\n".encode())
    return digest.hexdigest()[:20]


def _lock(folder: Path, shared: bool = False, wait: bool = True) -> int | None:
    """A handle that holds a lock on `folder` until it is closed; None where it is taken, or there are no locks."""
    handle = None
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        if handle is not None:
            os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Waits until no other process makes a cache in `root`; whether that can be told."""
    handle = _lock(root)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _sweep(root: Path, studies: Path) -> None:
    """Removes what killed runs left, caches whose studies have changed, and those beyond KEEP that were used least lately."""
    for left in root.glob(".views-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    made = [path for path in root.glob("views-*") if (path / DONE).is_file()]
    made.sort(key=lambda path: (path / DONE).stat().st_mtime_ns, reverse=True)
    current = [path for path in made if _matches(path, studies)]
    for path in made:
        if path not in current[: KEEP - 1]:
            _remove(path)


def _matches(folder: Path, studies: Path) -> bool:
    try:
        facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
        paths = [studies / f"{name}.h5" for name in facts["studies"]]
        return bool(facts["format"] == FORMAT and facts["files"] == _stamps(paths))
    except (OSError, ValueError, KeyError):
        return False


def _remove(folder: Path) -> None:
    handle = _lock(folder, wait=False)
    if handle is None:  # in use
        return
    (folder / DONE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)


def _build(live: Live, folder: Path, workers: int, progress: Progress) -> None:
    try:
        with atomic_folder(folder) as temporary:
            for name, (shape, dtype) in _arrays(live).items():
                _create(temporary / f"{name}.npy", shape, dtype)
            present = np.zeros((len(live.ids), len(REGIONS)), dtype=bool)
            for done, (study, places) in enumerate(_filled(live, temporary, workers), 1):
                present[study, places] = True
                progress("Views", done, len(live.ids))
            np.save(temporary / "present.npy", present)
            facts = {"format": FORMAT, "dtype": live.views.cache_dtype, "files": _stamps(live.paths), "studies": [*live.ids]}
            (temporary / DONE).write_text(json.dumps(facts), encoding="utf-8")
    except OSError as error:
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in _arrays(live).values()) / 2**30
        hint = f"It takes up to {size:.1f} GiB: free some space, or set views.cache=false."
        raise UserError(f"the cache of views can't be written ({error.strerror or error})", folder.parent, hint) from error


def _arrays(live: Live) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each file of views."""
    n, size, views = len(live.ids), live.views.size, live.views
    dtype = np.dtype("<u2" if views.cache_dtype == "bfloat16" else views.cache_dtype)
    shapes: dict[str, tuple[int, ...]] = {}
    if views.image:
        shapes["image"] = (n, *size)
    if views.texture != "none":
        shapes["textures"] = (n, len(REGIONS), *size)
    if live.geometry:
        shapes["masks"] = (n, len(REGIONS), *(views.geometry_size or size))
    return {name: (shape, dtype) for name, shape in shapes.items()}


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """An empty .npy file that takes no room yet."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + math.prod(shape) * dtype.itemsize)


def _filled(live: Live, folder: Path, workers: int) -> Iterator[tuple[int, list[int]]]:
    """Writes every study's views into `folder`; yields it and the places of its regions."""
    total = len(live.ids)
    if workers <= 1 or total < POOL_FROM:
        yield from _fill(live, folder, range(total))
        return
    context = multiprocessing.get_context("spawn")
    chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    try:
        with concurrent.futures.ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
            for job in concurrent.futures.as_completed([pool.submit(_fill_list, live, folder, chunk) for chunk in chunks]):
                yield from job.result()
    except BrokenProcessPool as error:
        hint = "Close other programs, or set views.cache=false."
        raise UserError("a process that makes views died, perhaps for want of memory", folder.parent, hint) from error


def _fill_list(live: Live, folder: Path, studies: range) -> list[tuple[int, list[int]]]:
    return list(_fill(live, folder, studies))


def _fill(live: Live, folder: Path, studies: range) -> Iterator[tuple[int, list[int]]]:
    rows = {path.stem: _Rows.open(path) for path in folder.glob("*.npy")}
    dtype: torch.dtype = getattr(torch, live.views.cache_dtype)
    for study in studies:
        views = live[study]
        places = [REGIONS.index(region) for region in views.regions]
        if views.image is not None:
            rows["image"].write(study, [0], views.image.to(dtype))
        for name, values in (("textures", views.textures), ("masks", views.masks)):
            if name in rows:
                rows[name].write(study, places, values[:, 0].to(dtype))
        yield study, places
