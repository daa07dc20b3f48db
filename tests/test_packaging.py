"""Packaging: a lock that installs anywhere, direct dependencies that it pins, and a wheel with everything in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Extras that the lock leaves out, with the reason.
UNLOCKED = {"totalsegmentator": "it wants torchvision, with which pip replaces torch's CPU build by the CUDA one"}


def pins() -> dict[str, str]:
    """The locked versions by canonical name."""
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LOCK if line)}


@pytest.mark.parametrize("line", LOCK)
def test_each_line_of_the_lock_is_a_plain_pin(line: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line), "a name and a version: no +cpu, file:, @ or option"
    assert not re.match(r"(nvidia|cuda|triton|pytorch-triton)", line), "each torch wheel names its own CUDA packages"


def direct() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("need", direct(), ids=lambda need: need.name)
def test_each_direct_dependency_is_pinned_within_its_bounds(need: Requirement) -> None:
    if canonicalize_name(need.name) in UNLOCKED:
        assert canonicalize_name(need.name) not in pins()
        return
    assert need.specifier.contains(pins()[canonicalize_name(need.name)])


def test_an_editable_install_needs_nothing_beyond_the_lock() -> None:
    assert {"hatchling", "editables"} <= set(pins())


def test_the_environment_is_the_locked_one() -> None:
    if not Path(sys.prefix, ".stamp").is_file():
        pytest.skip("this environment wasn't built by `make env`")
    wrong = {n: (v, metadata.version(n)) for n, v in pins().items() if metadata.version(n).partition("+")[0] != v}
    assert not wrong


def test_the_version_is_said_once_and_the_same_everywhere() -> None:
    import reg2rg

    assert reg2rg.__version__ == PROJECT["version"]
    assert f'version: "{PROJECT["version"]}"' in (ROOT / "CITATION.cff").read_text()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_wheel_holds_code_data_and_licence(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "reg2rg", "plugins/reg2rg_plugins"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert {name.removeprefix("plugins/") for name in tracked if (ROOT / name).is_file()} <= names
    assert {"reg2rg/recipes/reg2rg.yaml", "reg2rg/scaffold/metric.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "tests/" in name or name.endswith(".pyc")]
