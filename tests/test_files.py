"""Files are there whole or not at all, with the permissions of ordinary files, and nothing unfinished stays beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reg2rg.files import atomic_file, shared_file, temporary

Writer = Callable[[Path], AbstractContextManager[Path]]
both = pytest.mark.parametrize("writer", [atomic_file, shared_file])


@pytest.fixture(params=[0o022, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@both
def test_a_file_is_replaced_whole_with_ordinary_permissions(tmp_path: Path, writer: Writer, umask: int) -> None:
    path = tmp_path / "a.h5"
    path.write_text("old")
    with writer(path) as temp:
        temp.write_text("new")
        assert temp.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


@both
@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_of_a_file_that_was_not_finished(tmp_path: Path, writer: Writer, fault: type[BaseException]) -> None:
    (tmp_path / "a.h5").write_text("old")
    with pytest.raises(fault), writer(tmp_path / "a.h5") as temp:
        temp.write_text("ha")
        raise fault
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.h5", "old")]


@both
def test_left_overs_have_hidden_names_that_say_whose_they_are(tmp_path: Path, writer: Writer) -> None:
    with writer(tmp_path / "a.h5") as temp:
        assert temp.match(".a.h5.*.tmp")
        temp.write_text("x")


def test_only_an_ordinary_file_makes_its_folder(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "b" / "a") as temp:
        temp.write_text("x")
    with pytest.raises(FileNotFoundError), shared_file(tmp_path / "c" / "a") as temp:
        temp.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_the_name_of_a_shared_file_tells_processes_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = temporary(tmp_path / "a.h5")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert temporary(tmp_path / "a.h5") != here
