"""Intervals over seeds and studies, paired differences, and F1 by evidence class, on reports whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from reg2rg.bench.scores import Measured, differences, measure, over_seeds
from reg2rg.contracts import GroundedReport, RegionSection

HEART, LUNG = "Cardiomegaly", "Lung nodule"
CLASSES = {"geometry": [HEART], "detail": [LUNG]}


def report(i: int, text: str) -> GroundedReport:
    truth = "The heart is enlarged. A nodule is seen in the right lung."
    return GroundedReport(f"s{i:03}", (RegionSection(0, "heart", "heart", None, text, truth),), text, truth)


def reports(right: int, n: int = 20) -> list[GroundedReport]:
    """The nodule is always said, cardiomegaly in the first `right` studies."""
    texts = ["The heart is enlarged. A nodule is seen in the right lung.", "A nodule is seen in the right lung."]
    return [report(i, texts[0] if i < right else texts[1]) for i in range(n)]


LABELS = {f"s{i:03}": {HEART: 1, LUNG: 1} for i in range(20)}


def test_evidence_classes_are_scored_apart() -> None:
    found = measure(reports(5), LABELS, CLASSES, draws=50)
    assert found.values["f1_detail"] == 1.0
    assert found.values["f1_geometry"] == pytest.approx(2 * 5 / (2 * 5 + 15))
    assert found.values["micro_f1"] == pytest.approx(2 * 25 / (2 * 25 + 15))
    assert found.values["recognition"] == 1.0 and 0 < found.values["bleu4"] < 1
    assert all(drawn.shape == (50,) for drawn in found.drawn.values())


def test_seeds_widen_the_interval() -> None:
    poor, rich = (measure(reports(n), LABELS, CLASSES, draws=400) for n in (2, 18))
    one, both = over_seeds([poor])["f1_geometry"], over_seeds([poor, rich])["f1_geometry"]
    assert both["value"] == pytest.approx((poor.values["f1_geometry"] + rich.values["f1_geometry"]) / 2)
    assert both["low"] < both["value"] < both["high"]
    assert both["high"] - both["low"] > one["high"] - one["low"]


def test_a_difference_is_paired_by_study_and_seed() -> None:
    good, bad = (measure(reports(n), LABELS, CLASSES, draws=400) for n in (18, 2))
    rows = {row["metric"]: row for row in differences([good, good], [bad, bad])}
    row = rows["f1_geometry"]
    assert row["difference"] == pytest.approx(good.values["f1_geometry"] - bad.values["f1_geometry"])
    assert 0 < row["low"] < row["high"] and row["p"] < 0.01
    assert rows["f1_detail"]["difference"] == 0 and rows["f1_detail"]["p"] == 1
    same = {row["metric"]: row for row in differences([good, bad], [good, bad])}
    assert all(row["low"] == row["high"] == row["difference"] == 0 for row in same.values())


def test_a_number_that_one_seed_lacks_is_left_out() -> None:
    drawn = {"a": np.ones(10), "b": np.ones(10)}
    found = over_seeds([Measured({"a": 1.0, "b": 1.0}, drawn), Measured({"a": 0.0}, {"a": np.zeros(10)})])
    assert set(found) == {"a"} and found["a"]["value"] == 0.5 and (found["a"]["low"], found["a"]["high"]) == (0.0, 1.0)
