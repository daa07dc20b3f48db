"""Jobs in processes of their own: faults, crashes and deaths are sentences, progress arrives, none outlives its caller."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from reg2rg.bench.jobs import Job, run_jobs
from reg2rg.errors import UserError


def act(what: str, folder: Path, progress: Any) -> None:
    """What a job of the tests does, by a word."""
    (folder / f"{what}.pid").write_text(str(os.getpid()))
    progress("Act", 1, 1, what)
    if what == "fault":
        raise UserError("the row can't be trained", "recipe.yaml", "Mend it.")
    if what == "crash":
        raise ZeroDivisionError("by zero")
    if what == "death":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(7)
    if what == "long":
        time.sleep(60)


def test_every_job_ends_with_a_sentence(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    jobs = [Job(f"row {what}", act, (what, tmp_path)) for what in ("fine", "fault", "crash", "death", "exit")]
    ended = {e.job.name: e for e in run_jobs(jobs, 5, lambda stage, done, total, note="": said.append((stage, note)))}
    assert ended["row fine"].error == "" and ended["row fine"].peak_mib > 50
    assert ended["row fault"].error == str(UserError("the row can't be trained", "recipe.yaml", "Mend it."))
    assert ended["row crash"].error == "ZeroDivisionError: by zero"
    assert "SIGKILL" in ended["row death"].error and "memory" in ended["row death"].error
    assert ended["row exit"].error == "its process ended with code 7"
    assert ("row fine: Act", "fine") in said
    assert len({(tmp_path / f"{what}.pid").read_text() for what in ("fine", "fault", "crash", "death", "exit")}) == 5


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system tells a process's peak otherwise")
def test_a_peak_is_the_jobs_own(tmp_path: Path) -> None:
    """The system counts what the starting process held among the peak of the one that it starts."""
    ballast = bytearray(1 << 30)
    ballast[:: 1 << 12] = b"x" * (1 << 18)  # a byte in each page, or it would take no room
    [ended] = run_jobs([Job("fine", act, ("fine", tmp_path))], 1)
    assert 50 < ended.peak_mib < 900 and len(ballast) == 1 << 30


def test_who_stops_early_leaves_no_process(tmp_path: Path) -> None:
    running = run_jobs([Job("long", act, ("long", tmp_path)), Job("fine", act, ("fine", tmp_path))], 2)
    assert next(running).job.name == "fine"
    deadline = time.monotonic() + 30
    while not (tmp_path / "long.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "long.pid").read_text()), 0)
