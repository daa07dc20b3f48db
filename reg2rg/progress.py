"""How long work tells of its progress: a callable that the command line turns into a bar, and nobody else prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """`progress(stage, done, total, note)`: `stage` is shown to people; `total` 0 means unknown."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Tells nobody."""
