"""A store's studies as views, computed when asked for or kept on disk: what training and generation iterate over.

In: a `Store`, study ids, the recipe's `views`. Out: `StudyViews` of every region with content, in the order of `REGIONS`.
The cache holds half precision in memory-mapped arrays, and is keyed by the view settings and the studies' files, so that a
change of either makes a new one.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..anatomy import REGIONS
from ..contracts import StudyViews
from ..files import atomic_folder
from ..progress import Progress, silent
from ..recipe import Views
from ..shares import cores
from .store import Store
from .views import make_views

POOL_FROM = 48  # studies from which on starting worker processes pays


class ViewSource(Protocol):
    """Views by position in `ids`."""

    ids: Sequence[str]

    def __getitem__(self, index: int) -> StudyViews: ...


class StoreViews:
    """Views computed at each access."""

    def __init__(self, store: Store, ids: Sequence[str], views: Views, geometry: bool) -> None:
        self.store, self.views, self.geometry = store, views, geometry
        self.ids: Sequence[str] = list(ids)

    def __getitem__(self, index: int) -> StudyViews:
        name = self.ids[index]
        return make_views(self.store.volume(name), self.store.mask(name), self.views, REGIONS, self.geometry)


class CachedViews:
    """Views from a cache folder made by `open_views`; float16 tensors that share the files' memory."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.ids: Sequence[str] = list(ids)
        self._arrays = {p.stem: np.load(p, mmap_mode="c") for p in folder.glob("*.npy")}

    def __getitem__(self, index: int) -> StudyViews:
        row = {name: torch.from_numpy(array[index]) for name, array in self._arrays.items()}
        present = row["present"]
        kept = tuple(r for r, there in zip(REGIONS, present.tolist(), strict=True) if there)
        empty = torch.zeros(0)
        textures, masks = (row[k][present][:, None] if k in row else empty for k in ("textures", "masks"))
        return StudyViews(row["image"][None] if "image" in row else None, textures, masks, kept)


def open_views(
    store: Store,
    ids: Sequence[str],
    views: Views,
    *,
    geometry: bool = True,
    workers: int | None = None,
    progress: Progress = silent,
) -> ViewSource:
    """Views of `ids`: from the store's cache, made now where it is missing, if the recipe asks for it; else computed."""
    live = StoreViews(store, ids, views, geometry)
    if not views.cache or not ids:
        return live
    folder = store.root / "cache" / f"views-{_fingerprint(live)}"
    if not (folder / "done.json").is_file():
        if not os.access(store.root, os.W_OK):  # a store on a read-only disk is slower, not useless
            return live
        _build(live, folder, workers if workers is not None else cores(), progress)
    return CachedViews(folder, ids)


def _fingerprint(live: StoreViews) -> str:
    digest = hashlib.sha256(json.dumps([live.views.model_dump(mode="json"), live.geometry]).encode())
    for name in live.ids:
        stat = live.store.path(name).stat()
        digest.update(f"{name}:{stat.st_size}:{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]


def _shapes(live: StoreViews) -> dict[str, tuple[tuple[int, ...], str]]:
    n, size, views = len(live.ids), live.views.size, live.views
    shapes: dict[str, tuple[tuple[int, ...], str]] = {"present": ((n, len(REGIONS)), "bool")}
    if views.image:
        shapes["image"] = ((n, *size), "float16")
    if views.texture != "none":
        shapes["textures"] = ((n, len(REGIONS), *size), "float16")
    if live.geometry:
        shapes["masks"] = ((n, len(REGIONS), *(views.geometry_size or size)), "float16")
    return shapes


def _build(live: StoreViews, folder: Path, workers: int, progress: Progress) -> None:
    total = len(live.ids)
    chunks = [range(start, min(start + 16, total)) for start in range(0, total, 16)]
    with atomic_folder(folder) as temporary:
        for name, (shape, dtype) in _shapes(live).items():
            np.lib.format.open_memmap(temporary / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        if workers > 1 and total >= POOL_FROM:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
                jobs = [pool.submit(_fill, live, temporary, chunk) for chunk in chunks]
                for done, job in enumerate(concurrent.futures.as_completed(jobs), 1):
                    job.result()
                    progress("Views", min(16 * done, total), total)
        else:
            for chunk in chunks:
                _fill(live, temporary, chunk)
                progress("Views", chunk.stop, total)
        (temporary / "done.json").write_text(json.dumps({"studies": live.ids}))


def _fill(live: StoreViews, folder: Path, rows: range) -> None:
    arrays = {p.stem: np.load(p, mmap_mode="r+") for p in folder.glob("*.npy")}
    for index in rows:
        views = live[index]
        places = [REGIONS.index(region) for region in views.regions]
        arrays["present"][index, places] = True
        if views.image is not None:
            arrays["image"][index] = views.image[0].numpy()
        if "textures" in arrays:
            arrays["textures"][index, places] = views.textures[:, 0].numpy()
        if "masks" in arrays:
            arrays["masks"][index, places] = views.masks[:, 0].numpy()
    for array in arrays.values():
        array.flush()
