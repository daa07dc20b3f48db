"""Shards of a feature cache: the features of some studies in one safetensors file, written whole or not at all.

    features   (rows, T, f) float32 or float16: study after study, its global view first, then its regions in `REGIONS`' order
    index      (studies, 11) int32: the row of the global view, then of each region; -1 where there is none
    metadata   `key`: the cache that the shard belongs to

A reading takes its own rows from the file and nothing else: no shard is ever in memory, and no file stays open.
"""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..anatomy import REGIONS
from ..errors import UserError
from ..files import atomic_file

VIEWS = 1 + len(REGIONS)  # of one study: the global view and the regions
IMAGE = 0  # the global view's column in `index`
ELSEWHERE = "--set training.features=FOLDER"
DTYPES = {"F32": "float32", "F16": "float16"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One shard's place on the disk: `start` is the byte where `features` of `shape` begin; `index` is in memory."""

    path: Path
    start: int
    dtype: str
    shape: tuple[int, int, int]
    index: np.ndarray

    def rows(self, rows: Sequence[int]) -> Tensor:
        """(n, T, f) of the given rows, read from the file. Raises UserError where it is gone or cut short."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        size = int(np.prod(self.shape[1:])) * out.itemsize
        try:
            with self.path.open("rb") as file:
                for place, row in enumerate(rows):
                    file.seek(self.start + row * size)
                    if file.readinto(memoryview(out[place]).cast("B")) != size:
                        raise EOFError("the file ends too early")
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            hint = "Go on with --resume: what is missing is computed again."
            raise UserError(f"the feature cache can't be read ({reason})", self.path, hint) from error
        return torch.from_numpy(out)


class StoredFeatures:
    """`Features` of N studies in shards of `per` studies each; can be sent to the processes that prepare batches."""

    def __init__(self, shards: Sequence[Shard], per: int, image: bool, textures: bool) -> None:
        self.shards, self.per = tuple(shards), per
        self._image, self._textures = image, textures

    def image(self, index: int) -> Tensor | None:
        """See `Features`."""
        return self._rows(index, [IMAGE])[0] if self._image else None

    def textures(self, index: int, places: Sequence[int]) -> Tensor | None:
        """See `Features`."""
        return self._rows(index, [1 + place for place in places]) if self._textures else None

    def _rows(self, index: int, columns: Sequence[int]) -> Tensor:
        number, place = divmod(index, self.per)
        shard = self.shards[number]
        rows = [int(shard.index[place, column]) for column in columns]
        if min(rows, default=0) < 0:
            raise UserError(f"the feature cache lacks a view of study {place}", shard.path, "Remove that file and start again.")
        return shard.rows(rows)


def write_shard(path: Path, features: Tensor, index: Tensor, key: str) -> None:
    """Writes one shard atomically. Raises UserError where the disk is full or the folder can't be written."""
    try:
        with atomic_file(path) as temporary:
            save_file({"features": features, "index": index}, temporary, metadata={"key": key})
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: Exception) -> UserError:
    """The sentence for a cache that can't be written, with the system's reason (safetensors hides it in its own)."""
    inner = re.search(r"I/O error: (.*?) \(os error", str(error))
    reason = inner[1] if inner else getattr(error, "strerror", None) or str(error)
    hint = f"Choose another place with {ELSEWHERE}, or make room: finished shards are kept."
    return UserError(f"the feature cache can't be written ({reason})", path, hint)


def read_shard(path: Path, key: str, studies: int) -> Shard | None:
    """The shard at `path`, or None where there is none of cache `key` with so many studies, or it isn't whole."""
    try:
        with path.open("rb") as file:
            header, start = _header(file)
            features, index = header["features"], header["index"]
            if header["__metadata__"]["key"] != key or index["shape"] != [studies, VIEWS]:
                return None
            if path.stat().st_size != start + max(features["data_offsets"][1], index["data_offsets"][1]):
                return None
            file.seek(start + index["data_offsets"][0])
            rows = np.frombuffer(file.read(4 * studies * VIEWS), "<i4").reshape(studies, VIEWS)
        begin = start + features["data_offsets"][0]
        return Shard(path, begin, DTYPES[features["dtype"]], tuple(features["shape"]), rows)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _header(file: Any) -> tuple[dict[str, Any], int]:
    """A safetensors file's header, and the byte where its data begin."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > 1 << 20:
        raise ValueError("the header is longer than any of ours")
    return json.loads(file.read(length)), 8 + length
