"""What the commands share: results to stdout, progress and notes to stderr, JSON alone on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from ..progress import Progress, silent


def emit_json(data: Any) -> None:
    """Prints one JSON document on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """A note for people, on stderr."""
    print(text, file=sys.stderr)


def show(renderable: Any) -> None:
    """A table or text on stdout, in colour where the terminal has it."""
    from rich.console import Console

    Console().print(renderable)


def show_table(table: Any, bold: int = 0) -> None:
    """A table of numbers (title, columns, rows, note) on stdout; its first `bold` rows stand out."""
    from rich.table import Table

    view = Table(title=table.title, caption=table.note or None, title_justify="left", caption_justify="left")
    for i, column in enumerate(table.columns):
        view.add_column(column, justify="left" if i == 0 else "right")
    for i, row in enumerate(table.rows):
        view.add_row(*row, style="bold" if i < bold else "")
    show(view)


@contextlib.contextmanager
def progress_bar(enabled: bool = True) -> Iterator[Progress]:
    """A progress callable with one bar a stage; silent where stderr is no terminal."""
    if not (enabled and sys.stderr.isatty()):
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None, note=note)
            bars.update(tasks[stage], completed=done, total=total or None, note=note)

        yield advance
