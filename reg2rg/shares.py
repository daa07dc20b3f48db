"""How work is shared out: over threads, over this machine's cores, and over the jobs of an array."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from .errors import EXIT_USAGE, UserError

T = TypeVar("T")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(work: Callable[[T], object], items: Iterable[T], threads: int) -> None:
    """Calls `work` with each item, in `threads` threads or, for 1, in this one; raises the first error."""
    if threads <= 1:
        for item in items:
            work(item)
        return
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, items):
            pass


def be_a_worker() -> None:
    """In a spawned process: Ctrl-C is the parent's to handle, and a worker whose parent is killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    import multiprocessing
    from multiprocessing.connection import wait

    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def share(items: Sequence[T], shard: str) -> list[T]:
    """Part I of N of `items`, with `shard` as `I/N` from 1/N to N/N; all where it is empty. Raises UserError otherwise."""
    if not shard:
        return list(items)
    first, _, count = shard.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UserError(f"'{shard}' is no shard", "--shard", "Write I/N from 1/N to N/N, e.g. 3/16.", EXIT_USAGE)
    return list(items[int(first) - 1 :: int(count)])
