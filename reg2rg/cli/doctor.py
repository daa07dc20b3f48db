"""`reg2rg doctor`: versions, devices, plugins, and what is missing for what."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import emit_json


def command(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Says what this installation can do, and what to install for the rest; exit code 1 where it isn't sound.

    Optional abilities that are missing don't count: only required packages and plugin packages that can't be loaded.

    Example: reg2rg doctor --json
    """
    from ..doctor import examine, summary
    from ..errors import EXIT_FAILED

    facts = examine()
    if as_json:
        emit_json(facts)
    else:
        print("\n".join(summary(facts)))
    if not facts["sound"]:
        raise typer.Exit(EXIT_FAILED)
