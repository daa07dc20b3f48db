"""Region recognition: the golden cases of both definitions, and the confusion matrix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate import evaluate
from reg2rg.evaluate.reading import grounded
from reg2rg.evaluate.recognition import corrected
from reg2rg.evaluate.recognition_official import as_is
from reg2rg.evaluate.tables import tables


def compare(got: Any, want: Any, where: str) -> None:
    if isinstance(want, dict):
        assert set(got) == set(want), where
        for key in want:
            compare(got[key], want[key], f"{where}/{key}")
    else:
        assert got == pytest.approx(want, abs=1e-9), where


def test_golden_cases(shared: Path) -> None:
    seen = 0
    for file in sorted((shared / "golden" / "metrics").glob("*/case.json")):
        for case in json.loads(file.read_text(encoding="utf-8")).get("cases", []):
            if "samples" not in case:
                continue
            seen += 1
            samples = [(s["accnum"], s["reference"], s["prediction"]) for s in case["samples"]]
            for key, definition in (("as_is", as_is), ("corrected", corrected)):
                if {"official_raises", "not_defined"} & set(case[key]):
                    with pytest.raises(UserError):
                        definition(samples)
                else:
                    compare(definition(samples), case[key], f"{case['name']}/{key}")
    assert seen


def named(study: str, *names: tuple[str, str]) -> GroundedReport:
    sections = tuple(RegionSection(i, region, name, None, "a", "a") for i, (region, name) in enumerate(names))
    return GroundedReport(study, sections, "a", "a")


def test_confusion_counts_wrong_unknown_and_repeated_names() -> None:
    reports = [
        named("s1", ("lung", "lung"), ("pleura", "lung"), ("heart", "liver")),
        named("s2", ("lung", "lung"), ("bone", "")),
    ]
    found = evaluate(reports, metrics=("recognition",), ci=50)["region_recognition"]
    assert found["accuracy"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["per_region"]["lung"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
    }
    assert found["per_region"]["heart"]["recall"] == 0.0
    assert set(found["per_region"]) == {"bone", "heart", "lung", "pleura"}
    names, truth = found["confusion"]["named"], found["confusion"]["truth"]
    counts = found["confusion"]["counts"]
    assert counts[truth.index("pleura")][names.index("lung")] == 1
    assert counts[truth.index("heart")][names.index("none")] == counts[truth.index("bone")][names.index("none")] == 1
    assert (found["missing"], found["unknown"], found["repeated"], found["extra"]) == (1, 1, 1, 0)
    assert found["unknown_names"] == {"liver": 1} and found["repeated_names"] == {"lung": 1}
    low, high = found["accuracy_interval"]
    assert low <= found["accuracy"] <= high
    shown = {t.title: t for t in tables(evaluate(reports, metrics=("recognition",), ci=0))}
    assert "1 missing, 1 unknown, 1 repeated" in shown["Region recognition"].note
    row = next(row for row in shown["Region names"].rows if row[0] == "pleura")
    assert dict(zip(shown["Region names"].columns, row, strict=True))["lung"] == "1"


def test_sections_that_no_mask_has_are_counted_apart() -> None:
    """As a report that writes a slot twice, or more slots than it was shown."""
    reports = [
        named("s1", ("lung", "lung"), ("", "lung"), ("", "heart"), ("", "lung")),
        named("s2", ("lung", ""), ("", "aorta"), ("", "")),
    ]
    found = evaluate(reports, metrics=("recognition",), ci=0)["region_recognition"]
    assert found["accuracy"] == 0.5 and sum(map(sum, found["confusion"]["counts"])) == 2
    assert (found["missing"], found["extra"], found["unknown_names"]) == (1, 4, {"aorta": 1})
    assert found["repeated_names"] == {"lung": 2}


def test_reports_that_name_nothing_are_skipped_with_the_reason() -> None:
    found = evaluate([named("s1", ("lung", ""))], metrics=("recognition",), ci=0)
    assert "region_recognition" not in found
    assert "names" in found["skipped"]["recognition"]


def test_sections_read_from_published_texts_give_the_same_counts(shared: Path) -> None:
    """The way through a reports file agrees with the definition on texts."""
    for file in sorted((shared / "golden" / "metrics").glob("*/case.json")):
        for case in json.loads(file.read_text(encoding="utf-8")).get("cases", []):
            if "not_defined" in case.get("corrected", {"not_defined": ""}):
                continue
            reports = [grounded(f"{i}", s["prediction"], s["reference"]) for i, s in enumerate(case["samples"])]
            found = evaluate(reports, metrics=("recognition",), ci=0)
            if not any(s["prediction"].startswith("The region") for s in case["samples"]):
                continue
            assert found["region_recognition"]["accuracy"] == pytest.approx(case["corrected"]["mean_accuracy"])
            for region, scores in found["region_recognition"]["per_region"].items():
                assert scores["f1"] == pytest.approx(case["corrected"]["f1"][region])
                assert scores["support"] == case["corrected"]["TP"][region] + case["corrected"]["FN"][region]
