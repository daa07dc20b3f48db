"""A temporary file that ends with the object that holds it, whatever ends the process: bytes are added, and read by place.

Reading and writing name the place each time, so that threads and forked processes don't move it for each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator

from ..errors import UserError

_PENDING = 1 << 16  # bytes that are written together
_ROOM = "Make room there, or name another folder in the environment's TMPDIR."
_FOLDER = "Name a folder that can be written to in the environment's TMPDIR."
_FILES = "Allow more of them, for example: ulimit -n 1024"


class Scratch:
    """`what` is kept in it ("the reports"), for the messages.

    Raises UserError, also at the first reading of what was added, where no temporary file can be had or its folder is full.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pending = bytearray()
        self._end = 0  # of what is written
        with self._told():
            self._file = tempfile.TemporaryFile(prefix="reg2rg-", buffering=0)  # noqa: SIM115 - lives as long as this

    def add(self, data: bytes | memoryview) -> None:
        """Bytes behind all others."""
        if len(self._pending) + len(data) > _PENDING:
            self._write()
        if len(data) > _PENDING:
            self._end = self._written(memoryview(data), self._end)
        else:
            self._pending += data

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`, all of them added before."""
        self._write()
        parts = []
        with self._told():
            while size:
                parts.append(os.pread(self._file.fileno(), size, start))
                if not parts[-1]:
                    raise OSError(errno.EIO, "the temporary file was cut short")
                start, size = start + len(parts[-1]), size - len(parts[-1])
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _write(self) -> None:
        if self._pending:
            end = self._written(memoryview(bytes(self._pending)), self._end)
            self._pending, self._end = bytearray(), end

    def _written(self, data: memoryview, at: int) -> int:
        """Where the data end that are written at `at`."""
        with self._told():
            while data:  # a write may take a part, and says only at the next one that there is no room
                count = os.pwrite(self._file.fileno(), data, at)
                data, at = data[count:], at + count
        return at

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = tempfile.tempdir or os.environ.get("TMPDIR", "")  # gettempdir fails where there is none
            fix = {errno.ENOENT: _FOLDER, errno.EACCES: _FOLDER, errno.EROFS: _FOLDER, errno.EMFILE: _FILES}
            why = fix.get(error.errno or 0, _ROOM)
            raise UserError(f"{self._what} can't be kept ({error.strerror or error})", where, why) from error
