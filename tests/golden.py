"""The golden fixtures for tests: the functions of benchmarks/parity.py, over the shared folder."""

from __future__ import annotations

from pathlib import Path

import parity


def cases(shared: Path, family: str) -> list[Path]:
    """The folders of one family."""
    return sorted(p.parent for p in (shared / "golden" / family).glob("*/case.json"))


def failures(folders: list[Path]) -> list[str]:
    """Runs cases in this process; gives the table's lines of those that fail."""
    found = [parity.run(folder, parity.default_material()) for folder in folders]
    return [parity.line(row) for row in found if not row["passed"]]
