"""`reg2rg doctor`: what this installation can do, and what is missing for what."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reg2rg import doctor

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_sound_installation_is_told_in_full(reg2rg: Run) -> None:
    done = reg2rg("doctor", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0 and facts["sound"] and facts["faults"] == facts["broken"] == []
    versions = {p["name"].lower(): p["version"] for p in facts["packages"]}
    assert versions["torch"] and versions["simpleitk"] and all(p["sound"] for p in facts["packages"])
    assert "cpu" in {d["name"] for d in facts["devices"]} and facts["plugins"]["metric"] >= 3
    assert {"METEOR", "faster reading of .nii.gz"} <= {f["what"] for f in facts["features"]}
    assert all(bool(f["found"]) != bool(f["fix"]) for f in facts["features"])


def test_for_people_it_says_what_is_there_and_what_to_install(reg2rg: Run) -> None:
    done = reg2rg("doctor")
    assert done.returncode == 0 and "torch 2." in done.stdout and "devices: cpu" in done.stdout and "METEOR" in done.stdout


def test_a_broken_plugin_package_is_named_with_its_reason(reg2rg: Run, tmp_path: Path) -> None:
    info = tmp_path / "bad_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reg2rg]\nmain = bad_tools\n")
    (tmp_path / "bad_tools.py").write_text("raise RuntimeError('no licence')\n")
    done = reg2rg("doctor", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and "broken: package 'bad-tools': RuntimeError: no licence" in done.stdout


def test_a_required_package_that_is_absent_or_old_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["absent-thing>=1", "pluggy>=99", "isal; extra == 'x'"])
    assert doctor.examine()["sound"] is False
    assert [p["name"] for p in doctor._packages()] == ["absent-thing", "pluggy"]
    assert doctor.examine()["faults"][0] == "absent-thing is missing (needed: >=1)"


def test_wordnet_is_looked_for_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    (tmp_path / "corpora" / "wordnet").mkdir(parents=True)
    assert doctor._wordnet() == str(tmp_path / "corpora" / "wordnet")


def test_what_a_plugin_lacks_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    from reg2rg.plugins import Offer, Registry

    offer = Offer("segmenter", "sat", "lab:Sat", "", ("absent_sat",), "lab-tools")
    monkeypatch.setattr(doctor, "registry", lambda: Registry((offer,), ()))
    row = doctor._features()[-1]
    assert row == {"what": "segmenter 'sat' of package 'lab-tools'", "found": "", "fix": "pip install absent_sat"}


def test_weights_and_another_python_are_looked_for_where_variables_name_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found() -> dict[str, str]:
        return {row["what"]: row["found"] for row in doctor._features()}

    monkeypatch.delenv("REG2RG_METRICS_PYTHON", raising=False)
    monkeypatch.setenv("REG2RG_RADBERT", str(tmp_path))
    rows = {row["what"]: row for row in doctor._features()}
    assert "reg2rg convert radbert" in rows["labels by RadBERT"]["fix"]
    assert "transformers<5" in rows["BERTScore, RadGraph-F1 and RaTEScore"]["fix"]
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setenv("REG2RG_METRICS_PYTHON", sys.executable)
    assert found()["labels by RadBERT"] == str(tmp_path)
    assert found()["BERTScore, RadGraph-F1 and RaTEScore"] == sys.executable
