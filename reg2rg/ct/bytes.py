"""Bytes of a file whatever its ending says: gzip is recognised by its magic number, and checked to its last byte.

igzip (package isal) inflates about three times faster; without it the standard library does the same.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..errors import UserError

_gzip: Any = gzip
DAMAGE: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
with contextlib.suppress(ImportError):
    from isal import igzip, isal_zlib

    _gzip, DAMAGE = igzip, (*DAMAGE, cast(type[Exception], isal_zlib.error))

_BROKEN: tuple[type[Exception], ...] = (EOFError, *DAMAGE)
GZIP = b"\x1f\x8b"
# deflate can't squeeze harder than this: a header that asks for more lies, or the file was cut short
_BEST_RATIO = 1040
CUT = "the file is cut short"
AGAIN = "Copy or download it again."


def head(path: Path, size: int = 512) -> bytes:
    """The first `size` bytes as stored."""
    with path.open("rb") as file:
        return file.read(size)


def open_plain(path: Path) -> IO[bytes] | Any:
    """Opens `path` for reading its plain content, inflating it where it is gzip."""
    return _gzip.open(path, "rb") if head(path, 2) == GZIP else path.open("rb")


def plain_head(path: Path, size: int = 512) -> bytes:
    """The first `size` bytes of the plain content; nothing where a gzip stream is damaged there."""
    try:
        with open_plain(path) as file:
            return bytes(file.read(size))
    except _BROKEN:
        return b""


def read_array(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Reads a Fortran-ordered array at `offset` of the plain content, through to the end so that checksums are verified.

    Raises UserError where the content is shorter than the header says, or its checksum is wrong.
    """
    count = int(np.prod([int(n) for n in shape], dtype=object))
    wanted = count * dtype.itemsize
    stored = path.stat().st_size
    packed = head(path, 2) == GZIP
    if offset + wanted > stored * (_BEST_RATIO if packed else 1) + 1024 * packed:
        raise UserError(f"{CUT}: its header promises {wanted} bytes of voxels, {stored} are stored in all", fix=AGAIN)
    out = np.empty(wanted, dtype=np.uint8)
    try:
        with open_plain(path) as file:
            _skip(file, offset)
            got = _fill(file, memoryview(out))  # type: ignore[arg-type]
            while got == wanted and file.read(1 << 20):
                pass
    except EOFError as error:
        raise UserError(f"{CUT}: its gzip stream breaks off", fix=AGAIN) from error
    except DAMAGE as error:
        raise UserError(f"its gzip data is damaged ({str(error).rstrip('.')[:80]})", fix=AGAIN) from error
    if got != wanted:
        raise UserError(f"{CUT}: {got} of {wanted} bytes of voxels are there", fix=AGAIN)
    return out.view(dtype).reshape(shape, order="F")


def _skip(file: IO[bytes], count: int) -> None:
    while count > 0 and (piece := file.read(min(count, 1 << 20))):
        count -= len(piece)


def _fill(file: Any, out: memoryview) -> int:
    got = 0
    while got < len(out) and (n := file.readinto(out[got : got + (1 << 24)])):
        got += n
    return got
