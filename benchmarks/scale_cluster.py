"""A dask scheduler and workers on this machine, as `--cluster` wants them: started by dask's own programs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


class Cluster:
    """A running scheduler (`address`) with workers of one thread, each minded by a nanny that starts a killed one anew."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._env = {**os.environ, **(env or {})}
        self._file = folder / "scheduler.json"
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(self._file),
        )  # fmt: skip
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """The scheduler's address, as soon as it has one."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                return str(json.loads(self._file.read_text())["address"])
            time.sleep(0.05)
        raise TimeoutError("the dask scheduler didn't start")

    def add_worker(self, **env: str) -> subprocess.Popen[bytes]:
        """Starts one more worker; it has joined when `pids` shows it."""
        worker = self._start(
            "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard",
            "--memory-limit", "0", "--local-directory", str(self.folder), env=env,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def pids(self, count: int) -> list[int]:
        """The workers' process numbers, as soon as there are `count` workers."""
        from distributed import Client

        with Client(self.address, timeout="60s", set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)
            return sorted(client.run(os.getpid).values())

    def close(self) -> None:
        """Ends all processes: without their scheduler, workers and nannies end by themselves at once."""
        for process in [self.scheduler, *self.workers]:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()

    def _start(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        command, env = [sys.executable, "-m", module, *arguments], {**self._env, **(env or {})}
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.folder)


@contextlib.contextmanager
def cluster(folder: Path, workers: int, env: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A scheduler with `workers` workers that have joined; all of it is gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Cluster(folder, env)
    try:
        for _ in range(workers):
            made.add_worker()
        if workers:
            made.pids(workers)  # waits for them
        yield made
    finally:
        made.close()
