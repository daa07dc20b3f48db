"""How often a study was begun, told by a mark beside it, since no executor tells which study a dead worker was at.

A worker adds a byte to a hidden file beside the study before it begins, and removes the file when the study has ended, well
or badly. What a death leaves is the count of tries; `preprocess` sweeps it when the run ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path

from .study import Job, Outcome

# a study whose worker died is tried again, twice at most
TRIES = 3

Work = Callable[[Job], Outcome]


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """`work` with its tries counted within one run (`run` names it); goes to workers by pickle."""

    work: Work
    run: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __call__(self, job: Job) -> Outcome:
        mark = self._mark(job)
        if _add(mark) > TRIES:
            return died(job)  # the mark stays: the answer may get lost and the study be asked for once more
        try:
            return self.work(job)
        finally:
            with contextlib.suppress(OSError):
                mark.unlink(missing_ok=True)

    def tries(self, job: Job) -> int:
        """How often the study was begun without an end."""
        try:
            return self._mark(job).stat().st_size
        except OSError:
            return 0

    def _mark(self, job: Job) -> Path:
        return job.path.with_name(f".{job.path.name}.{self.run}.tries.tmp")


def _add(mark: Path) -> int:
    """Adds a try; 0 where nothing can be written, which the study itself will then say better."""
    with contextlib.suppress(OSError), mark.open("ab") as file:
        file.write(b"x")
        return file.tell()
    return 0


def died(job: Job) -> Outcome:
    """The refusal of a study that took its worker down each time."""
    hint = "It may need more memory than there is: use fewer --workers or a machine with more memory."
    return Outcome(job.source.id, "refused", "run", f"its worker process died {TRIES} times", hint)
