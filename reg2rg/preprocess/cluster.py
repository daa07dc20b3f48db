"""Studies over a running dask.distributed scheduler, whose futures are those of `concurrent.futures`.

The scheduler itself sends the work of a dead worker to another one, as often as its `allowed-failures` say; how often a study
was begun is counted here (`tries`), so that a study is refused after as many deaths as on local processes. Workers may come
and go. Every machine needs the same paths, the same reg2rg and the same plugins; a worker where that isn't so ends the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

from .. import __version__
from ..errors import UserError
from .pool import refilled
from .study import Job, Outcome, fingerprint, run_job
from .tries import TRIES, Counted, died

# seconds: how often the workers are counted, how long a run goes on without one, and how long a scheduler may take to answer
BEAT, PATIENCE, CONNECT = 2.0, 120.0, 20.0
_START = "Start one with: dask scheduler, and workers with: dask worker ADDRESS --nthreads 1"
_SAME = "Install the same Python, reg2rg and plugins on every machine, and start the workers anew."
_RESUME = "run the same command again: it goes on where it stopped"


@dataclasses.dataclass(frozen=True, slots=True)
class Elsewhere:
    """`run_job` on another machine, where that sees the store and makes studies as the run wants (`expected`)."""

    expected: str

    def __call__(self, job: Job) -> Outcome:
        host = socket.gethostname()
        if not job.path.parent.is_dir():
            fix = "The data set's and the store's folders need the same paths on every machine."
            raise UserError(f"the worker on {host} doesn't see the store's folder", job.path.parent, fix)
        if fingerprint(job.settings) != self.expected:
            raise UserError(f"the worker on {host} has another version of reg2rg or of the segmenter", fix=_SAME)
        return run_job(job)


def on_cluster(work: Counted, jobs: Iterator[Job], address: str) -> Iterator[Outcome]:
    """The outcome of each job as it ends, two a thread of the cluster in flight.

    Raises UserError where there is no scheduler, where it is lost, where it has no worker for `PATIENCE` seconds, or where a
    worker can't do the work.
    """
    with _connected(address) as client:
        crew = _Crew(client, address)
        waiting: deque[Job] = deque()
        flying: dict[Any, Job] = {}
        killed: Counter[str] = Counter()
        while True:
            window = crew.window()
            while (job := next(refilled(waiting, jobs), None)) is not None:
                if len(flying) >= window:
                    waiting.appendleft(job)
                    break
                flying[client.submit(work, job, pure=False)] = job
            if not flying and not waiting:
                return
            for future, outcome in _ended(flying, address):
                job = flying.pop(future)
                if outcome:
                    yield outcome
                    continue
                killed[job.source.id] += 1
                # a study beside the culprit is given up as well, each time that the scheduler has lost patience
                if work.tries(job) >= TRIES or killed[job.source.id] >= 3 * TRIES:
                    yield died(job)
                else:
                    waiting.append(job)


def version() -> str:
    """Asked of each worker: which reg2rg it has."""
    return __version__


class _Crew:
    """The workers of a scheduler, looked at anew now and then."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._window, self._counted, self._seen = 0, -BEAT, time.monotonic()
        self._known: set[str] = set()

    def window(self) -> int:
        """How many studies may be in flight; none before there is a worker that has said which reg2rg it has."""
        now = time.monotonic()
        if now - self._counted < BEAT:
            return self._window
        self._counted, threads = now, self._threads()
        if threads:
            self._window, self._seen = 2 * threads, now
        elif now - self._seen > PATIENCE:
            fix = (
                f"Start some with: dask worker {self._address} --nthreads 1, and {_RESUME}. If they end at once, see their log."
            )
            raise UserError(f"the dask scheduler has had no worker for {PATIENCE:.0f} seconds", self._address, fix)
        return self._window

    def _threads(self) -> int:
        """The threads of all workers; the new ones are asked for their reg2rg, since work of another one would end them."""
        try:
            workers = dict(self._client.nthreads())
            new = set(workers) - self._known
            answers = self._client.run(version, workers=sorted(new), on_error="return") if new else {}
        except Exception as error:  # whatever a broken connection raises
            raise _lost(self._address) from error
        for worker, answer in answers.items():
            if isinstance(answer, Exception) and not isinstance(answer, OSError):  # that one is gone again
                raise _unfit(worker, answer)
            if isinstance(answer, str) and answer != __version__:
                raise UserError(f"a cluster worker has reg2rg {answer}, this is {__version__}", worker, _SAME)
        self._known = set(workers)
        return sum(workers.values())


def _ended(flying: Mapping[Any, Job], address: str) -> list[tuple[Any, Outcome | None]]:
    """The futures that have ended, after at most a beat, with their outcome or None where the scheduler gave them up.

    Asked here one by one: dask's own executor never ends the future of a result that was lost with its worker.
    """
    from distributed import KilledWorker, wait

    if not flying:  # there is no worker yet
        time.sleep(BEAT)
        return []
    with contextlib.suppress(TimeoutError, CancelledError):
        wait(list(flying), timeout=BEAT, return_when="FIRST_COMPLETED")
    found: list[tuple[Any, Outcome | None]] = []
    for future in [future for future in flying if future.done()]:
        try:
            found.append((future, future.result(timeout=BEAT)))
        except KilledWorker:
            found.append((future, None))
        except TimeoutError:
            continue  # lost with its worker: the scheduler has it made again
        except (CancelledError, OSError) as error:
            raise _lost(address) from error
        except UserError:
            raise
        except Exception as error:  # `work` raises nothing else: it never began, for want of a module or of another version
            raise _unfit(address, error) from error
    return found


def _unfit(where: str, error: Exception) -> UserError:
    line = (str(error).splitlines() or [""])[0]
    said = line if type(error) is Exception else f"{type(error).__name__}: {line}"  # dask wraps some that it can't send
    return UserError(f"a cluster worker can't run reg2rg ({said})", where, _SAME)


def _lost(address: str) -> UserError:
    return UserError("the connection to the dask scheduler is lost", address, f"Start it if it is gone, then {_RESUME}.")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client whose own log is silent, since this module says what concerns the user."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            "--cluster needs dask.distributed, which isn't installed", fix="Run: pip install distributed"
        ) from error
    with _silent("distributed.client", "distributed.core"):
        try:
            client: Any = Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError("no dask scheduler answers there", address, _START) from error
        with client, client.as_current():
            yield client


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
