"""House rules that are cheap to check: a light start, help for everything, layers, and printing in one place only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reg2rg.cli.app import COMMANDS, load_command

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "numpy", "scipy", "nltk", "SimpleITK", "pydicom", "nibabel", "h5py", "matplotlib", "PIL"}
RUN = """
import sys
from reg2rg.cli.app import app
try:
    app(args=sys.argv[1:], prog_name="reg2rg")
except SystemExit as end:
    assert not end.code, end.code
found = {heavy} & set(sys.modules)
assert not found, f"imported {{found}}"
"""


def commands() -> Iterator[tuple[str, ...]]:
    """Every command, and every command of a group."""
    for name in COMMANDS:
        yield (name,)
        try:
            loaded = load_command(name)
        except ImportError:
            continue  # the tests of (name,) say so
        yield from ((name, sub) for sub in getattr(loaded, "commands", {}))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = RUN.format(heavy=HEAVY)
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=60)


def test_the_overview_imports_nothing_heavy_and_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert all(re.search(rf"\b{name}\b", done.stdout) for name in COMMANDS)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_help_works_lightly_and_shows_an_example(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"Example: (accelerate launch -m )?reg2rg {command[0]}\b", done.stdout)


def leaf(command: tuple[str, ...]) -> Any:
    found = load_command(command[0])
    return found.commands[command[1]] if command[1:] else found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_option_has_its_help_and_shows_its_default(command: tuple[str, ...]) -> None:
    for parameter in leaf(command).params:
        assert parameter.help, f"{parameter.name} has no help"
        assert getattr(parameter, "show_default", True), f"{parameter.name} hides its default"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, reg2rg, reg2rg.recipe, reg2rg.plugins; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_public_names_are_there() -> None:
    import reg2rg

    assert all(getattr(reg2rg, name) is not None for name in reg2rg.__all__)
    with pytest.raises(AttributeError):
        reg2rg.nothing  # noqa: B018


def test_rooms_import_downwards_and_the_core_never_imports_the_default_plugins() -> None:
    pytest.importorskip("importlinter")
    path = os.pathsep.join([str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, timeout=100
    )
    assert done.returncode == 0, done.stdout


def test_the_core_works_without_the_default_plugins() -> None:
    """Deleting `plugins/` leaves a core that imports, lists and explains itself."""
    code = (
        "import sys; sys.modules['reg2rg_plugins'] = None\n"
        "from reg2rg.plugins import registry\n"
        "found = registry()\n"
        "assert [b.package for b in found.broken] == ['reg2rg'], found\n"
        "try: found.find('metric', 'bleu')\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "no metric is called 'bleu'" in done.stdout and "could not be loaded" in done.stdout, done.stderr


def test_printing_is_done_by_the_command_line_only() -> None:
    for path in [*(ROOT / "reg2rg").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        if path.parent.name != "cli":
            assert not re.search(r"(?<![\w.\"'])print\(", path.read_text(encoding="utf-8")), path
