"""How often a study is tried again after its worker died, and what a worker's death does to the studies beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from reg2rg.ct import Scan
from reg2rg.data.layouts import Source
from reg2rg.errors import UserError
from reg2rg.preprocess import Outcome, Settings
from reg2rg.preprocess.pool import run_all
from reg2rg.preprocess.study import Job
from reg2rg.preprocess.tries import TRIES, Counted


def jobs(folder: Path, *names: str) -> list[Job]:
    return [Job(Source(n, Scan(n, (folder / n,), "image")), folder / f"{n}.h5", Settings("dense")) for n in names]


def deadly(job: Job) -> Outcome:
    """Writes down each beginning; "bad" kills its process each time, "weak" the first time, "frail" twice."""
    log = job.path.with_suffix(".log")
    with log.open("a") as file:
        file.write("x")
    if log.stat().st_size <= {"bad": 99, "weak": 1, "frail": 2}.get(job.source.id.rstrip("0123456789"), 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(job.source.id, "done")


def begun(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in folder.glob("*.log")}


def test_a_study_is_tried_three_times_in_all(tmp_path: Path) -> None:
    names = ["a", "bad1", "weak", "b", "frail", "bad2", "c"]
    ended = list(run_all(deadly, jobs(tmp_path, *names), 2))
    assert sorted(o.id for o in ended) == sorted(names), "each study ends once"
    refused = [o for o in ended if o.status == "refused"]
    assert {o.id for o in refused} == {"bad1", "bad2"} and all("died 3 times" in o.error for o in refused)
    tries = begun(tmp_path)
    assert (tries["bad1"], tries["bad2"]) == (TRIES, TRIES)
    assert tries["frail"] == 3 and max(tries[n] for n in "abc") <= 2


def test_marks_count_what_was_begun_and_not_ended(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, "s")
    work = Counted(lambda job: Outcome(job.source.id, f"begun {work.tries(job)}"))
    assert work(job).status == "begun 1" and work.tries(job) == 0
    mark = work._mark(job)
    mark.write_bytes(b"xx")
    assert work(job).status == "begun 3" and list(tmp_path.iterdir()) == []
    mark.write_bytes(b"xxx")
    for _ in range(2):  # the first answer may get lost
        assert (work(job).status, work(job).stage) == ("refused", "run")
    another_run = Counted(work.work)
    assert another_run.tries(job) == 0


def test_an_error_of_the_whole_run_leaves_no_mark(tmp_path: Path) -> None:
    def full(job: Job) -> Outcome:
        raise UserError("nothing more can be written")

    with pytest.raises(UserError):
        Counted(full)(jobs(tmp_path, "s")[0])
    assert list(tmp_path.iterdir()) == []


class Unreadable:
    """Work that ends a worker process before it begins, as a script without a main guard does."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)

    def __call__(self, job: Job) -> Outcome:
        raise AssertionError


def test_processes_that_never_begin_end_the_run_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="die before they begin a study"):
        list(run_all(Unreadable(), jobs(tmp_path, "a", "b", "c"), 2))


def test_jobs_are_taken_only_as_workers_become_free(tmp_path: Path) -> None:
    taken: list[str] = []

    def given() -> object:
        for job in jobs(tmp_path, *(f"s{i}" for i in range(40))):
            taken.append(job.source.id)
            yield job

    running = run_all(deadly, given(), 2)  # type: ignore[arg-type]
    next(running)
    assert len(taken) <= 5
    running.close()
