"""Batches in the order of `order`, prepared in the training process or in `workers` processes beside it.

A batch follows from its `Work` alone, so their number changes nothing. A worker reads one study after another and holds one
finished batch; a study that can't be read ends the run with its own sentence, not with a worker's traceback.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..errors import UserError
from ..model.batch import Batch, collate
from ..model.samples import Samples
from .order import Work


class Batches(Dataset[Batch | UserError]):
    """Batch by `Work`: padded with `pad`, regions shuffled by (`seed`, epoch, study)."""

    def __init__(self, samples: Samples, pad: int, seed: int) -> None:
        self.samples, self.pad, self.seed = samples, pad, seed

    def __getitem__(self, work: Work) -> Batch | UserError:
        try:
            batch = collate([self.samples.training(i, self.seed, work.epoch) for i in work.studies], self.pad)
            return batch if get_worker_info() is None else _shared(batch)
        except UserError as error:
            return error  # raised by `load`: through the loader it would come with a traceback for a message


def _shared(batch: Batch) -> Batch:
    """Here and not by the loader, which would wait for ever for a batch that found no room."""
    try:
        return batch.share_memory()
    except RuntimeError as error:
        fix = "Enlarge /dev/shm (for a container: --shm-size=8g), or set training.workers=0."
        raise UserError(f"a batch finds no room in shared memory ({str(error).splitlines()[0]})", fix=fix) from error


class Works:
    """A sampler: the passes of one process, made as they are asked for."""

    def __init__(self, works: Iterable[Work]) -> None:
        self.works = works

    def __iter__(self) -> Iterator[Work]:
        return iter(self.works)


def load(batches: Batches, works: Iterable[Work], workers: int, pin: bool = False) -> Iterator[Batch]:
    """The batches of `works`, in order. Raises UserError for a study that can't be read."""
    if workers:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads don't survive the fork
    loader: Any = DataLoader(
        batches,
        batch_size=None,
        sampler=Works(works),
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        pin_memory=pin,
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


@contextlib.contextmanager
def workers_watched() -> Iterator[None]:
    """Turns the death of a worker, which torch raises wherever the training is at that moment, into a user's error."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise again while this is told
        raise UserError(
            "a process that prepares batches died, perhaps for want of memory",
            fix="Go on with --resume, and with fewer of them: --set training.workers=0.",
        ) from error


def seed_pass(seed: int, work: Work) -> None:
    """Sets torch's randomness (dropout) for one pass from what it works on: the same after a resume, in any world."""
    text = "/".join(map(str, (seed, work.epoch, *work.studies)))
    torch.manual_seed(random.Random(text).getrandbits(63))
