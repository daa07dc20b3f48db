"""`evaluate` as a whole: what it gives, what it skips and why, and that it keeps its contract with plugins."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from reg2rg.anatomy import FINDINGS
from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate import evaluate, evaluation


def report(
    study: str, lung: str, heart: str, truth: tuple[str, str] = ("Both lungs are clear.", "Cardiomegaly is present.")
) -> GroundedReport:
    sections = (
        RegionSection(0, "lung", "lung", 0.9, lung, truth[0]),
        RegionSection(1, "heart", "heart", 0.9, heart, truth[1]),
    )
    return GroundedReport(study, sections, f"{lung} {heart}".strip(), " ".join(truth))


@pytest.fixture
def reports() -> list[GroundedReport]:
    return [
        report("a", "Both lungs are clear.", "Cardiomegaly is present."),
        report("b", "A nodule is seen in the right lung.", "The heart is normal."),
        report("c", "", ""),
        report("d", "The lungs are clear.", "The heart is enlarged."),
    ]


def test_the_document_has_the_fixed_shape_and_is_json(reports: list[GroundedReport]) -> None:
    found = evaluate(reports, ci=60)
    json.dumps(found, allow_nan=False)
    assert found["n"] == 4
    for name in ("bleu1", "bleu2", "bleu3", "bleu4", "corpus_bleu4", "rouge1", "rouge2", "rougeL", "cider"):
        assert set(found["metrics"][name]) == {"value", "low", "high"}
        assert found["metrics"][name]["low"] <= found["metrics"][name]["value"] <= found["metrics"][name]["high"]
    assert set(found["clinical"]["micro"]) == {"precision", "recall", "f1"}
    assert set(found["clinical"]["per_label"]) == set(FINDINGS)
    assert found["clinical"]["per_label"]["Cardiomegaly"]["support"] == 4
    assert found["clinical"]["micro"]["recall"] == 0.5
    assert len(found["clinical"]["micro_interval"]["f1"]) == 2
    assert found["region_recognition"]["accuracy"] == 1.0
    assert found["per_region"]["lung"]["n"] == 3
    assert found["per_region"]["lung"]["missing"] == 1
    assert found["length"]["kl"] > 0
    assert found["distinct_reports"] == 4
    assert found["empty_predictions"] == 1
    assert "meteor" in found["metrics"] or "wordnet" in found["skipped"]["meteor"].lower()


def test_no_intervals_without_resamples(reports: list[GroundedReport]) -> None:
    found = evaluate(reports, metrics=("bleu", "clinical", "recognition", "length"), ci=0)
    assert "low" not in json.dumps(found["metrics"])
    assert "interval" not in json.dumps(found)


def test_the_same_seed_gives_the_same_document(reports: list[GroundedReport]) -> None:
    one, two = (evaluate(reports, metrics=("bleu", "clinical"), ci=50, seed=3) for _ in range(2))
    assert one == two
    assert evaluate(reports, metrics=("bleu",), ci=50, seed=4)["metrics"] != one["metrics"]


def test_only_what_was_asked_for_is_computed(reports: list[GroundedReport]) -> None:
    found = evaluate(reports, metrics=("rouge",), ci=0)
    assert set(found["metrics"]) == {"rouge1", "rouge2", "rougeL"}
    assert not {"clinical", "region_recognition", "length"} & set(found)
    assert found["skipped"] == {}


def test_unknown_names_get_the_near_ones(reports: list[GroundedReport]) -> None:
    with pytest.raises(UserError, match=r"no metric is called 'blue'.*'bleu'") as fault:
        evaluate(reports, metrics=("blue",))
    assert fault.value.code == 2
    with pytest.raises(UserError, match=r"labeler.*'rulez'.*'rules'"):
        _ = evaluate(reports, metrics=("clinical",), labeler="rulez", ci=0)["clinical"]


def test_given_labels_are_the_clinical_truth(reports: list[GroundedReport]) -> None:
    labels = {"a.nii.gz": {"Cardiomegaly": 0}, "b": {"Lung nodule": 1}}
    found = evaluate(reports, metrics=("clinical",), labels=labels, ci=0)["clinical"]
    assert found["n"] == 2
    assert found["reference"] == "labels"
    assert found["per_label"]["Lung nodule"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert found["per_label"]["Cardiomegaly"]["support"] == 0


def test_labels_alone_score_reports_without_references() -> None:
    bare = [GroundedReport("a", (), "Cardiomegaly is present."), GroundedReport("b", (), "Clear.")]
    found = evaluate(bare, labels={"a": {"Cardiomegaly": 1}}, ci=20)
    assert found["clinical"]["micro"]["f1"] == 1.0
    assert found["metrics"] == {}
    assert {"bleu", "rouge", "cider", "length"} <= set(found["skipped"])
    assert found["excluded"] == {"no reference": {"n": 1, "studies": ["b"]}}


def test_labels_that_match_no_study_are_said(reports: list[GroundedReport]) -> None:
    found = evaluate(reports, metrics=("clinical",), labels={"zz": {}}, ci=0)
    assert "no report's id" in found["skipped"]["clinical"]


def test_nothing_to_score_against_is_an_error() -> None:
    with pytest.raises(UserError, match="no report has a reference"):
        evaluate([GroundedReport("a", (), "Clear.")])


def test_region_texts_go_by_the_name_that_the_model_gave() -> None:
    sections = (
        RegionSection(0, "lung", "heart", None, "The heart is normal.", "Clear lungs."),
        RegionSection(1, "heart", "lung", None, "Clear lungs.", "The heart is normal."),
    )
    found = evaluate([GroundedReport("a", sections, "x", "x")], metrics=("bleu",), ci=0)["per_region"]
    assert found["lung"]["bleu1"]["value"] == found["heart"]["bleu1"]["value"] == 1.0


class Broken:
    """A metric plugin that breaks its contract in the way `fault` says."""

    names = ("broken",)

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def statistics(self, reports: Sequence[GroundedReport]) -> np.ndarray:
        if self.fault == "raises":
            raise ValueError("out of tune")
        return np.ones(len(reports)) if self.fault == "shape" else np.ones((len(reports), 2))

    def combine(self, sums: np.ndarray) -> dict[str, Any]:
        return {"bleu1": sums[..., 0] / np.maximum(sums[..., 1], 1)}


@pytest.mark.parametrize(("fault", "reason"), [("raises", "ValueError: out of tune"), ("shape", "statistics of shape")])
def test_a_broken_metric_takes_only_its_own_number_down(
    reports: list[GroundedReport], monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    resolve = evaluation.resolve

    def fake(kind: str, name: str, *given: Any, **filled: Any) -> Any:
        return Broken(fault) if name == "rouge" else resolve(kind, name, *given, **filled)

    monkeypatch.setattr(evaluation, "resolve", fake)
    found = evaluate(reports, metrics=("rouge", "bleu"), ci=0)
    assert reason in found["skipped"]["rouge"]
    assert "bleu4" in found["metrics"]


def test_two_plugins_with_one_name_are_both_shown(reports: list[GroundedReport], monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = evaluation.resolve

    def fake(kind: str, name: str, *given: Any, **filled: Any) -> Any:
        return Broken("") if name == "rouge" else resolve(kind, name, *given, **filled)

    monkeypatch.setattr(evaluation, "resolve", fake)
    found = evaluate(reports, metrics=("bleu", "rouge"), ci=0)["metrics"]
    assert found["rouge.bleu1"]["value"] == 1.0
    assert found["bleu1"]["value"] < 1.0


def test_a_thousand_resamples_of_1564_reports_take_seconds() -> None:
    rng = np.random.default_rng(0)
    words = np.array(["lung", "clear", "nodule", "seen", "no", "effusion", "heart", "normal", "is", "the"])
    reports = [
        GroundedReport(str(i), (), " ".join(rng.choice(words, 60)) + ".", " ".join(rng.choice(words, 60)) + ".")
        for i in range(1564)
    ]
    start = time.perf_counter()
    found = evaluate(reports, metrics=("bleu", "rouge", "cider", "clinical", "length"), ci=1000)
    assert found["n"] == 1564
    assert time.perf_counter() - start < 60  # about 3 s alone; the machine of a test may be busy
