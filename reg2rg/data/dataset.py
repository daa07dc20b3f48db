"""A store's studies as views, computed when asked for or kept on disk: what training and generation iterate over.

In: a `Store`, study ids, the recipe's `views`. Out: `StudyViews` of every region with content, in the order of `REGIONS`.
Both kinds of source hold no open file of a study and no voxels, so that processes that prepare batches can take them along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..anatomy import REGIONS
from ..contracts import StudyViews
from ..progress import Progress, silent
from ..recipe import Views
from ..shares import cores
from .cache import CachedViews, open_cache
from .store import Store
from .views import stored_views

__all__ = ["CachedViews", "StoreViews", "ViewSource", "open_views"]


class ViewSource(Protocol):
    """Views by position in `ids`."""

    ids: Sequence[str]

    def __getitem__(self, index: int) -> StudyViews: ...


class StoreViews:
    """Views cut from the store at each access; float32."""

    def __init__(self, store: Store, ids: Sequence[str], views: Views, geometry: bool) -> None:
        self.views, self.geometry = views, geometry
        self.ids: Sequence[str] = list(ids)
        self.paths: Sequence[Path] = [store.path(name) for name in ids]

    def __getitem__(self, index: int) -> StudyViews:
        return stored_views(self.paths[index], self.views, REGIONS, self.geometry)


def open_views(
    store: Store,
    ids: Sequence[str],
    views: Views,
    *,
    geometry: bool = True,
    workers: int | None = None,
    progress: Progress = silent,
) -> ViewSource:
    """Views of `ids`: from the store's cache, made now where it is missing, if the recipe asks for it; else computed.

    A store on a disk that can't be written is slower, not useless: its views are computed. Raises UserError where the disk
    has no room for the cache.
    """
    live = StoreViews(store, ids, views, geometry)
    if not views.cache or not ids:
        return live
    return open_cache(store.root / "cache", live, cores() if workers is None else workers, progress) or live
