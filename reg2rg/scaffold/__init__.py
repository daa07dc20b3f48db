"""Starting points for plugins: one small working part of each kind, which `reg2rg plugins new` copies into a package.

In: a kind and a name. Out: a folder with pyproject.toml, the package and its test. The parts are real modules (typed,
linted, and tested against the conformance kit), so a new plugin begins from something that runs.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

from ..errors import EXIT_USAGE, UserError, suggest
from ..files import atomic_folder
from ..plugins import KINDS

# kind → the module of this folder and the class in it
PARTS: dict[str, tuple[str, str]] = {
    "segmenter": ("segmenter", "BoneThreshold"),
    "volume-encoder": ("volume_encoder", "SmallConv"),
    "adapter": ("adapter", "Pooling"),
    "geometry-encoder": ("geometry_encoder", "Moments"),
    "decoder": ("decoder", "TinyGPT2"),
    "metric": ("metric", "WordOverlap"),
    "labeler": ("labeler", "Keywords"),
    "splitter": ("splitter", "NamedAreas"),
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

_PYPROJECT = Template("""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$package"
version = "0.1.0"
description = "The $kind '$name' for reg2rg"
requires-python = ">=3.11"
dependencies = ["reg2rg"]

# How reg2rg finds this package: a module with the hook.
[project.entry-points.reg2rg]
$module = "$module"

[tool.hatch.build.targets.wheel]
packages = ["$module"]
""")
_HOOK = Template('''\
"""Offers the $kind '$name' to reg2rg: registration only, nothing heavy is imported here."""

from __future__ import annotations

import reg2rg
from reg2rg.hookspecs import Register


@reg2rg.hookimpl
def $hook(register: Register) -> None:
    """Called by reg2rg when it lists what is installed."""
    register("$name", "$module.$part:$object", summary="what it does, in a few words")
''')
_TEST = Template('''\
"""The contract of the $kind, as reg2rg's own kit tests it. Add your own tests beside this one."""

from __future__ import annotations

from reg2rg.conformance import conform


def test_it_keeps_the_contract() -> None:
    verdict = conform("$kind", "$package:$name")
    assert verdict.passed, str(verdict)
''')
_README = Template("""\
# $package

The $kind `$name` for [reg2rg]. Its code is `$module/$part.py`: change it into your own.

    pip install -e .
    reg2rg plugins list
    reg2rg plugins check $name --kind $kind
    python -m pytest

$use

[reg2rg]: what a $kind must offer stands in `reg2rg/hookspecs.py`, hook `$hook`.
""")
_USE = {
    "segmenter": "Use it: `reg2rg preprocess SOURCE --out STORE --segmenter $name`",
    "metric": "Use it: `reg2rg evaluate REPORTS --metrics $name`",
    "labeler": "Use it: `reg2rg label REPORTS --out LABELS.csv --labeler $name`",
    "volume-encoder": "Use it: `reg2rg train --data STORE --out RUN --volume-encoder $name`",
    "geometry-encoder": "Use it: `reg2rg train --data STORE --out RUN --geometry-encoder $name`",
    "decoder": "Use it: `reg2rg train --data STORE --out RUN --decoder $name`",
    "adapter": "Use it: `reg2rg train --data STORE --out RUN --set adapter=$name`",
    "splitter": "Use it: `reg2rg split REPORTS --out REGIONS.csv --splitter $name`",
}


def write_package(kind: str, name: str, out: Path, package: str = "") -> Path:
    """Writes an installable package with a working part of `kind` called `name` into the new folder `out`.

    Raises UserError for an unknown kind, a name that isn't lower-case words with hyphens, or a folder that isn't empty.
    """
    if kind not in KINDS:
        raise UserError(f"no kind of plugin is called '{kind}'", fix=suggest(kind, KINDS), code=EXIT_USAGE)
    package = package or f"reg2rg-{name}"
    for word in (name, package):
        if not _NAME.fullmatch(word):
            raise UserError(f"'{word}' can't be a plugin's name", fix="Use lower-case words with hyphens.", code=EXIT_USAGE)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("the folder is not empty", out, "Give another one: --out FOLDER")
    with atomic_folder(out) as fresh:
        _fill(fresh, kind, name, package)
    return out


def _fill(folder: Path, kind: str, name: str, package: str) -> None:
    part, target = PARTS[kind]
    module = package.replace("-", "_")
    words = {"kind": kind, "name": name, "package": package, "module": module, "part": part, "object": target}
    words |= {"hook": KINDS[kind], "use": Template(_USE[kind]).substitute(name=name)}
    (folder / module).mkdir(parents=True)
    (folder / "tests").mkdir()
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{module}/__init__.py": _HOOK,
        f"tests/test_{module}.py": _TEST,
    }
    for path, template in texts.items():
        (folder / path).write_text(template.substitute(words), encoding="utf-8")
    shutil.copyfile(Path(__file__).parent / f"{part}.py", folder / module / f"{part}.py")
