"""Long jobs in processes of their own: one's crash, or death by the system, is a sentence and stops no other.

A process of its own also gives each job its true peak of memory. Those that run together share the cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..progress import Progress, silent
from ..shares import be_a_worker, cores

_EVERY = 0.2  # seconds between two words of progress from one job


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """`work(*arguments, progress)` under a name to show; both must be importable in a new process."""

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended: `error` is one sentence, "" where it succeeded; its seconds, and its peak of memory in MiB."""

    job: Job
    error: str
    seconds: float
    peak_mib: float
    trace: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    process: Any
    line: Connection
    began: float


def run_jobs(jobs: Sequence[Job], at_once: int, progress: Progress = silent) -> Generator[Ended, None, None]:
    """Each job as it ends, `at_once` of them together; what still runs is killed where the caller stops early."""
    waiting, running = list(reversed(jobs)), list[_Running]()
    threads = max(1, cores() // max(1, at_once))
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_start(waiting.pop(), threads))
            ready = wait_for([each.line for each in running])
            for each in [each for each in running if each.line in ready]:
                if (ended := _heard(each, progress)) is not None:
                    running.remove(each)
                    yield ended
    finally:
        for each in running:
            each.process.kill()
            each.process.join()


def _start(job: Job, threads: int) -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, threads, theirs))
    process.start()
    theirs.close()  # so that the child's death shows as the end of the line
    return _Running(job, process, ours, time.monotonic())


def _heard(each: _Running, progress: Progress) -> Ended | None:
    """Passes a word of progress on, or says how the job ended."""
    try:
        kind, *said = each.line.recv()
    except EOFError:
        kind, said = "died", []
    if kind == "progress":
        stage, done, total, note = said
        progress(f"{each.job.name}: {stage}", done, total, note)
        return None
    each.process.join()
    seconds = round(time.monotonic() - each.began, 1)
    if kind == "died":
        return Ended(each.job, _death(each.process.exitcode), seconds, 0.0)
    error, peak, trace = said
    return Ended(each.job, error, seconds, peak, trace)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the system does that where memory runs out)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with code {code}"


def _work(job: Job, threads: int, line: Connection) -> None:
    """In the job's process: works, tells of it, and says how it ended."""
    be_a_worker()
    error, trace = "", ""
    try:
        _use(threads)
        job.work(*job.arguments, _Teller(line))
    except UserError as fault:
        error = str(fault)
    except Exception as fault:  # a fault of one row, a plugin's too, must not take the others along
        error = f"{type(fault).__name__}: {str(fault).strip().splitlines()[0] if str(fault).strip() else 'no message'}"
        trace = traceback.format_exc() if os.environ.get("REG2RG_DEBUG") else ""
    line.send(("ended", error, peak_mib(), trace))
    line.close()


def _use(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def peak_mib() -> float:
    """This process's peak of resident memory in MiB, 0 where the system doesn't tell; on a GPU, the GPU's peak if larger."""
    import torch

    on_gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return round(max(on_gpu, _resident_mib()), 1)


def _resident_mib() -> float:
    with contextlib.suppress(OSError):  # Linux; getrusage would count what the starting process held
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class _Teller:
    """Progress through the pipe, a few words a second."""

    def __init__(self, line: Connection) -> None:
        self._line, self._said = line, 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self._said >= _EVERY or done == total:
            self._said = time.monotonic()
            self._line.send(("progress", stage, done, total, note))
