"""Writes the tree of docs/architecture.md: one line a file, the first sentence of its docstring.

usage: python docs/make_architecture.py [--check]     --check: exit 1 where the page is out of date.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
WIDTH = 100  # characters of a line's text
BEGIN, END = "<!-- tree: made by docs/make_architecture.py -->", "<!-- end of tree -->"


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, or of a recipe's first comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        doc = ast.get_docstring(ast.parse(text)) or ""
    else:
        doc = text.splitlines()[0].lstrip("# ") if text.startswith("#") else ""
    first = " ".join(doc.split("\n\n")[0].split())
    sentence = re.split(r"(?<!Sec)(?<!Eq)(?<!Eqs)[.;] (?=[A-Z`])", first)[0].rstrip(".:")
    return textwrap.shorten(sentence, WIDTH, placeholder=" …")


def files(folder: str) -> list[Path]:
    """The sources under a folder that git knows or would take, tests and caches left out."""
    command = ["git", "ls-files", "-co", "--exclude-standard", folder]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return sorted(ROOT / n for n in names if n.endswith((".py", ".yaml")) and (ROOT / n).is_file())


def tree(folder: str) -> Iterator[str]:
    """Lines of the tree: the folder's own files first, then room after room."""
    base = ROOT / folder
    rooms: dict[Path, list[Path]] = {}
    for path in files(folder):
        rooms.setdefault(path.parent, []).append(path)
    for room in sorted(rooms):
        head = rooms[room][0] if rooms[room][0].name == "__init__.py" else None
        inner = "" if room == base else "  "
        name = f"{folder}/" if room == base else f"  {room.relative_to(base).as_posix()}/"
        yield f"{name:28}{summary(head) if head else ''}".rstrip()
        yield from (f"{f'{inner}  {path.name}':28}{summary(path)}".rstrip() for path in rooms[room] if path is not head)


def page() -> str:
    """The page with a fresh tree between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for folder in ("reg2rg", "plugins/reg2rg_plugins") for line in (*tree(folder), "")]
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n```\n{chr(10).join(lines).rstrip()}\n```\n{END}{after}"


if __name__ == "__main__":
    fresh = page()
    if "--check" in sys.argv:
        stale = fresh != PAGE.read_text(encoding="utf-8")
        sys.exit("docs/architecture.md is out of date; run: python docs/make_architecture.py" if stale else 0)
    PAGE.write_text(fresh, encoding="utf-8")
