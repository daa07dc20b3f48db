"""Measured tables in a page of docs/: renewed between two marks, so that the words around them stay."""

from __future__ import annotations

import re


def between(text: str, begin: str, end: str, tables: str, name: str) -> str:
    """The text with `tables` between its marks; ends the program where the page `name` doesn't have each mark once."""
    pattern = re.compile(rf"({re.escape(begin)}[^\n]*\n).*?({re.escape(end)})", re.S)
    found, count = pattern.subn(lambda m: f"{m[1]}\n{tables}\n{m[2]}", text)
    if count != 1:
        raise SystemExit(f"{name} doesn't have the marks '{begin}' and '{end}' once")
    return found
