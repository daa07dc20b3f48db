"""Temporary files: what was added is read, by threads and forked processes too; a fault of the disk is one sentence."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate import evaluate, regional, scratch, statistics
from reg2rg.evaluate.scratch import Scratch
from reg2rg.evaluate.shelf import Shelf

Write = Callable[[int, memoryview, int], int]


def full_after(room: int) -> Write:
    """A disk that takes `room` bytes, the last of them in part, and then no more."""
    left, write = [room], os.pwrite

    def written(file: int, data: memoryview, at: int) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = write(file, data[: left[0]], at)
        left[0] -= count
        return count

    return written


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_bytes_are_read_where_they_were_added(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(scratch, "_PENDING", size)
    kept, said = Scratch("the texts"), b""
    for i in range(60):
        data = bytes([i]) * (i * 7 % 40)
        kept.add(memoryview(data) if i % 2 else data)
        said += data
        assert kept.read(i % 5, max(0, len(said) - i % 5)) == said[i % 5 :]
    assert kept.read(3, 0) == b""


def test_writes_in_parts_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:7], at))
    kept = Scratch("the texts")
    kept.add(bytes(range(100)))
    assert kept.read(0, 100) == bytes(range(100))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_and_forked_processes_dont_disturb_each_other() -> None:
    reports = [GroundedReport(f"s{i}", (), f"text {i} " * (i % 90)) for i in range(400)]
    kept = Shelf(reports, 0)
    child = os.fork()  # with bytes that are still to be written
    if child == 0:
        os._exit(list(kept) != reports)
    assert list(kept) == reports
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(kept.__getitem__, range(400))) == reports


@pytest.mark.parametrize("room", [0, 5, 1000])
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(os, "pwrite", full_after(room))
    with pytest.raises(UserError, match=r"the reports can't be kept \(No space left on device\).*TMPDIR"):
        list(Shelf((GroundedReport(f"s{i}", (), "x" * 100) for i in range(20)), 0))


def test_a_failed_write_is_told_again() -> None:
    kept = Scratch("the texts")
    kept.add(b"abc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", full_after(0))
        with pytest.raises(UserError) as _told:
            kept.read(0, 3)
        kept.add(b"de")
    assert kept.read(0, 5) == b"abcde"


def test_no_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere.*can't be kept.*Name a folder that can be written to"):
        Scratch("the texts")


def test_too_many_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(UserError, match=r"Too many open files.*ulimit"):
        Scratch("the texts")


def test_statistics_that_find_no_room_skip_their_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other number is lost, and nothing is left half made."""
    names = REGIONS[:6]
    sections = tuple(RegionSection(i, r, r, None, "There is a nodule.", "There is an effusion.") for i, r in enumerate(names))
    reports = [GroundedReport(f"s{i}", sections, "There is a nodule.", "There is an effusion.") for i in range(9)]
    monkeypatch.setattr(regional, "LIMIT", 10**6)
    whole = evaluate(reports, metrics=["bleu", "clinical", "recognition", "length"], ci=5)
    monkeypatch.setattr(statistics, "_LIMIT", 0)
    monkeypatch.setattr(scratch, "_PENDING", 0)
    for room in (0, 1500, 5000, 9000, 12000, 14000, 10**6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwrite", full_after(room))
            found = evaluate(reports, metrics=["bleu", "clinical", "recognition", "length"], ci=5)
        assert all("can't be kept" in reason for reason in found["skipped"].values())
        assert ("region_recognition" in found) == ("recognition" not in found["skipped"])
    assert found == whole
