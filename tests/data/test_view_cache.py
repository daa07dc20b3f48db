"""The cache of views: it gives what live computing gives, follows the studies' files, and cleans up after itself."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples_store import phantom_store, same

from reg2rg.data import cache
from reg2rg.data.cache import CachedViews
from reg2rg.data.dataset import StoreViews, open_views
from reg2rg.data.store import Store
from reg2rg.errors import UserError
from reg2rg.recipe import Views

SIZE = (10, 8, 6)


def opened(store: Store, ids: list[str] | None = None, **settings: Any) -> CachedViews:
    source = open_views(store, ids or store.ids(), Views(**{"size": SIZE, "cache": True, **settings}), workers=1)
    assert isinstance(source, CachedViews)
    return source


def caches(store: Store) -> set[str]:
    return {path.name for path in (store.root / "cache").iterdir()}


@pytest.mark.parametrize("dtype, error", [("float32", 0.0), ("float16", 2**-12), ("bfloat16", 2**-9)])
@pytest.mark.parametrize("way", [{}, {"texture": "masked", "image": False}, {"texture": "none", "geometry_size": (4, 5, 3)}])
def test_cached_views_equal_live_ones(tmp_path: Path, dtype: str, error: float, way: dict[str, Any]) -> None:
    store = phantom_store(tmp_path / "s", 3)
    cached = opened(store, cache_dtype=dtype, **way)
    live = StoreViews(store, store.ids(), Views(size=SIZE, **way), geometry=True)
    for i in range(3):
        given, expected = cached[i], live[i]
        assert given.masks.dtype == getattr(torch, dtype)
        if way.get("texture") == "none":
            assert not len(given.textures) and torch.allclose(given.masks.float(), expected.masks, rtol=0, atol=error)
        else:
            assert same(given, expected, error) and (error or same(given, expected))


def test_processes_make_it_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = phantom_store(tmp_path / "s", 3)
    monkeypatch.setattr(cache, "POOL_FROM", 2)
    monkeypatch.setattr(cache, "CHUNK", 2)
    seen: list[tuple[int, int]] = []
    views = Views(size=SIZE, cache=True, cache_dtype="float32")
    cached = open_views(store, store.ids(), views, workers=2, progress=lambda _, done, total, *__: seen.append((done, total)))
    live = StoreViews(store, store.ids(), views, geometry=True)
    assert all(same(cached[i], live[i]) for i in range(3))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_changed_study_makes_a_new_cache_and_sweeps_the_old(tmp_path: Path) -> None:
    store = phantom_store(tmp_path / "s", 2)
    first = opened(store).folder.name
    other = opened(store, ids=["s1"]).folder.name
    shutil.copyfile(store.path("s1"), store.path("s0"))
    changed = opened(store)
    assert torch.equal(changed[0].textures, changed[1].textures)
    assert first not in caches(store) and caches(store) == {changed.folder.name, other}


def test_the_latest_used_caches_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEEP", 3)
    store = phantom_store(tmp_path / "s", 1)
    names = []
    for i in range(3):
        names.append(opened(store, min_voxels=1 + i).folder.name)
        os.utime(store.root / "cache" / names[-1] / "done.json", ns=(i, i))
    opened(store, min_voxels=1)  # used again: now the latest
    newest = opened(store, min_voxels=9).folder.name
    assert caches(store) == {names[0], names[2], newest}


def test_a_cache_in_use_is_never_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEEP", 1)
    store = phantom_store(tmp_path / "s", 1)
    used = opened(store)
    expected = used[0]
    opened(store, min_voxels=2)
    assert used.folder.is_dir() and same(used[0], expected)
    name = used.folder.name
    del used
    opened(store, min_voxels=3)
    assert name not in caches(store)


def test_leftovers_of_killed_runs_and_broken_caches_are_swept(tmp_path: Path) -> None:
    store = phantom_store(tmp_path / "s", 1)
    broken = store.root / "cache" / "views-broken"
    for folder in (store.root / "cache" / ".views-0123.abc.tmp", broken, store.root / "cache" / "features"):
        folder.mkdir(parents=True)
        (folder / "image.npy").write_bytes(b"half")
    (broken / "done.json").write_text("{")
    made = opened(store)
    assert caches(store) == {made.folder.name, "features"}


def _open(root: Path, results: Any) -> None:
    results.put(opened(Store(root))[0].textures.double().sum().item())


def test_of_several_processes_one_makes_it(tmp_path: Path) -> None:
    store = phantom_store(tmp_path / "s", 4)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_open, args=(store.root, results)) for _ in range(3)]
    for child in children:
        child.start()
    sums = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join(60)
    assert len(sums) == 1 and len(caches(store)) == 1


def test_a_killed_run_leaves_what_the_next_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = phantom_store(tmp_path / "s", 2)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            monkeypatch.setattr(cache, "_fill", lambda *_: time.sleep(60))
            opened(store)
        os._exit(0)
    deadline = time.monotonic() + 30
    while not list(store.root.glob("cache/.views-*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert list(store.root.glob("cache/.views-*.tmp"))
    assert caches(store) != {opened(store).folder.name} and len(caches(store)) == 1


def test_a_full_disk_says_how_much_is_needed_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = phantom_store(tmp_path / "s", 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache._Rows, "write", full)
    with pytest.raises(UserError, match=r"No space left on device\). It takes up to 0\.0 GiB: free some space"):
        opened(store)
    assert caches(store) == set()


def test_where_nothing_can_be_written_views_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = phantom_store(tmp_path / "s", 1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert isinstance(open_views(store, ["s0"], Views(size=SIZE, cache=True)), StoreViews)


def test_a_cache_that_was_cut_short_says_so(tmp_path: Path) -> None:
    store = phantom_store(tmp_path / "s", 1)
    cached = opened(store)
    os.truncate(cached.folder / "masks.npy", 200)
    with pytest.raises(UserError, match="cut short"):
        cached[0]


@pytest.mark.parametrize("file", ["present.npy", "image.npy", "masks.npy", "done.json"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, file: str) -> None:
    store = phantom_store(tmp_path / "s", 1)
    expected = opened(store)[0]
    path = next((store.root / "cache").iterdir()) / file
    if file == "image.npy":
        path.write_bytes(b"nonsense")
    else:
        path.unlink()
    assert same(opened(store)[0], expected) and len(caches(store)) == 1


def test_absent_regions_take_no_room(tmp_path: Path) -> None:
    store = phantom_store(tmp_path / "s", 1)
    cached = opened(store, size=(64, 64, 32))
    stored = sum(path.stat().st_blocks * 512 for path in cached.folder.glob("*.npy"))
    one = 64 * 64 * 32 * 2
    assert stored <= (1 + 2 * len(cached[0].regions)) * one + 50_000
    assert np.load(cached.folder / "textures.npy", mmap_mode="r").shape == (1, 10, 64, 64, 32)
    assert json.loads((cached.folder / "done.json").read_text())["studies"] == ["s0"]
