"""The program as a user starts it, without the seconds that its libraries take to load: one process has them loaded and forks
for each call.

What runs is `reg2rg.__main__.main` in a process of its own, with its own arguments, environment, folder, streams and exit code.
Calls that ask for another environment get a fresh interpreter instead, and so does everything where there is no fork.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

LOADED = (
    "torch", "torch.distributed", "transformers.generation", "transformers.models.llama.modeling_llama", "peft", "accelerate",
    "safetensors.torch", "nibabel", "SimpleITK", "pydicom", "h5py", "scipy.ndimage", "scipy.stats", "jinja2", "rich.console",
    "typer", "yaml", "reg2rg.bench.run", "reg2rg.cli.app", "reg2rg.convert.run", "reg2rg.demo", "reg2rg.model.weights",
    "reg2rg.page.contact", "reg2rg.plugins", "reg2rg_plugins.adapters.perceiver", "reg2rg_plugins.decoders.tiny",
    "reg2rg_plugins.volume_encoders.vit3d", "reg2rg.__main__",
)  # fmt: skip
ENVIRONMENT = {"COLUMNS": "200", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "TERM": "dumb"}


class Ready:
    """The side of the tests: starts the loaded process at the first call, and ends it with `close`."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._settled = _settled()

    def usable(self) -> bool:
        """Whether what libraries read once, when they are loaded, is as it was then; and the system can fork."""
        return Path("/proc/self/fd").is_dir() and _settled() == self._settled

    def run(self, arguments: list[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs the program once. Raises TimeoutExpired, and leaves no process, where it takes longer."""
        command = [sys.executable, "-m", "reg2rg", *arguments]
        with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
            request = {"arguments": arguments, "cwd": str(cwd), "environment": {**os.environ, **ENVIRONMENT}}
            pid = self._ask({**request, "out": out.fileno(), "err": err.fileno(), "of": os.getpid()})
            code = self._answer(timeout)
            if code is None:
                os.kill(pid, signal.SIGKILL)
                self._answer(60)
                raise subprocess.TimeoutExpired(command, timeout)
            return subprocess.CompletedProcess(command, code, _text(out), _text(err))

    def _ask(self, request: dict[str, Any]) -> int:
        if self._server is None:
            own = {**os.environ, **ENVIRONMENT}
            self._server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
            )
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        pid = self._answer(120)
        assert pid is not None, "the process with the libraries doesn't start"
        return pid

    def _answer(self, timeout: float) -> int | None:
        assert self._server is not None and self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], timeout)[0]:
            return None
        line = self._server.stdout.readline()
        assert line, "the process with the libraries has ended"
        return int(line)

    def close(self) -> None:
        """Ends the loaded process."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait(30)


def _settled() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("HF_", "LD_", "PYTHON", "WORLD_SIZE"))}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def serve() -> None:
    """The loaded process: a request a line; answers with the child's number, then with its exit code, each on a line."""
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _be_the_program(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be_the_program(request: dict[str, Any]) -> NoReturn:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"/proc/{request['of']}/fd/{request[name]}", os.O_WRONLY), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)  # the one before has read ahead
    sys.argv = ["reg2rg", *request["arguments"]]
    # processes that the program spawns look here for what to import
    sys.modules["__main__"] = program = sys.modules["reg2rg.__main__"]
    code = 1
    try:
        program.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
