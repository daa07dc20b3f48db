"""How work is shared out: over this machine's cores, and over the jobs of an array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from .errors import EXIT_USAGE, UserError

T = TypeVar("T")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(items: Sequence[T], shard: str) -> list[T]:
    """Part I of N of `items`, with `shard` as `I/N` from 1/N to N/N; all where it is empty. Raises UserError otherwise."""
    if not shard:
        return list(items)
    first, _, count = shard.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UserError(f"'{shard}' is no shard", "--shard", "Write I/N from 1/N to N/N, e.g. 3/16.", EXIT_USAGE)
    return list(items[int(first) - 1 :: int(count)])
