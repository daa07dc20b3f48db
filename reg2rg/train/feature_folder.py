"""A feature cache's folder: whose it is, which shards it has, what it will take, and what is swept from it.

`features.json` says what the cache is made from. A cache in the store carries its key in its name, and the store keeps those
used last; one in a folder of the user's own is refused where it was made from something else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.store import Store, open_study
from ..errors import UserError
from ..files import nearest, write_text
from ..progress import Progress
from .feature_key import FORMAT, differences, key_of
from .feature_shards import ELSEWHERE, VIEWS, Shard, read_shard, unwritable

FACTS = "features.json"
SHARD_BYTES, SHARD_STUDIES = 256 << 20, 64  # a shard holds no more than either
KEPT = 3  # caches of a store
LEFT_OVER = 3600.0  # seconds after which an unfinished file belongs to a run that was killed


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureCache:
    """A cache's folder: shards of `per` studies each, `shape` (T, f) of one view's features, `parts` it is made from."""

    folder: Path
    parts: dict[str, Any]
    key: str
    shape: tuple[int, int]
    per: int
    own: bool  # in the store, not where the user said

    @classmethod
    def locate(
        cls, parts: dict[str, Any], store: Store, chosen: str | None, shape: Callable[[], tuple[int, int]]
    ) -> FeatureCache:
        """The cache made from `parts`, there or not: in the store, or in the `chosen` folder. `shape` is asked where it isn't.

        Raises UserError where the chosen folder holds another cache.
        """
        key = key_of(parts)
        folder = Path(chosen).expanduser() if chosen else store.root / "cache" / f"features-{key}"
        facts = _read(folder / FACTS)
        if facts and facts["key"] != key:
            what = f"the feature cache was made {differences(facts['from'], parts)}"
            raise UserError(what, folder, f"Give another folder with {ELSEWHERE}, or remove this one.")
        tokens, width = facts["shape"] if facts else shape()
        size = VIEWS * tokens * width * getattr(torch, parts["dtype"]).itemsize
        per = facts["per"] if facts else max(1, min(SHARD_STUDIES, SHARD_BYTES // size))
        return cls(folder, parts, key, (tokens, width), per, own=not chosen)

    @property
    def count(self) -> int:
        """The number of shards."""
        return -(-len(self.parts["studies"]) // self.per)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"features-{number:05d}.safetensors"

    def studies(self, number: int) -> range:
        """The studies of a shard, by position."""
        return range(number * self.per, min((number + 1) * self.per, len(self.parts["studies"])))

    def read(self, number: int) -> Shard | None:
        """A shard, or None where it isn't made yet."""
        return read_shard(self.path(number), self.key, len(self.studies(number)))

    def facts(self) -> dict[str, Any]:
        """What `features.json` says; nothing where it isn't there or is another cache's."""
        facts = _read(self.folder / FACTS)
        return facts if facts.get("key") == self.key else {}

    def claim(self, store: Store, missing: Sequence[int], progress: Progress) -> None:
        """Makes the folder this cache's, if shards are missing: sweeps, tells the size, refuses a disk without room."""
        if self.own:
            _sweep(self.folder)
        if not missing and self.facts():
            return
        try:
            _sweep_leftovers(self.folder)
            needed = self._bytes(store, missing)
            self._check_room(needed)
            studies = sum(len(self.studies(n)) for n in missing)
            progress("Features", 0, studies, f"{studies:,} studies, up to {_size(needed)} in {self.parts['dtype']}")
            self._write(done=False)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _bytes(self, store: Store, missing: Sequence[int]) -> int:
        """What the missing shards take at most: a region that is given may still be empty."""
        views, ids = self.parts["views"], list(self.parts["studies"])
        rows = 0
        for name in (ids[i] for n in missing for i in self.studies(n)):
            rows += int(views["image"])
            if views["texture"] != "none":
                with open_study(store.path(name)) as file:
                    rows += len(file.attrs["regions_given"])
        return rows * self.shape[0] * self.shape[1] * getattr(torch, self.parts["dtype"]).itemsize

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(nearest(self.folder)).free
        if needed > free:
            what = f"the features need up to {_size(needed)}, and the disk has {_size(free)} left"
            half = "" if self.parts["dtype"] == "float16" else "halve them with --set training.feature_dtype=float16, "
            raise UserError(what, self.folder, f"Make room, {half}or put them elsewhere with {ELSEWHERE}.")

    def finish(self) -> None:
        """Says in `features.json` that all shards are there, and marks the cache as just used."""
        try:
            if not self.facts().get("done"):
                self._write(done=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        with contextlib.suppress(OSError):  # a cache on a read-only disk is as good
            os.utime(self.folder / FACTS)

    def _write(self, done: bool) -> None:
        facts = {"format": FORMAT, "key": self.key, "done": done, "shape": self.shape, "per": self.per, "from": self.parts}
        write_text(self.folder / FACTS, json.dumps(facts, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """`features.json`, or nothing where there is none."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            hint = f"Remove that folder, or give another with {ELSEWHERE}."
            raise UserError(f"the feature cache has format {facts['format']}, this reg2rg reads {FORMAT}", path, hint)
        return {name: facts[name] for name in ("key", "done", "shape", "per", "from")}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("the feature cache's description can't be read", path, "Remove that folder.") from error


def _sweep(folder: Path) -> None:
    """Of the other caches beside `folder`, keeps those used last."""
    used = {}
    for other in folder.parent.glob("features-*"):
        with contextlib.suppress(OSError):
            used[other] = (other / FACTS if (other / FACTS).exists() else other).stat().st_mtime
    used.pop(folder, None)
    for old in sorted(used, key=lambda other: used[other], reverse=True)[KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def _sweep_leftovers(folder: Path) -> None:
    """Removes the unfinished files of killed runs; a young one may be that of a run beside this."""
    for path in [*folder.glob(".features*.tmp"), *folder.glob(".tmp*")]:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_OVER:
                path.unlink()


def _size(count: float) -> str:
    """Bytes for people: 21.6 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
