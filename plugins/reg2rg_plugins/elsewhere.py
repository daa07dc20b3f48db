"""Packages that can't live beside ours are asked in another Python, which holds them and the libraries that they want.

A script runs there and answers one line of JSON for each line that it reads, first one that it is ready, and
`{"error": "…"}` where it fails. It imports nothing of reg2rg: its text is passed to `python -c`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reg2rg.errors import UserError

_KEPT = 4  # processes kept at once
_running: dict[tuple[object, ...], OtherPython] = {}


class OtherPython:
    """A script that runs in another Python. Raises UserError where it can't be started or says why it failed.

    `who` begins the error messages ("the metric 'x'"), `how` says how that Python is made and named. `mend` is what to do
    where it fails, and may be set to something else once it runs.
    """

    def __init__(self, who: str, python: str, command: Sequence[str], how: str, env: Mapping[str, str]) -> None:
        self.who, self.python, self.mend, self.ended = who, python, how, False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            self._process = subprocess.Popen(
                [str(Path(python).expanduser()), "-c", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env={**os.environ, **env},
            )
        except OSError as error:
            raise UserError(f"{who} can't start its Python ({error.strerror})", python, how) from error
        weakref.finalize(self, _stop, self._process)
        self.greeting = self._read()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The script's answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self.failed("it ended") from error
        return self._read()

    def failed(self, reason: str) -> UserError:
        """The fault to raise; the next who asks starts another process."""
        self.ended = True
        return UserError(f"{self.who} failed in its Python ({reason.rstrip('.')})", self.python, self.mend)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self.failed(self._last_words()) from error
        if isinstance(answer, dict) and "error" in answer:
            raise self.failed(answer["error"])
        return answer

    def _last_words(self) -> str:
        """How the process ended, and the last line that it wrote."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        how = f"it ended with code {code}" if code >= 0 else f"it was ended by signal {-code}"
        return f"{how}, last saying: {lines[-1][:300]}" if lines else how


def other_python(
    who: str, python: str, script: Path, arguments: Sequence[str], how: str, env: Mapping[str, str]
) -> OtherPython:
    """The running process of a script with these arguments, started where there is none in this process yet."""
    key = (os.getpid(), python, script, *arguments)  # a forked child must not share its parent's pipes
    if key not in _running or _running[key].ended:
        _running.pop(key, None)
        _running[key] = OtherPython(who, python, [script.read_text(encoding="utf-8"), *arguments], how, env)
        for old in list(_running)[:-_KEPT]:
            del _running[old]
    return _running[key]


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a worker: it stops by itself when there is nothing more to read, and is made to where it doesn't."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
