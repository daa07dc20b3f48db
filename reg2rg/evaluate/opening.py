"""Opening a text file of unknown make: UTF-8 or UTF-16 by its mark, and one clear sentence for anything that isn't text."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..errors import UserError

_PEEK = 4096
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Save the sheet as CSV in UTF-8."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first: gunzip FILE"),
    (b"%PDF", "a PDF", "Export the texts as CSV in UTF-8."),
    (b"\x89HDF", "an HDF5 file", "Name a reports file instead."),
)


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file as text, line ends untouched, read bit by bit.

    Raises UserError, also while it is read, where there is no such file, it can't be read, is a folder, is binary, or isn't
    UTF-8 (UTF-16 and UTF-32 are read where they begin with their mark).
    """
    if not path.exists():
        raise UserError("there is no such file", path, near(path))
    if path.is_dir():
        raise UserError("this is a folder, not a file", path)
    try:
        with path.open("rb") as raw:
            encoding = _encoding(raw.peek(_PEEK), path)
            with io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
                yield file
    except OSError as error:
        raise UserError(f"can't be read ({error.strerror or error})", path) from error
    except UnicodeError as error:
        raise _undecodable(error, path) from error


def _encoding(head: bytes, path: Path) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for magic, what, fix in _BINARY:
        if head.startswith(magic):
            raise UserError(f"this is {what}, not a text file", path, fix)
    if b"\0" in head:
        raise UserError("this is a binary file, or UTF-16 text without its mark", path, "Save it as UTF-8.")
    return "utf-8"


def _undecodable(error: UnicodeError, path: Path) -> UserError:
    if not isinstance(error, UnicodeDecodeError) or not error.encoding.startswith("utf-8"):
        return UserError(f"the text can't be decoded ({error})", path, "Save it as UTF-8.")
    fix = "Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
    return UserError(f"the text isn't UTF-8 (byte {error.object[error.start]:#04x}{_place(path)})", path, fix)


def _place(path: Path) -> str:
    """In which line the first such byte stands; nothing for a stream, which can't be read again."""
    if path.is_file():
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return f" in line {number}"
    return ""


def near(path: Path) -> str:
    """A hint that names files of the folder with a similar name."""
    if not path.parent.is_dir():
        return ""
    found = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.6)
    return "Did you mean " + " or ".join(f"'{name}'" for name in found) + "?" if found else ""
