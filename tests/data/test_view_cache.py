"""Views of a store: the cache gives what live computing gives, and follows the studies' files."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from training import Small

from reg2rg import recipe
from reg2rg.data.dataset import CachedViews, StoreViews, open_views
from reg2rg.data.store import Store

TINY = recipe.load("tiny").views


def test_cached_views_equal_live_ones(small: Small, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(small.store, root, ignore=shutil.ignore_patterns("cache"))
    store = Store(root)
    ids = store.ids()[:4]
    cached = open_views(store, ids, TINY)
    assert isinstance(cached, CachedViews)
    live = StoreViews(store, ids, TINY, geometry=True)
    for i in range(len(ids)):
        a, b = cached[i], live[i]
        assert a.regions == b.regions and a.image is not None and b.image is not None
        for x, y in ((a.image, b.image), (a.textures, b.textures), (a.masks, b.masks)):
            assert torch.allclose(x.float(), y, atol=1e-3)


def test_a_changed_study_makes_a_new_cache(small: Small, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(small.store, root, ignore=shutil.ignore_patterns("cache"))
    ids = Store(root).ids()[:2]
    open_views(Store(root), ids, TINY)
    first, second = (root / "studies" / f"{i}.h5" for i in ids)
    shutil.copyfile(second, first)
    changed = open_views(Store(root), ids, TINY)
    assert torch.equal(changed[0].textures, changed[1].textures)
    assert len(list((root / "cache").iterdir())) == 2
