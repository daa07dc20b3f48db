"""Studies over processes: `concurrent.futures` executors, local ones here, dask.distributed's in `cluster`.

Only a few studies are in flight at a time, so memory stays flat. When a worker dies (out of memory, signal 9), the studies
that were under way are tried again, each in a process that does nothing else, so that a death is its own; one that dies there
too is tried a last time with nothing beside it, then refused.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from ..errors import UserError
from ..shares import be_a_worker
from .study import Job, Outcome
from .tries import TRIES, Counted, Work, died

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip


def run_all(work: Work, jobs: Iterable[Job], workers: int, cluster: str = "") -> Generator[Outcome, None, None]:
    """The outcome of each job as it ends; `workers` 0 runs them in this process, `cluster` on a dask scheduler.

    `jobs` is taken from only as workers become free.
    """
    if cluster:
        from .cluster import on_cluster

        yield from on_cluster(Counted(work), iter(jobs), cluster)
    elif workers == 0:
        yield from map(work, jobs)
    else:
        with _one_thread():
            yield from _on_processes(Counted(work), iter(jobs), workers)


def _on_processes(work: Counted, jobs: Iterator[Job], workers: int) -> Iterator[Outcome]:
    waiting: deque[Job] = deque()
    in_vain = 0
    while True:
        begun: list[Job] = []
        with _pool(workers) as executor:
            for job, outcome in _windowed(executor, work, refilled(waiting, jobs), 2 * workers):
                if outcome is not None:
                    yield outcome
                elif work.tries(job):
                    begun.append(job)
                else:
                    waiting.append(job)
        if not begun and not waiting:
            return
        in_vain = 0 if begun else in_vain + 1
        if in_vain == TRIES:
            raise UserError("the worker processes die before they begin a study", fix=_GUARD)
        yield from _apart(work, begun, workers)


_GUARD = "In a script of your own, call preprocess under if __name__ == '__main__'; else try --workers 1."


def refilled(waiting: deque[Job], jobs: Iterator[Job]) -> Iterator[Job]:
    """Jobs that wait to be tried again, then new ones; ends when there is neither."""
    while (job := waiting.popleft() if waiting else next(jobs, None)) is not None:
        yield job


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
            outcome = _result(future)
            broken = broken or outcome is None
            yield job, outcome


def _result(future: Future[Outcome]) -> Outcome | None:
    """How a job ended, or None where a process died meanwhile."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def _apart(work: Work, jobs: list[Job], workers: int) -> Iterator[Outcome]:
    """The second try of each job side by side, the third one by one."""
    again = []
    for job, outcome in _lanes(work, jobs, workers):
        if outcome is None:
            again.append(job)
        else:
            yield outcome
    for job, outcome in _lanes(work, again, 1):
        yield outcome or died(job)


def _lanes(work: Work, jobs: list[Job], lanes: int) -> Iterator[tuple[Job, Outcome | None]]:
    """Each job in a process that has no other one at the time; with None where that process died."""
    waiting = iter(jobs)
    flying: dict[Future[Outcome], tuple[Job, Executor]] = {}
    with contextlib.ExitStack() as stack:
        idle: list[Executor] = [stack.enter_context(_pool(1)) for _ in jobs[:lanes]]
        while True:
            while idle and (job := next(waiting, None)) is not None:
                executor = idle.pop()
                try:
                    future = executor.submit(work, job)
                except BrokenProcessPool:  # killed while it had nothing to do
                    executor = stack.enter_context(_pool(1))
                    future = executor.submit(work, job)
                flying[future] = job, executor
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                job, executor = flying.pop(future)
                outcome = _result(future)
                idle.append(executor if outcome else stack.enter_context(_pool(1)))
                yield job, outcome


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes that is gone, work and all, when the block is left by an error."""
    executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=be_a_worker)
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
