"""Zip files of scans: members are read with caps on number and size, and a path that would leave the archive is refused."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import UserError
from ..files import stamp

MAX_MEMBERS, MAX_MEMBER_BYTES, MAX_BYTES = 100_000, 4 << 30, 16 << 30
_ENCRYPTED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError)


def members(path: Path) -> list[str]:
    """The names of the files in a zip; raises UserError where it is damaged, encrypted, too large or unsafe."""
    with _opened(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_BYTES:
        raise UserError(
            f"the zip file is too large ({len(infos)} members)",
            fix=f"Unpack it yourself; at most {MAX_MEMBERS} members and {MAX_BYTES >> 30} GiB are read.",
        )
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise UserError("the zip file is encrypted", fix="Unpack it first.")
    for info in infos:
        inside = PurePosixPath(info.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
            raise UserError("the zip file holds a path that leaves it", fix="Unpack it yourself, and check what it holds.")
    return sorted(info.filename for info in infos if "__MACOSX" not in info.filename)


@contextlib.contextmanager
def open_stream(path: Path, name: str) -> Iterator[IO[bytes]]:
    """One member to be read from its beginning: only what is read is inflated."""
    with _opened(path) as archive, archive.open(name) as file:
        yield file


def open_member(path: Path, name: str) -> IO[bytes]:
    """One member as a file in memory."""
    out = io.BytesIO()
    _copy(path, name, out)
    out.seek(0)
    return out


def extract(path: Path, name: str, folder: Path) -> Path:
    """Writes one member into `folder` under its bare name."""
    target = folder / PurePosixPath(name.replace("\\", "/")).name
    with target.open("wb") as file:
        _copy(path, name, file)
    return target


def extract_beside(path: Path, name: str, folder: Path, wanted: str) -> None:
    """Writes the member that the member `name` calls `wanted`, by its path from there, to the same place below `folder`.

    Does nothing where there is none: whoever needs it says so.
    """
    place = PurePosixPath(wanted.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not place.name:
        return
    inside = str(PurePosixPath(name.replace("\\", "/")).parent / place)
    if found := next((m for m in members(path) if m.replace("\\", "/") == inside), None):
        (folder / place.parent).mkdir(parents=True, exist_ok=True)
        extract(path, found, folder / place.parent)


def _copy(path: Path, name: str, out: IO[bytes]) -> None:
    with open_stream(path, name) as file:
        # the sizes in a zip's directory may lie, the bytes that come out don't
        shutil.copyfileobj(_Limited(file), out, 1 << 20)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, whose directory is read once however many members are asked for; damage becomes a UserError."""
    try:
        # a forked worker must not share the parent's place in the file
        yield _directory(path, stamp(path), os.getpid())
    except (*_BROKEN, ValueError) as error:
        raise UserError("the zip file is damaged or cut short", fix="Copy or download it again.") from error


@functools.lru_cache(maxsize=1)
def _directory(path: Path, stamp: str, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


class _Limited:
    """A file that refuses to give more than `MAX_MEMBER_BYTES`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, MAX_MEMBER_BYTES

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise UserError(f"a member of the zip file is larger than {MAX_MEMBER_BYTES >> 30} GiB", fix="Unpack it yourself.")
        return piece
