"""`reg2rg evaluate` and `reg2rg label` as a user runs them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from reg2rg.anatomy import FINDINGS
from reg2rg.evaluate.published import LANGUAGE

Run = Callable[..., CompletedProcess[str]]
ROWS = (
    "AccNum,GT_whole_report,Pred_whole_report\n"
    'a,"The region 0 is lung: A nodule is seen in the right lung. The region 1 is heart: Cardiomegaly. ",'
    '"The region 0 is lung: A nodule is seen in the left lung. The region 1 is heart: Normal heart. "\n'
    'b,"The region 0 is lung: Clear lungs. ","The region 0 is lung: Both lungs are clear. "\n'
)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.csv"
    path.write_text(ROWS)
    return path


def test_json_is_one_document_and_the_folder_has_five_files(reg2rg: Run, reports: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = reg2rg("evaluate", reports, "--ci", 50, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "evaluation.json").read_text())
    assert found["region_recognition"]["accuracy"] == 1.0
    assert found["clinical"]["per_label"]["Lung nodule"]["f1"] == 1.0
    names = ["evaluation.html", "evaluation.json", "evaluation.md", "evaluation.tex", "length.svg"]
    assert sorted(p.name for p in out.iterdir()) == names
    table = (out / "evaluation.md").read_text()
    assert all(f"*{method}*" in table for method in LANGUAGE["RadGenome-ChestCT"])
    assert "published" in table
    latex = (out / "evaluation.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") > 3


def test_the_table_for_people(reg2rg: Run, reports: Path) -> None:
    done = reg2rg("evaluate", reports, "--metrics", "bleu,recognition", "--ci", 0)
    assert done.returncode == 0, done.stderr
    assert "BLEU-4" in done.stdout
    assert "Region recognition" in done.stdout
    assert "2 distinct reports in 2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--metrics", "blue"), 2, "'bleu'"),
        (("--ci", "-1"), 2, "--ci"),
        (("--prediction-column", "Pred_whole_reprt"), 1, "Pred_whole_report"),
        (("--labels", "nowhere.csv"), 1, "no such file"),
    ],
)
def test_faults_are_one_sentence(reg2rg: Run, reports: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = reg2rg("evaluate", reports, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_labels_feed_the_evaluation(reg2rg: Run, reports: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    done = reg2rg("label", reports, "--out", out, "--text-column", "GT_whole_report", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["positives"]["Cardiomegaly"] == 1
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["AccNum", *FINDINGS]
    assert [row["Lung nodule"] for row in rows] == ["1", "0"]
    scored = reg2rg("evaluate", reports, "--labels", out, "--metrics", "clinical", "--ci", 0, "--json")
    assert json.loads(scored.stdout)["clinical"]["reference"] == "labels"
    bad = reg2rg("label", reports, "--out", tmp_path / "no.csv", "--labeler", "ruls")
    assert bad.returncode == 1
    assert "'rules'" in bad.stderr
    assert not (tmp_path / "no.csv").exists()
