"""Clinical efficacy by region: findings of the region alone, by the name that the model gave, missing sections counted."""

from __future__ import annotations

import numpy as np
import pytest

from reg2rg.anatomy import FINDING_REGION, FINDINGS
from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.evaluate import evaluate
from reg2rg.evaluate.clinical import label_matrix
from reg2rg.evaluate.regional import columns, regional
from reg2rg.evaluate.tables import tables

HEART, CLEAR = "Cardiomegaly is seen.", "Heart contours are normal."
EMPHYSEMA, NORMAL = "Emphysema is seen in both lungs.", "The lungs are clear."


def report(study: str, *sections: tuple[str, str, str, str]) -> GroundedReport:
    """Sections are (mask, name, written, reference)."""
    made = tuple(RegionSection(i, region, named, None, said, true) for i, (region, named, said, true) in enumerate(sections))
    return GroundedReport(study, made, " ".join(s.report for s in made), " ".join(s.reference for s in made))


def test_each_region_counts_its_own_findings_by_hand() -> None:
    reports = [
        report("s1", ("heart", "heart", HEART, HEART), ("lung", "lung", EMPHYSEMA, EMPHYSEMA)),
        report("s2", ("heart", "heart", HEART, CLEAR), ("lung", "lung", NORMAL, EMPHYSEMA)),
        report("s3", ("heart", "heart", CLEAR, CLEAR), ("lung", "lung", EMPHYSEMA, NORMAL)),
    ]
    found = evaluate(reports, metrics=("clinical",), ci=50)["per_region"]
    assert set(found) == {"heart", "lung"}
    heart, lung = found["heart"]["clinical"], found["lung"]["clinical"]
    assert heart["micro"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
    assert lung["micro"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert heart["n"] == 3 and heart["per_label"]["Cardiomegaly"] == {**heart["micro"], "support": 1}
    assert set(heart["per_label"]) == {f for f, region in FINDING_REGION.items() if region == "heart"}
    low, high = lung["micro_interval"]["f1"]
    assert low <= 0.5 <= high


def test_a_section_under_another_name_states_nothing_for_its_region() -> None:
    """The whole report states the finding; under the region's own name it does not stand."""
    reports = [report("s1", ("heart", "lung", HEART, HEART), ("lung", "heart", NORMAL, NORMAL))]
    found = evaluate(reports, metrics=("clinical",), ci=0)
    assert found["clinical"]["micro"]["f1"] == 1.0
    assert found["per_region"]["heart"]["clinical"]["micro"]["recall"] == 0.0


def test_a_missing_section_is_a_finding_missed_and_a_name_of_none_is_the_masks() -> None:
    reports = [report("s1", ("heart", "", "", HEART)), report("s2", ("heart", "", HEART, HEART))]
    found = evaluate(reports, metrics=("clinical",), ci=0)["per_region"]["heart"]
    assert found["clinical"]["n"] == 2 and found["clinical"]["micro"]["recall"] == 0.5
    assert (found["n"], found["missing"]) == (1, 1)


def test_true_labels_stand_for_the_references() -> None:
    reports = [report("s1", ("heart", "heart", HEART, "")), report("s2", ("heart", "heart", HEART, ""))]
    labels = {"s1": {"Cardiomegaly": 1, "Emphysema": 1}}
    found = evaluate(reports, metrics=("clinical",), labels=labels, ci=0)
    heart = found["per_region"]["heart"]["clinical"]
    assert heart["n"] == 1 and heart["micro"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert "lung" not in found["per_region"]  # no mask of it, nothing to say


def test_texts_are_read_once_and_whole_reports_have_no_regions() -> None:
    asked: list[str] = []

    def label(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return label_matrix([{"Cardiomegaly": int("Cardiomegaly" in t)} for t in texts])

    reports = [report(f"s{i}", ("heart", "heart", HEART, HEART)) for i in range(5)]
    parts = regional([*reports, GroundedReport("t", (), HEART, HEART)], None, label)
    assert asked == [HEART] and [p.region for p in parts] == ["heart"] and list(parts[0].places) == [0, 1, 2, 3, 4]
    assert parts[0].block(6).statistics.shape == (6, 3 * len(columns("heart")))
    assert sorted(i for r in set(FINDING_REGION.values()) for i in columns(r)) == list(range(len(FINDINGS)))


def test_the_table_of_regions_shows_it() -> None:
    reports = [report("s1", ("heart", "heart", HEART, HEART), ("bone", "bone", "No fracture.", "No fracture."))]
    table = next(t for t in tables(evaluate(reports, metrics=("rouge", "clinical"), ci=10)) if t.title == "Regions")
    assert table.columns[-1] == "finding F1"
    assert {row[0]: row[-1] for row in table.rows} == {"bone": "–", "heart": "1.000 [1.000, 1.000]"}
