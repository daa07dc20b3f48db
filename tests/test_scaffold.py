"""Scaffolds: each kind's is an installable package that reg2rg finds and whose part keeps its contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reg2rg import scaffold
from reg2rg.errors import UserError
from reg2rg.plugins import KINDS
from reg2rg.scaffold import write_package

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_every_kind_has_a_starting_point() -> None:
    assert set(scaffold.PARTS) == set(KINDS) == set(scaffold._USE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """All eight scaffolds, installed by pip into one folder that the program then sees."""
    root = tmp_path_factory.mktemp("scaffolds")
    folders = [str(write_package(kind, f"my-{kind}", root / kind)) for kind in KINDS]
    site = root / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *folders], check=True, timeout=200)
    path = os.pathsep.join(p for p in (str(site), os.environ.get("PYTHONPATH", "")) if p)
    return root, {"PYTHONPATH": path}


def test_the_program_finds_each_with_its_package(reg2rg: Run, installed: tuple[Path, dict[str, str]]) -> None:
    listed = json.loads(reg2rg("plugins", "list", "--json", env=installed[1]).stdout)
    mine = {row["name"]: row for row in listed["plugins"] if row["name"].startswith("my-")}
    assert set(mine) == {f"my-{kind}" for kind in KINDS} and not listed["broken"]
    for kind in KINDS:
        row = mine[f"my-{kind}"]
        assert (row["kind"], row["package"], row["version"]) == (kind, f"reg2rg-my-{kind}", "0.1.0")


def test_each_one_s_own_test_passes(installed: tuple[Path, dict[str, str]]) -> None:
    root, environment = installed
    tests = [str(path) for path in sorted(root.glob("*/tests/test_*.py"))]
    assert len(tests) == len(KINDS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(root), *tests]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=root, timeout=200)
    assert done.returncode == 0 and f"{len(KINDS)} passed" in done.stdout, done.stdout + done.stderr


def test_check_passes_from_the_command_line(reg2rg: Run, installed: tuple[Path, dict[str, str]]) -> None:
    done = reg2rg("plugins", "check", "reg2rg-my-metric:my-metric", "--json", env=installed[1])
    assert done.returncode == 0 and json.loads(done.stdout)["passed"]


def test_new_writes_a_package_and_says_what_to_do_next(reg2rg: Run, tmp_path: Path) -> None:
    done = reg2rg("plugins", "new", "metric", "distinct-words", "--package", "lab-tools", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() == "lab-tools" and "plugins check distinct-words" in done.stderr
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        "lab-tools/pyproject.toml", "lab-tools/README.md", "lab-tools/lab_tools/__init__.py", "lab-tools/lab_tools/metric.py",
        "lab-tools/tests/test_lab_tools.py",
    }  # fmt: skip


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="not empty"):
        write_package("metric", "mine", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert (write_package("metric", "mine", tmp_path / "empty") / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("metrik", "mine", "no kind of plugin is called 'metrik'. Did you mean 'metric'"),
        ("metric", "My Metric", "can't be a plugin's name"),
        ("metric", "../up", "can't be a plugin's name"),
        ("metric", "", "can't be a plugin's name"),
    ],
)
def test_a_wrong_kind_or_name_writes_nothing(tmp_path: Path, kind: str, name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        write_package(kind, name, tmp_path / "out")
    assert said in str(caught.value) and caught.value.code == 2 and not list(tmp_path.iterdir())
