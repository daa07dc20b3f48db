"""The documents tell the truth: their commands parse, their links resolve, their recipes, JSON and Python are valid."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reg2rg.anatomy import REGIONS
from reg2rg.cli.app import COMMANDS, load_command
from reg2rg.plugins import KINDS
from reg2rg.recipe import load

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        for i, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8"))):
            if match[1] == language:
                yield pytest.param(match[2], id=f"{page.parent.name}/{page.name}:{i}")


def shell_lines() -> Iterator[Any]:
    """Each line of the shell blocks that runs reg2rg, as its arguments."""
    for block in blocks("bash"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "reg2rg" in words:
                arguments = words[words.index("reg2rg") + 1 :]
                yield pytest.param(arguments, id=" ".join(arguments))


def parse(arguments: list[str]) -> None:
    """Parses a command line as the program would, without running it."""
    name, *rest = arguments
    command = load_command(name)
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)


@pytest.mark.parametrize("arguments", shell_lines())
def test_each_command_of_the_documents_parses(arguments: list[str]) -> None:
    assert arguments[0] in COMMANDS
    parse(arguments)


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["recipes", "list", "--jsn"])


def test_make_targets_of_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), f"{page.name}: make {target}"


def test_inline_commands_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`reg2rg ([a-z]+)", page.read_text(encoding="utf-8")):
            assert name in COMMANDS, f"{page.name}: reg2rg {name}"


def test_every_command_is_shown_somewhere() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not [name for name in COMMANDS if f"reg2rg {name}" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_and_pictures_resolve(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target
    for place in re.findall(r"`((?:reg2rg|plugins|docs|examples|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / place).exists() or "NAME" in place, place


@pytest.mark.parametrize("text", blocks("yaml"))
def test_recipes_are_recipes(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    load(tmp_path / "recipe.yaml")


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_json(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("text", blocks("python"))
def test_python_is_python_and_its_names_exist(text: str) -> None:
    import reg2rg

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "reg2rg":
            assert all(hasattr(reg2rg, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_no_place_of_one_machine_is_named(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(work|root|Users)/|/home/\w|\+cpu|pypi\.org|pythonhosted|download\.pytorch", text)


def test_formats_name_the_regions_in_the_order_of_the_bits() -> None:
    text = " ".join((ROOT / "docs" / "formats.md").read_text(encoding="utf-8").split())
    assert ", ".join(REGIONS) in text


def test_plugin_authors_find_every_kind() -> None:
    text = (ROOT / "docs" / "plugin-authors.md").read_text(encoding="utf-8")
    assert all(f"| {kind} |" in text for kind in KINDS)


def test_the_tree_is_the_tree() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_architecture.py", "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
