"""A file as `evaluate` judges it: floors in every result, few distinct reports said aloud, one reading of each text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from reg2rg.contracts import GroundedReport, RegionSection, Study
from reg2rg.errors import UserError
from reg2rg.evaluate import floors, labels, read_train
from reg2rg.evaluate.assess import assess
from reg2rg.evaluate.floors import ALWAYS, SHUFFLED, shuffled
from reg2rg.evaluate.reading import ReportsFile

SICK = "A nodule is seen in the right lung. Cardiomegaly is present."
WELL = "Both lungs are clear. The heart is normal."


def report(i: int, text: str, truth: str) -> GroundedReport:
    section = RegionSection(0, "lung", "lung", None, text, truth)
    return GroundedReport(f"s{i}", (section,), text, truth)


def file(n: int = 40, text: str | None = None) -> ReportsFile:
    truths = [SICK if i % 2 else WELL for i in range(n)]
    reports = [report(i, truth if text is None else text, truth) for i, truth in enumerate(truths)]
    return ReportsFile(reports, {}, ("A note.",), "reports.jsonl")


def train(folder: Path, rows: Sequence[str], evaluated: Sequence[str] = ()) -> Any:
    path = folder / "region_report.csv"
    path.write_text("Volumename,Anatomy,Sentence\n" + "".join(f"{row}\n" for row in rows))
    return read_train(path, evaluated)


def test_without_a_train_split_the_shuffled_file_is_the_floor() -> None:
    found, _ = assess(file(), ci=20)
    assert list(found["floors"]) == [SHUFFLED, ALWAYS]
    assert found["metrics"]["bleu4"]["value"] > 0.999 > found["floors"][SHUFFLED]["bleu4"]["value"] + 0.2
    assert found["clinical"]["micro"]["f1"] == 1.0 > found["floors"][SHUFFLED]["micro_f1"]["value"]
    assert "--train" in found["notes"][-1] and found["notes"][0] == "A note."
    assert found["settings"]["reports"] == "reports.jsonl"


def test_with_one_the_most_frequent_report_comes_first(tmp_path: Path) -> None:
    known = train(tmp_path, [*(f"t{i}.nii.gz,,{WELL}" for i in range(3)), f"t9.nii.gz,,{SICK}"])
    found, _ = assess(file(), train=known, ci=0)
    assert next(iter(found["floors"])) == "most frequent report" and list(found["floors"])[-1] == ALWAYS
    assert found["floors"]["most frequent report"]["micro_f1"] == {"value": 0.0}
    assert "The floors know the 4 train reports of region_report.csv." in found["notes"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("n", "text", "warned"),
    [(40, WELL, "The same report was written for every study"), (2, None, ""), (100, None, "Only 2 distinct reports.*2.0 %")],
)
def test_few_distinct_reports_are_said_aloud(n: int, text: str | None, warned: str) -> None:
    import re

    found, _ = assess(file(n, text), metrics=["bleu"], ci=0)
    matching = [line for line in found["warnings"] if warned and re.search(warned, line)]
    assert bool(matching) == bool(warned)
    assert found["distinct_references"] == 2


def test_copies_and_empty_predictions_are_said_aloud() -> None:
    assert any("equals its reference" in line for line in assess(file(4), metrics=["bleu"], ci=0)[0]["warnings"])
    assert any("4 of 4 predictions are empty" in line for line in assess(file(4, ""), metrics=["bleu"], ci=0)[0]["warnings"])


def test_floors_have_what_was_asked_for() -> None:
    found, shown = assess(file(6), metrics=["bleu"], ci=0)
    assert list(found["floors"]) == [SHUFFLED] and set(found["floors"][SHUFFLED]) == {"bleu1", "bleu4"}
    assert shown["measure"].startswith("shared words")
    assert "floors" not in assess(file(6), metrics=["length"], ci=0)[0]


def test_shuffling_leaves_no_study_its_own_report() -> None:
    reports = [report(i, f"Text {i}.", WELL) for i in range(50)]
    mixed = shuffled(reports, seed=3)
    assert sorted(r.report for r in mixed) == sorted(r.report for r in reports)
    assert all(a.report != b.report and a.study == b.study for a, b in zip(mixed, reports, strict=True))
    assert [r.report for r in shuffled(reports, seed=3)] == [r.report for r in mixed]


def test_ids_without_labels_are_counted() -> None:
    truth = {f"s{i}": {"Cardiomegaly": i % 2} for i in range(5)}
    found, _ = assess(file(8), labels=truth, metrics=["clinical"], ci=0)
    assert found["excluded"] == {"no row in the labels (findings alone)": {"n": 3, "studies": ["s5", "s6", "s7"]}}
    assert found["clinical"]["n"] == 5


def test_labels_are_enough_without_any_reference_text() -> None:
    bare = ReportsFile([GroundedReport(f"s{i}", (), SICK) for i in range(4)], {})
    found, shown = assess(bare, labels={f"s{i}": {"Cardiomegaly": 1} for i in range(4)}, against=bare, ci=20)
    assert shown == {} and found["metrics"] == {} and "bleu" in found["skipped"]
    assert found["floors"][SHUFFLED]["micro_f1"]["value"] > 0 and found["distinct_references"] == 0
    assert {row["metric"] for row in found["comparison"]["rows"]} >= {"micro_f1", "crg"}


def test_no_text_is_read_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []

    class Labeler:
        def label(self, texts: Sequence[str]) -> np.ndarray:
            seen.extend(texts)
            return np.array([[int("nodule" in t or "Cardiomegaly" in t)] * 18 for t in texts], dtype=np.uint8)

    monkeypatch.setattr(labels, "resolve", lambda *a, **k: Labeler())
    known = train(tmp_path, [f"t{i}.nii.gz,,{WELL}" for i in range(3)])
    assess(file(), train=known, against=file(), ci=0)
    assert len(seen) == len(set(seen))
    labels.label_texts([WELL], "rules")
    assert seen[-1] == WELL  # outside, nothing is remembered


# --- the train split -----------------------------------------------------------------------------------------------------


def test_evaluated_studies_are_no_train_studies(tmp_path: Path) -> None:
    known = train(tmp_path, [f"a.nii.gz,lung,{WELL}", f"b.nii.gz,lung,{SICK}", "c.nii.gz,lung,"], ["a.mha"])
    assert [(s.id, dict(s.region_reports)) for s in known.studies] == [("b", {"lung": SICK})]
    assert known.notes[1].startswith("1 studies of region_report.csv are among those evaluated")
    with pytest.raises(UserError, match="every study of the train split is among those evaluated"):
        train(tmp_path, [f"a.nii.gz,lung,{WELL}"], ["a"])


def test_a_split_and_labels_beside_the_table_are_used(tmp_path: Path) -> None:
    from reg2rg.anatomy import FINDINGS

    (tmp_path / "split.csv").write_text("Volumename,Split\na.nii.gz,train\nb.nii.gz,test\n")
    (tmp_path / "labels.csv").write_text(f"VolumeName,{','.join(FINDINGS)}\na.nii.gz,{','.join('1' * 18)}\n")
    (only,) = train(tmp_path, [f"a.nii.gz,lung,{WELL}", f"b.nii.gz,lung,{SICK}"]).studies
    assert only.id == "a" and only.labels["Emphysema"] == 1
    assert read_train(tmp_path, []).studies == [only]


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        ("t.csv", f"study,report\na,{WELL}\n", ({}, WELL)),
        ("t.csv", f"AccNum,prediction,reference\na/b,Something.,{WELL}\n", ({}, WELL)),
        ("t.csv", f"AccNum,Pred_whole_report,GT_whole_report\na,x,The region 0 is lung: {WELL}\n", ({"lung": WELL}, WELL)),
        ("t.jsonl", json.dumps({"study": "a", "report": WELL}), ({}, WELL)),
    ],
)
def test_train_reports_of_any_form(tmp_path: Path, name: str, content: str, want: tuple[dict[str, str], str]) -> None:
    (tmp_path / name).write_text(content)
    (study,) = read_train(tmp_path / name, []).studies
    assert (dict(study.region_reports), study.report) == want


def test_a_store_gives_its_train_split(tmp_path: Path) -> None:
    from samples_store import phantom, write_info

    from reg2rg.data.store import FORMAT, write_study

    (tmp_path / "studies").mkdir()
    write_info(tmp_path, {"format": FORMAT})
    with pytest.raises(UserError, match="no split 'train'"):
        read_train(tmp_path, [])
    for name, split in (("a", "train"), ("b", "test")):
        write_study(tmp_path / "studies" / f"{name}.h5", *phantom((8, 8, 8), 0), Study(name, split, {"lung": WELL}))
    assert [s.id for s in read_train(tmp_path, []).studies] == ["a"]
    with pytest.raises(UserError, match="this folder is no store"):
        read_train(tmp_path / "studies", [])


def test_floors_of_no_text_at_all() -> None:
    with pytest.raises(UserError, match="train split"):
        floors(file(2).reports, train=[Study("a")])


# --- the command -----------------------------------------------------------------------------------------------------------


def lines(path: Path, reports: Sequence[GroundedReport]) -> Path:
    path.write_text("".join(json.dumps(r.to_json()) + "\n" for r in reports))
    return path


def test_the_command_writes_all_of_it(reg2rg: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    mine, other = lines(tmp_path / "mine.jsonl", file(30).reports), lines(tmp_path / "other.jsonl", file(32, WELL).reports[1:])
    (tmp_path / "train.csv").write_text(f"study,report\nt1,{WELL}\nt2,{WELL}\n")
    out = tmp_path / "out"
    options = ("--ci", 50, "--metrics", "bleu,rouge,clinical,recognition,length", "--out", out)
    done = reg2rg("evaluate", mine, "--against", other, "--train", tmp_path / "train.csv", *options, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "evaluation.json").read_text())
    assert sorted(p.name for p in out.iterdir()) == [
        "evaluation.html", "evaluation.json", "evaluation.md", "evaluation.tex", "length.svg",
    ]  # fmt: skip
    assert (found["comparison"]["this"], found["comparison"]["other"]) == ("mine.jsonl", "other.jsonl")
    assert found["comparison"]["n"] == 29
    assert "most frequent report" in found["floors"]
    for name in ("evaluation.md", "evaluation.tex"):
        text = (out / name).read_text()
        assert "mine.jsonl minus other.jsonl over the 29 studies of both" in text and "most frequent report" in text
    view = reg2rg("view", out / "evaluation.json", "--out", tmp_path / "view.html")
    assert view.returncode == 0 and "the scores of 30 studies" in view.stderr
    shown = reg2rg("evaluate", other, *options[:4])
    assert "Warning: The same report was written for every study" in shown.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--against", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("--against", "other.csv"), "no study in common"),
        (("--against", "self.csv", "--against-column", "theirs"), "no column 'theirs'"),
        (("--train", "empty"), "this folder is no store"),
        (("--train", "self.csv"), "every study of the train split"),
        (("--out", "self.csv"), "not a folder's name"),
    ],
)
def test_faults_are_one_sentence(
    reg2rg: Callable[..., CompletedProcess[str]], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "self.csv").write_text(f"study,prediction,reference\na,{WELL},{SICK}\n")
    (tmp_path / "other.csv").write_text(f"study,prediction,reference\nb,{WELL},{SICK}\n")
    (tmp_path / "empty").mkdir()
    done = reg2rg("evaluate", "self.csv", "--metrics", "bleu", "--ci", 0, *options, cwd=tmp_path)
    assert done.returncode in (1, 2) and message in done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1
