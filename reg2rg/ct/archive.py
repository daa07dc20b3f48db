"""Zip files of scans: members are read with caps on number and size, and a path that would leave the archive is refused."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import UserError

MAX_MEMBERS, MAX_MEMBER_BYTES, MAX_BYTES = 100_000, 4 << 30, 16 << 30
_ENCRYPTED = 0x1


def members(path: Path) -> list[str]:
    """The names of the files in a zip; raises UserError where it is damaged, encrypted, too large or unsafe."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError("the zip file is damaged or cut short", fix="Copy or download it again.") from error
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


def open_member(path: Path, name: str) -> IO[bytes]:
    """One member as a file in memory."""
    out = io.BytesIO()
    _copy(path, name, out)
    out.seek(0)
    return out


def head_of(path: Path, name: str, size: int = 512) -> bytes:
    """The first bytes of one member."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            return file.read(size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError("the zip file is damaged or cut short", fix="Copy or download it again.") from error


def extract(path: Path, name: str, folder: Path) -> Path:
    """Writes one member into `folder` under its bare name."""
    target = folder / PurePosixPath(name.replace("\\", "/")).name
    with target.open("wb") as file:
        _copy(path, name, file)
    return target


def _copy(path: Path, name: str, out: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            # the sizes in a zip's directory may lie, the bytes that come out don't
            limited = _Limited(file)
            shutil.copyfileobj(limited, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError("the zip file is damaged or cut short", fix="Copy or download it again.") from error


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
