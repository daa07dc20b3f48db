"""What a user can cause, said in one sentence: what is wrong, where, and how to mend it.

Everything else keeps its traceback. `reg2rg.cli` prints a `UserError` and leaves with the exit code below.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED_SOME = 0, 1, 2, 3


class UserError(Exception):
    """A fault that the user can mend.

    `what` is the fact, `where` the file or option it concerns, `fix` what to do next; `code` is the exit code.
    """

    def __init__(self, what: str, where: object = "", fix: str = "", code: int = EXIT_FAILED) -> None:
        super().__init__(what)
        self.what, self.where, self.fix, self.code = what, str(where), fix, code

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        what = " ".join(self.what.splitlines()).rstrip(". ")
        end = "" if what.endswith(("?", "!")) else "."
        return f"{place}{what}{end} {self.fix}".rstrip()


class RefusedStudy(UserError):
    """A study that is refused with a reason; a batch goes on without it and writes a row to `failures.csv`."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A short hint naming the nearest of `known`, or all of them where none is near."""
    options = sorted(set(known))
    lower = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(f"'{lower[n]}'" for n in near) + "?"
    return "Known: " + ", ".join(options) + "." if options else "None is known here."
