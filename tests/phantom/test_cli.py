"""`reg2rg phantom` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_writes_a_phantom_and_tells_in_json(reg2rg: Run, tmp_path: Path) -> None:
    done = reg2rg(
        "phantom", tmp_path / "data", "--studies", 3, "--seed", 4, "--profile", "strict", "--masks", "files", "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["about"] == "procedural phantom, not a patient"
    assert told["counts"]["splits"] == {"train": 1, "valid": 1, "test": 1}
    assert (told["studies"], told["seed"], told["profile"], told["masks"]) == (3, 4, "strict", "files")
    assert len(list((tmp_path / "data" / "volumes").rglob("*.nii.gz"))) == 3


def test_notes_go_to_stderr(reg2rg: Run, tmp_path: Path) -> None:
    done = reg2rg("phantom", tmp_path / "data", "--studies", 1, "--workers", 1)
    assert done.returncode == 0 and done.stdout == ""
    assert "not a patient" in done.stderr and "reg2rg preprocess" in done.stderr


def test_a_foreign_folder_is_one_sentence(reg2rg: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = reg2rg("phantom", tmp_path, "--studies", 1)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "isn't empty" in done.stderr and "Traceback" not in done.stderr


def test_wrong_usage_leaves_with_two(reg2rg: Run, tmp_path: Path) -> None:
    for bad in (["--size", "huge"], ["--studies", "0"], ["--seed", "-1"], ["--workers", "0"], ["--profile", "easy"]):
        assert reg2rg("phantom", tmp_path / "data", *bad).returncode == 2
    assert not (tmp_path / "data").exists()


def test_help_shows_each_option_and_an_example(reg2rg: Run) -> None:
    text = reg2rg("phantom", "--help").stdout
    for word in (
        "--studies",
        "--seed",
        "--size",
        "--masks",
        "--profile",
        "--workers",
        "default: demo",
        "Example: reg2rg phantom",
    ):
        assert word in text
