"""Writing that leaves either the old file or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the name when the block ends well, and vanishes otherwise.

    Makes the folder where it is missing; the file gets the permissions that the umask leaves.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    with _renamed(Path(name), path) as temp:
        yield temp
        temp.chmod(0o666 & ~_umask())  # mkstemp gives 0600, an ordinary file doesn't


@contextlib.contextmanager
def shared_file(path: Path) -> Iterator[Path]:
    """Like `atomic_file`, in a folder that many machines and users write to.

    The folder must be there, its own rules (an ACL) give the file's permissions, and what a killed process leaves is called
    `temporary(path)`, so that it can be swept.
    """
    with _renamed(temporary(path), path) as temp:
        yield temp


def temporary(path: Path) -> Path:
    """The name under which `shared_file` has `path` written: `.NAME.MACHINE.PROCESS.tmp`."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _renamed(temp: Path, path: Path) -> Iterator[Path]:
    try:
        yield temp
        with temp.open("rb+") as file:
            os.fsync(file.fileno())
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its name (and place) when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there: where its disk and permissions can be asked."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def stamp(path: Path) -> str:
    """A file's size and time of change, by which a cache sees that it is another one."""
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
