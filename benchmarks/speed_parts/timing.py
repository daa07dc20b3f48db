"""Timing and memory of one process: ours and the limit in turn, so that both meet the same machine."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a worker runs: `quick` shrinks the workload (tests), `plain` also times the plain way, `folder` is scratch space."""

    quick: bool
    plain: bool
    folder: Path
    runs: int = 5


def seconds(work: Callable[[], object]) -> float:
    """One run's wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reset_peak() -> None:
    """Forgets the peak so far, where the kernel lets a process do so (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """This process's peak resident memory in MiB."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def measure(ours: Callable[[], object], limit: Callable[[], object], runs: int, **others: Callable[[], object]) -> Row:
    """A row's figures: medians over `runs` after a warm-up, ours, the limit and `others` in turn.

    The peak is that of our warm-up, before the limit has used any memory. `ratio` is the median of each run's ours / limit;
    `best_…` are the shortest times, which other programs on the machine disturb least.
    """
    reset_peak()
    ours()
    peak = peak_mib()
    works = {"ours": ours, "limit": limit, **others}
    for work in (limit, *others.values()):
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            times[name].append(seconds(work))
    row: Row = {
        "seconds": statistics.median(times["ours"]),
        "limit_seconds": statistics.median(times["limit"]),
        "peak_mib": round(peak, 1),
        "ratio": statistics.median(a / b for a, b in zip(times["ours"], times["limit"], strict=True)),
        "best_seconds": min(times["ours"]),
        "best_limit_seconds": min(times["limit"]),
    }
    for name in others:
        row |= {f"{name}_seconds": statistics.median(times[name]), f"best_{name}_seconds": min(times[name])}
    return row


def against(row: Row, plain: Callable[[], object], runs: int = 1) -> Row:
    """The row with the plain way timed beside it: after one warm-up the median of `runs`, and how many times faster ours is."""
    plain()
    taken = statistics.median(seconds(plain) for _ in range(runs))
    return {**row, "plain_seconds": taken, "times_faster": taken / row["seconds"]}
