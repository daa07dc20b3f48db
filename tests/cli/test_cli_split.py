"""`reg2rg split` and `preprocess --splitter` as a user runs them."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples_segmenter
from samples_chat import make_chat
from samples_ct import hu_array, write_nifti

Program = Callable[..., subprocess.CompletedProcess[str]]
REPORTS = "AccessionNo,report_text\ns0,The thoracic aorta is calcified. Lungs are clear.\ns1,Nothing to say.\ns2,Not given.\n"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"PYTHONPATH": str(samples_segmenter.install(tmp_path_factory.mktemp("package")))}


def rows(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["Volumename"], row["Anatomy"], row["Sentence"]) for row in csv.DictReader(file)]


def test_a_table_is_split(tmp_path: Path, reg2rg: Program) -> None:
    source, out = tmp_path / "r.csv", tmp_path / "new/region_report.csv"
    source.write_text(REPORTS)
    done = reg2rg("split", source, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["n"], summary["empty"], summary["without_region"], summary["fallbacks"]) == (3, 1, 1, 0)
    assert {region: n for region, n in summary["regions"].items() if n} == {"lung": 1, "mediastinum": 1}
    assert rows(out) == [
        ("s0.nii.gz", "", "The thoracic aorta is calcified. Lungs are clear."),
        ("s0.nii.gz", "lung", "Lungs are clear."),
        ("s0.nii.gz", "mediastinum", "The thoracic aorta is calcified."),
        ("s1.nii.gz", "", "Nothing to say."),
    ]
    assert [p.name for p in out.parent.iterdir()] == ["region_report.csv"], "nothing half-done is left"
    named = ("--report-column", "report_text", "--id-column", "AccessionNo", "--splitter-options", "several=true")
    several = reg2rg("split", source, "--out", out, *named)
    assert several.returncode == 0 and several.stdout == "" and "1 sentences are about no region" in several.stderr
    assert ("s0.nii.gz", "abdomen", "The thoracic aorta is calcified.") in rows(out)


def test_a_chat_model_splits_and_says_what_it_left_to_rules(tmp_path: Path, reg2rg: Program) -> None:
    (tmp_path / "r.csv").write_text("id,report\na,Lungs are clear. The heart is large.\nb," + "Ribs are whole. " * 60 + "\n")
    model = make_chat(tmp_path / "model", positions=2000)
    command = ("split", tmp_path / "r.csv", "--out", tmp_path / "o.csv", "--splitter", "llm", "--json")
    options = ("--splitter-options", "device=cpu", "--splitter-options", "max_sentences=100")
    done = reg2rg(*command, *options, "--splitter-options", f"model={model}")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["fallbacks"] == 1 and "2000 tokens" in next(iter(summary["reasons"]))
    assert ("b.nii.gz", "bone", ("Ribs are whole. " * 60).strip()) in rows(tmp_path / "o.csv")
    words = [w for name, area, text in rows(tmp_path / "o.csv") if area and name[0] == "a" for w in text.split()]
    assert set(words) <= {"Lungs", "are", "clear.", "The", "heart", "is", "large."}


def test_bad_requests_are_one_sentence(tmp_path: Path, reg2rg: Program) -> None:
    (tmp_path / "r.csv").write_text(REPORTS)
    (tmp_path / "folder").mkdir()
    out = ("--out", tmp_path / "o.csv")
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((tmp_path / "none.csv", *out), "no such table"),
        ((tmp_path / "r.csv", *out, "--splitter", "rule"), "Did you mean 'rules'"),
        ((tmp_path / "r.csv", *out, "--splitter-options", "severall=1"), "several"),
        ((tmp_path / "r.csv", "--out", tmp_path / "folder"), "this is a folder"),
    ]
    for arguments, word in cases:
        done = reg2rg("split", *arguments)
        assert done.returncode == 1 and word in done.stderr, (word, done.stderr)
        assert done.stderr.count("\n") == 1 and done.stdout == "" and not (tmp_path / "o.csv").exists()


def study(reg2rg: Program, path: Path) -> dict[str, Any]:
    done = reg2rg("inspect", path, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_preprocess_splits_and_another_splitter_renews_the_text_alone(
    tmp_path: Path, reg2rg: Program, env: dict[str, str]
) -> None:
    for i in range(2):
        write_nifti(tmp_path / f"in/s{i}.nii.gz", hu_array(seed=i))
    (tmp_path / "r.csv").write_text(REPORTS)
    command = (
        "preprocess", tmp_path / "in", "--out", tmp_path / "out", "--segmenter", "dense", "--workers", "1",
        "--reports", tmp_path / "r.csv", "--json",
    )  # fmt: skip
    plain = reg2rg(*command, env=env)
    assert plain.returncode == 0, plain.stderr
    assert "2 studies have a whole report and no region sentences" in plain.stderr and "--splitter rules" in plain.stderr
    first = tmp_path / "out/studies/s0.h5"
    assert study(reg2rg, first)["region_reports"] == {}
    split = reg2rg(*command, "--splitter", "rules", env=env)
    assert split.returncode == 0, split.stderr
    assert (json.loads(split.stdout)["done"], json.loads(split.stdout)["skipped"]) == (2, 0)
    found = study(reg2rg, first)
    assert found["region_reports"] == {"lung": "Lungs are clear.", "mediastinum": "The thoracic aorta is calcified."}
    assert found["provenance"]["region_sentences"].startswith("by splitter 'rules' of reg2rg")
    several = ("--splitter", "rules", "--splitter-options", "several=true")
    assert reg2rg(*command, *several, env=env).returncode == 0
    assert set(study(reg2rg, first)["region_reports"]) == {"abdomen", "lung", "mediastinum"}
    again = json.loads(reg2rg(*command, *several, env=env).stdout)
    assert (again["done"], again["skipped"]) == (0, 2)
    bad = reg2rg(*command, "--splitter", "ruels", env=env)
    assert bad.returncode == 1 and "Did you mean 'rules'" in bad.stderr


def test_help_shows_an_example(reg2rg: Program) -> None:
    done = reg2rg("split", "--help")
    assert done.returncode == 0 and "Example: reg2rg split" in done.stdout
