"""What the tests share: the shared material where it lies, and the program through its real entry point."""

from __future__ import annotations

import os
import subprocess
import sys

# Two test processes on two cores: one thread each, or they wait for each other at every tensor operation.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))  # the harnesses are tested as they run
from ready import ENVIRONMENT, Ready
from training import Small, make_small

# a busy machine makes a slow example, not a failed test; the same examples are tried each time
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path | None:
    """The shared material: $REG2RG_SHARED, else ../shared, else None."""
    for folder in (os.environ.get("REG2RG_SHARED"), ROOT.parent / "shared"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("the shared material is absent (set REG2RG_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def reg2rg() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `python -m reg2rg ARGUMENTS` as a user would; gives the finished process."""
    ready = Ready()

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        given, cwd, timeout = [str(argument) for argument in arguments], Path(str(options.pop("cwd", Path.cwd()))), 280
        if not options and ready.usable():
            return ready.run(given, cwd, timeout)
        environment = {**os.environ, **ENVIRONMENT, **options.pop("env", {})}  # type: ignore[dict-item]
        command = [sys.executable, "-m", "reg2rg", *given]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=timeout, **options)  # type: ignore[call-overload]

    yield run
    ready.close()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, reg2rg: Callable[..., subprocess.CompletedProcess[str]]) -> Small:
    """A store of thirty phantoms and a run of eight steps."""
    return make_small(tmp_path_factory.mktemp("small"), reg2rg)
