"""Studies over processes: `concurrent.futures` executors, local or dask.distributed's; no scheduler of our own.

Only a few studies are in flight at a time, so memory stays flat. When a worker dies (out of memory, signal 9), the studies
that were in flight are tried again one by one in a fresh process, and the one that kills it again is refused.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from ..errors import UserError
from .study import Job, Outcome

# how often a study is tried again after its worker died
RETRIES = 2
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip

Work = Callable[[Job], Outcome]


def run_all(work: Work, jobs: Iterable[Job], workers: int, cluster: str = "") -> Generator[Outcome, None, None]:
    """The outcome of each job as it ends; `workers` 0 runs them in this process, `cluster` on a dask scheduler."""
    if cluster:
        yield from _on_cluster(work, jobs, cluster)
    elif workers == 0:
        yield from map(work, jobs)
    else:
        yield from _on_processes(work, iter(jobs), workers)


def _on_processes(work: Work, jobs: Iterator[Job], workers: int) -> Iterator[Outcome]:
    with _one_thread():
        while True:
            suspects: list[Job] = []
            with _pool(workers) as executor:
                for job, outcome in _windowed(executor, work, jobs, 2 * workers):
                    if outcome is None:
                        suspects.append(job)
                    else:
                        yield outcome
            if not suspects:
                return
            yield from _one_by_one(work, suspects)


def _windowed(executor: Executor, work: Work, jobs: Iterator[Job], window: int) -> Iterator[tuple[Job, Outcome | None]]:
    """Each job with its outcome, `window` at a time; after a worker's death the jobs in flight come with None."""
    flying: dict[Future[Outcome], Job] = {}
    broken = False
    while True:
        while not broken and len(flying) < window and (job := next(jobs, None)) is not None:
            try:
                flying[executor.submit(work, job)] = job
            except BrokenProcessPool:
                broken = True
                yield job, None
        if not flying:
            return
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            job = flying.pop(future)
            try:
                yield job, future.result()
            except BrokenProcessPool:
                broken = True
                yield job, None


def _one_by_one(work: Work, jobs: list[Job]) -> Iterator[Outcome]:
    """Each job alone in a process, tried up to `RETRIES` times after it was in flight at a death."""
    deaths = 0
    while jobs:
        with _pool(1) as executor:
            while jobs:
                try:
                    outcome = executor.submit(work, jobs[0]).result()
                except BrokenProcessPool:
                    deaths += 1
                    if deaths < RETRIES:
                        break
                    outcome = _died(jobs[0], deaths + 1)
                yield outcome
                jobs, deaths = jobs[1:], 0
                if outcome.stage == "run":
                    break


def _died(job: Job, times: int) -> Outcome:
    hint = "It may need more memory than there is: use fewer --workers or a machine with more memory."
    return Outcome(job.source.id, "refused", "run", f"its worker process died {times} times", hint)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes that is gone, work and all, when the block is left by an error."""
    executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start)
    try:
        yield executor
    except BaseException:
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
            process.join()
        raise
    executor.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """In each worker: Ctrl-C is the parent's to handle, and a worker whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        wait_for([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started inside use one thread each: their number is what keeps the cores busy."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _on_cluster(work: Work, jobs: Iterable[Job], address: str) -> Iterator[Outcome]:
    """Over a running dask scheduler, which itself moves the work of workers that die."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            "--cluster needs dask.distributed, which isn't installed", fix="Run: pip install distributed"
        ) from error
    try:
        client: Any = Client(address, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            "no dask scheduler answers there", address, "Start one with: dask scheduler, and workers with: dask worker ADDRESS"
        ) from error
    with client:
        window = 2 * max(1, sum(client.nthreads().values()))
        for job, outcome in _windowed_cluster(client.get_executor(pure=False), work, iter(jobs), window):
            yield outcome or Outcome(job.source.id, "refused", "run", "its cluster worker died", "Run the same command again.")


def _windowed_cluster(executor: Any, work: Work, jobs: Iterator[Job], window: int) -> Iterator[tuple[Job, Outcome | None]]:
    from distributed import KilledWorker

    flying: dict[Any, Job] = {}
    while True:
        while len(flying) < window and (job := next(jobs, None)) is not None:
            flying[executor.submit(work, job)] = job
        if not flying:
            return
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            job = flying.pop(future)
            try:
                yield job, future.result()
            except KilledWorker:
                yield job, None
