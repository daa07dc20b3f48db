"""Floors: constant baselines scored as the model is."""

from __future__ import annotations

import pytest

from reg2rg.contracts import GroundedReport, RegionSection, Study
from reg2rg.errors import UserError
from reg2rg.evaluate import floors

SICK = {"lung": "Lung nodules are present in the right lung.", "heart": "Cardiomegaly is present."}
WELL = {"lung": "Both lungs are clear.", "heart": "The heart is normal."}


def study(i: int, texts: dict[str, str]) -> Study:
    labels = {"Lung nodule": int("nodules" in texts["lung"]), "Cardiomegaly": int("Cardiomegaly" in texts["heart"])}
    return Study(f"t{i}", "train", texts, labels=labels)


def graded(name: str, truth: dict[str, str], written: dict[str, str]) -> GroundedReport:
    sections = tuple(RegionSection(i, r, r, None, written[r], truth[r]) for i, r in enumerate(truth))
    return GroundedReport(name, sections, " ".join(written.values()), " ".join(truth.values()))


@pytest.fixture
def train() -> list[Study]:
    return [study(i, SICK if i % 3 == 0 else WELL) for i in range(12)]


@pytest.fixture
def test_reports() -> list[GroundedReport]:
    return [graded(f"v{i}", SICK if i % 2 else WELL, WELL) for i in range(8)]


def test_rows_and_their_numbers(train: list[Study], test_reports: list[GroundedReport]) -> None:
    perfect = [
        graded(r.study, {s.region: s.reference for s in r.sections}, {s.region: s.reference for s in r.sections})
        for r in test_reports
    ]
    found = floors(test_reports, train=train, ci=40, extra={"perfect reader": perfect})
    assert list(found) == [
        "perfect reader",
        "most frequent report",
        "most frequent sentence of each region",
        "label prior",
        "another study",
        "all findings always",
    ]
    assert found["perfect reader"]["micro_f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["perfect reader"]["bleu4"]["value"] == pytest.approx(1.0)
    assert found["most frequent report"]["micro_f1"]["value"] == 0.0  # the well report is the commonest
    assert found["most frequent report"] == found["most frequent sentence of each region"]
    assert 0 < found["all findings always"]["micro_f1"]["value"] < 0.5
    assert "bleu4" not in found["all findings always"]


def test_the_label_prior_writes_train_sections_that_fit_the_draw(
    train: list[Study], test_reports: list[GroundedReport]
) -> None:
    always = [study(i, SICK) for i in range(5)]
    found = floors(test_reports, train=always, ci=0)
    assert found["label prior"]["micro_f1"]["value"] == pytest.approx(2 / 3)  # both findings in all 8, true in 4


def test_the_same_seed_gives_the_same_rows(train: list[Study], test_reports: list[GroundedReport]) -> None:
    one, two = (floors(test_reports, train=train, ci=20, seed=5) for _ in range(2))
    assert one == two


def test_given_labels_are_used(train: list[Study], test_reports: list[GroundedReport]) -> None:
    labels = {r.study: {"Emphysema": 1} for r in test_reports}
    found = floors(test_reports, train=train, labels=labels, ci=0)
    assert found["most frequent report"]["micro_f1"]["value"] == 0.0
    assert found["all findings always"]["micro_f1"]["value"] == pytest.approx(2 / 19)


def test_whole_reports_without_regions(test_reports: list[GroundedReport]) -> None:
    train = [Study("a", report="Both lungs are clear."), Study("b", report="Cardiomegaly is present.")]
    bare = [GroundedReport("v", (), "x", "Cardiomegaly is present.")]
    assert floors(bare, train=train, ci=0)["most frequent report"]["rougeL"]["value"] < 1


def test_a_train_split_without_text_is_said(test_reports: list[GroundedReport]) -> None:
    with pytest.raises(UserError, match="train split"):
        floors(test_reports, train=[Study("a")])
