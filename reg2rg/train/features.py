"""Feature cache: what the frozen part of the visual model says about each view, computed once and read ever after.

In: a model, the views of some studies and their store. Out: `Features`. Shards are written one after another, each whole or
not at all, so that a killed run goes on behind the last one; several processes share them, shard i going to rank i % world.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..anatomy import REGIONS
from ..contracts import StudyViews
from ..data.dataset import ViewSource
from ..data.store import Store
from ..errors import UserError
from ..model.composite import Reg2RGModel
from ..progress import Progress, silent
from ..recipe import Views
from .feature_folder import FACTS, FeatureCache
from .feature_key import made_from
from .feature_shards import ELSEWHERE, IMAGE, VIEWS, StoredFeatures, write_shard

PATIENCE = 3600.0  # seconds that processes wait for the next shard of another
APPEARING = 60.0  # seconds until machines see each other's files

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Processes:
    """Those that make a cache together: this one's `rank` among `world`; `wait` returns when all of them have called it."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], object] = lambda: None


ALONE = Processes()


def open_features(
    model: Reg2RGModel,
    source: ViewSource,
    store: Store,
    processes: Processes = ALONE,
    autocast: Autocast = contextlib.nullcontext,
    progress: Progress = silent,
) -> StoredFeatures:
    """The frozen features of `source`'s studies: from their cache, which is made or completed now where it isn't whole.

    The encoder runs where its weights lie, under `autocast` as in training. Raises UserError where the encoder isn't frozen,
    where the folder of `training.features` holds a cache of something else, and where the disk has no room.
    """
    recipe = model.recipe
    if not model.visual.frozen:
        hint = "Set volume_encoder.freeze=true or training.cache_features=false."
        raise UserError("features can be cached only while the volume encoder is frozen", fix=hint)
    encoder = _Encoder(model, autocast)
    cache = FeatureCache.locate(made_from(model, source, store), store, recipe.training.features, encoder.shape)
    shards = {n: shard for n in range(cache.count) if (shard := cache.read(n))}
    missing = [n for n in range(cache.count) if n not in shards]
    if processes.rank == 0:
        cache.claim(store, missing, progress)
    processes.wait()  # nobody writes before all have seen what is missing
    several = processes.world > 1
    _find(lambda: cache.facts() or None, cache.folder / FACTS, APPEARING * several)
    _fill(cache, encoder, source, [n for n in missing if n % processes.world == processes.rank], progress)
    for number in missing:
        shards[number] = _find(functools.partial(cache.read, number), cache.path(number), PATIENCE * several)
    processes.wait()
    if processes.rank == 0:
        cache.finish()
    every = [shards[n] for n in range(cache.count)]
    return StoredFeatures(every, cache.per, recipe.views.image, recipe.views.texture != "none")


def views_left(views: Views) -> Views:
    """What is still asked of a study whose features are cached: which regions it has, and their masks.

    Where views are kept on the disk, they are left as they are, for these are there already.
    """
    return views if views.cache else views.model_copy(update={"image": False, "texture": "none"})


def _find(look: Callable[[], T | None], path: Path, patience: float) -> T:
    """What `look` finds, which another process may only just have written: disks that machines share take their time."""
    end = time.monotonic() + patience
    while (found := look()) is None:
        if time.monotonic() >= end:
            hint = f"All processes must see the same folder: give one with {ELSEWHERE}."
            raise UserError("a part of the feature cache didn't appear", path, hint)
        time.sleep(0.2)
    return found


class _Encoder:
    """The frozen part of a model's visual side as a function of views; in eval mode, so that it draws no random numbers."""

    def __init__(self, model: Reg2RGModel, autocast: Autocast) -> None:
        spec = model.recipe.training
        self.visual, self.autocast, self.size = model.visual, autocast, model.recipe.views.size
        self.dtype: torch.dtype = getattr(torch, spec.feature_dtype)
        # as much as a training step without the cache would take through the encoder at once
        self.studies, self.chunk = spec.batch_size, spec.batch_size * VIEWS
        self.ahead = max(1, spec.workers)

    @torch.no_grad()
    def __call__(self, volumes: Tensor) -> Tensor:
        """(N, 1, H, W, D) → (N, T, f) on the CPU. Raises UserError for values that are, or become, infinite."""
        device = next(self.visual.volume_encoder.parameters()).device
        training, coded = self.visual.training, []
        self.visual.eval()
        try:
            for part in volumes.split(self.chunk):
                with self.autocast():
                    coded.append(self.visual.encode(part.to(device, torch.float32)).to(self.dtype).cpu())
        finally:
            self.visual.train(training)
        out = torch.cat(coded)
        if not out.isfinite().all():
            name = str(self.dtype).removeprefix("torch.")
            hint = "Check the encoder's weights." if name == "float32" else "Set training.feature_dtype=float32."
            raise UserError(f"the volume encoder gives values beyond the range of {name}", fix=hint)
        return out

    def shape(self) -> tuple[int, int]:
        """(T, f) of one view's features, found by encoding an empty one."""
        _, tokens, width = self(torch.zeros(1, 1, *self.size)).shape
        return tokens, width

    def shard(self, coming: Iterator[StudyViews], studies: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Features (rows, T, f) and index (studies, 11) of the next `studies` studies."""
        features = torch.empty(studies * VIEWS, *shape, dtype=self.dtype)
        index = torch.full((studies, VIEWS), -1, dtype=torch.int32)
        rows = 0
        for start in range(0, studies, self.studies):
            volumes = []
            for place, views in enumerate(itertools.islice(coming, min(self.studies, studies - start)), start):
                volumes += [views.image[None]] if views.image is not None else []
                volumes += [views.textures] if len(views.textures) else []
                columns = _columns(views)
                index[place, columns] = torch.arange(rows, rows + len(columns), dtype=torch.int32)
                rows += len(columns)
            if volumes:
                coded = self(torch.cat(volumes))
                features[rows - len(coded) : rows] = coded
        return features[:rows], index


def _columns(views: StudyViews) -> list[int]:
    """The columns of a shard's index that stand for the views of a study, in the order in which they are encoded."""
    textures = [1 + REGIONS.index(region) for region in views.regions] if len(views.textures) else []
    return [IMAGE] * (views.image is not None) + textures


def _fill(cache: FeatureCache, encoder: _Encoder, source: ViewSource, numbers: Sequence[int], progress: Progress) -> None:
    """Makes the shards `numbers`, one after another."""
    order = [index for number in numbers for index in cache.studies(number)]
    done = 0
    with contextlib.closing(_ahead(source, order, encoder.ahead)) as coming:
        for number in numbers:
            count = len(cache.studies(number))
            features, index = encoder.shard(coming, count, cache.shape)
            write_shard(cache.path(number), features, index, cache.key)
            done += count
            progress("Features", done, len(order))


def _ahead(source: ViewSource, order: Iterable[int], threads: int) -> Generator[StudyViews, None, None]:
    """The views of the studies `order`; the next ones are prepared while the encoder runs, one in each thread."""
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    waiting: collections.deque[concurrent.futures.Future[StudyViews]] = collections.deque()
    try:
        for index in order:
            waiting.append(pool.submit(source.__getitem__, index))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
