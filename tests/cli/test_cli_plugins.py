"""`reg2rg plugins`: what a user sees of installed packages, sound and broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, str]:
    """Three third-party packages: one fails to import, one offers a name that is taken, one breaks its contract."""
    hook = "import reg2rg\n@reg2rg.hookimpl\ndef register_metrics(register):\n    register({})\n"
    codes = {
        "bad_tools": "import a_module_that_is_absent",
        "rival_tools": hook.format("'bleu', 'rival_tools:Part'"),
        "sloppy_tools": hook.format("'sloppy', 'sloppy_tools:Part', summary='wrong types'")
        + "class Part:\n    names = ('sloppy',)\n    def statistics(self, reports): return [[1.0]] * len(reports)\n",
    }
    for name, code in codes.items():
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[reg2rg]\nmain = {name}\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_list_is_one_json_document_with_everything(reg2rg: Run) -> None:
    done = reg2rg("plugins", "list", "--json")
    rows = json.loads(done.stdout)["plugins"]
    assert done.returncode == 0 and done.stderr == ""
    assert {"bleu", "vit3d", "tiny", "threshold"} <= {row["name"] for row in rows}
    assert all(row["package"] == "reg2rg" and row["summary"] and row["missing"] == [] for row in rows)


def test_list_for_people_can_be_narrowed_to_a_kind(reg2rg: Run) -> None:
    done = reg2rg("plugins", "list", "--kind", "metric")
    assert done.returncode == 0 and "bleu" in done.stdout and "vit3d" not in done.stdout


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom reg2rg.cli.app import app\n"
        "try: app(args=['plugins', 'list', '--json'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '"vit3d"' in done.stdout, done.stderr


def test_a_broken_package_is_named_and_the_rest_listed(reg2rg: Run, packages: dict[str, str]) -> None:
    done = reg2rg("plugins", "list", "--json", env=packages)
    data = json.loads(done.stdout)
    assert done.returncode == 0
    reason = "ModuleNotFoundError: No module named 'a_module_that_is_absent'"
    assert data["broken"] == [{"package": "bad-tools", "reason": reason}]
    assert {"bleu", "sloppy"} <= {row["name"] for row in data["plugins"]}
    assert "Package 'bad-tools' could not be loaded" in reg2rg("plugins", "list", env=packages).stderr


def test_a_clash_is_told_when_the_name_is_used(reg2rg: Run, packages: dict[str, str]) -> None:
    done = reg2rg("plugins", "show", "bleu", env=packages)
    assert done.returncode == 1 and "offered by 'reg2rg' and 'rival-tools'" in done.stderr and "Traceback" not in done.stderr
    assert reg2rg("plugins", "show", "reg2rg:bleu", env=packages).returncode == 0


def test_a_plugin_that_breaks_its_contract_is_named_with_its_package(reg2rg: Run, packages: dict[str, str]) -> None:
    done = reg2rg("plugins", "check", "sloppy", env=packages)
    assert done.returncode == 1
    assert "statistics gave list" in done.stdout and "FAIL" in done.stdout and "pass" in done.stdout
    assert "metric 'sloppy' of package 'sloppy-tools' breaks its contract in" in done.stderr
    checks = json.loads(reg2rg("plugins", "check", "sloppy", "--json", env=packages).stdout)["plugins"][0]["checks"]
    assert {"check", "passed", "found"} == set(checks[0]) and not all(c["passed"] for c in checks)


def test_check_tries_every_kind_that_has_the_name(reg2rg: Run) -> None:
    done = reg2rg("plugins", "check", "rules", "--json")
    assert done.returncode == 0
    assert {row["kind"] for row in json.loads(done.stdout)["plugins"]} == {"labeler", "splitter"}
    one = reg2rg("plugins", "check", "rules", "--kind", "splitter", "--json")
    assert [row["kind"] for row in json.loads(one.stdout)["plugins"]] == ["splitter"]


def test_check_takes_the_options_of_the_plugin(reg2rg: Run) -> None:
    done = reg2rg("plugins", "check", "conv3d", "--set", "groups=3", "--json")
    assert done.returncode == 1 and "could not be built" in done.stdout
    assert reg2rg("plugins", "check", "conv3d", "--set", "channels=[8, 16]", "--set", "groups=2", "--json").returncode == 0


def test_show_tells_options_with_types_and_defaults(reg2rg: Run) -> None:
    (row,) = json.loads(reg2rg("plugins", "show", "tiny", "--json").stdout)["plugins"]
    options = {o["name"]: o for o in row["options"]}
    assert options["layers"] == {"name": "layers", "type": "int", "default": "3"}
    assert row["doc"] and row["error"] == ""
    assert "layers" in reg2rg("plugins", "show", "tiny").stdout


def test_unknown_names_and_kinds_get_near_ones(reg2rg: Run) -> None:
    done = reg2rg("plugins", "show", "blue")
    assert (done.returncode, done.stderr) == (1, "reg2rg: no plugin is called 'blue'. Did you mean 'bleu'?\n")
    done = reg2rg("plugins", "list", "--kind", "metrics")
    assert done.returncode == 2 and "Did you mean 'metric'" in done.stderr
