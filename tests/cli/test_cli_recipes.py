"""`reg2rg recipes`: list, resolve, start one's own, and every fault at once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from reg2rg.cli.app import load_command
from reg2rg.recipe import load, shipped

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_list_names_each_with_what_it_is(reg2rg: Run) -> None:
    rows = json.loads(reg2rg("recipes", "list", "--json").stdout)["recipes"]
    assert {"reg2rg", "tiny"} <= {row["name"] for row in rows} and all(row["summary"] for row in rows)
    assert "as published" in reg2rg("recipes", "list").stdout


def test_show_writes_everything_out(reg2rg: Run) -> None:
    done = reg2rg("recipes", "show", "reg2rg", "--set", "training.epochs=10")
    shown = yaml.safe_load(done.stdout)
    assert shown["training"]["epochs"] == 10 and shown["prompt"]["instruction"]
    data = json.loads(reg2rg("recipes", "show", "reg2rg", "--json").stdout)
    assert data["fingerprint"] == load("reg2rg").fingerprint() and data["recipe"]["decoder"]["name"] == "llama2-7b"


def test_a_copy_is_the_recipe_under_its_own_name_and_is_sound(reg2rg: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert reg2rg("recipes", "copy", "tiny", file).returncode == 0
    assert load(file).name == "mine" and load(file).fingerprint() == load("tiny").fingerprint()
    done = reg2rg("recipes", "check", file)
    assert done.returncode == 0 and "sound; fingerprint" in done.stdout


def test_a_copy_never_writes_over_a_file_unasked(reg2rg: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kept: true\n")
    done = reg2rg("recipes", "copy", "tiny", file)
    assert done.returncode == 1 and "there is a file already" in done.stderr and file.read_text() == "kept: true\n"
    assert reg2rg("recipes", "copy", "tiny", file, "--force").returncode == 0 and load(file).name == "mine"


def test_check_names_faults_of_keys_and_values_at_once(reg2rg: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny\nvews: {}\ntraining: {epochs: zero}\n")
    done = reg2rg("recipes", "check", file)
    assert done.returncode == 1 and done.stdout == ""
    assert "did you mean 'views'" in done.stderr and "'training.epochs' is 'zero'" in done.stderr
    data = json.loads(reg2rg("recipes", "check", file, "--json").stdout)
    assert not data["passed"] and "vews" in data["faults"][0]


def test_check_names_faults_of_plugins_at_once(reg2rg: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny\nadapter: percever\nvolume_encoder: {name: conv3d, options: {group: 2}}\n")
    done = reg2rg("recipes", "check", file)
    assert done.returncode == 1
    assert "mine.yaml: the recipe has 2 faults" in done.stderr
    assert "unknown option 'group' (Did you mean 'groups'?)" in done.stderr and "Did you mean 'perceiver'?" in done.stderr
    assert len(json.loads(reg2rg("recipes", "check", file, "--json").stdout)["faults"]) == 2


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_recipes_are_sound(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    load_command("recipes").main(["check", name], standalone_mode=False)  # in this process: there are many
    assert capsys.readouterr().out.startswith(f"{name}: sound; fingerprint ")


def test_faults_say_file_option_and_exit_code(reg2rg: Run, tmp_path: Path) -> None:
    done = reg2rg("recipes", "show", "tinny")
    assert done.returncode == 1 and done.stderr.startswith("reg2rg: no recipe is called 'tinny'. Did you mean 'tiny'")
    done = reg2rg("recipes", "show", "tiny", "--set", "training.epoch=3")
    assert done.returncode == 2 and done.stderr.startswith("reg2rg: --set: unknown key 'training.epoch'")
