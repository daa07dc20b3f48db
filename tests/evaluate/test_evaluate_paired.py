"""Two report files on the same studies: differences that a paired bootstrap finds, and pairs that can't be made."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from reg2rg.anatomy import FINDINGS
from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate import evaluate
from reg2rg.evaluate.bootstrap import estimate
from reg2rg.evaluate.evaluation import DEFAULT, collect
from reg2rg.evaluate.paired import comparison

TRUTHS = ("Both lungs are clear. The heart is normal.", "A nodule is seen in the right lung. Cardiomegaly is present.")


def report(i: int, text: str, named: str = "lung") -> GroundedReport:
    truth = TRUTHS[i % 2]
    return GroundedReport(f"s{i}", (RegionSection(0, "lung", named, None, text, truth),), text, truth)


def good(n: int) -> list[GroundedReport]:
    return [report(i, TRUTHS[i % 2]) for i in range(n)]


def poor(n: int) -> list[GroundedReport]:
    return [report(i, TRUTHS[0] if i % 3 else "Nothing is seen.", "heart" if i % 4 == 0 else "lung") for i in range(n)]


def test_every_number_has_a_difference_an_interval_and_a_p() -> None:
    found = comparison(good(60), poor(60), ci=200)
    rows = {row["metric"]: row for row in found["rows"]}
    for name in ("bleu1", "bleu4", "corpus_bleu4", "rougeL", "cider", "micro_f1", "macro_recall", "crg", "recognition"):
        row = rows[name]
        assert row["difference"] == pytest.approx(row["value"] - row["other"])
        assert 0 < row["low"] <= row["difference"] <= row["high"] and row["p"] == pytest.approx(2 / 201)
    assert rows["length_kl"]["lower_is_better"] and rows["length_kl"]["high"] < 0
    assert [row["finding"] for row in found["per_label"]] == list(FINDINGS)
    assert found["n"] == 60 and found["excluded"] == {} and found["distinct_reports"] == {"this": 2, "other": 2}


def test_values_are_those_of_each_file_alone() -> None:
    found = comparison(good(20), poor(20), ci=0)
    one, two = (evaluate(reports, ci=0) for reports in (good(20), poor(20)))
    for row in found["rows"]:
        assert set(row) <= {"metric", "value", "other", "difference", "lower_is_better"}
        if row["metric"] in one["metrics"]:
            assert row["value"] == one["metrics"][row["metric"]]["value"]
            assert row["other"] == two["metrics"][row["metric"]]["value"]


def test_a_blank_reference_is_none_and_the_other_files_stands_for_it() -> None:
    blank = [dataclasses.replace(r, reference=" " if i % 2 else "") for i, r in enumerate(good(20))]
    whole = comparison(good(20), poor(20), metrics=["bleu"], ci=0)
    assert comparison(blank, poor(20), metrics=["bleu"], ci=0) == whole
    assert comparison(good(20), [dataclasses.replace(r, reference="\n") for r in poor(20)], metrics=["bleu"], ci=0) == whole


def test_equal_files_do_not_differ() -> None:
    rows = comparison(poor(20), poor(20), ci=100)["rows"]
    assert all(row["difference"] == row["low"] == row["high"] == 0 and row["p"] == 1 for row in rows)


def test_pairing_sees_what_two_single_intervals_hide() -> None:
    """Studies of very unequal difficulty, and one file that is a little better on each."""
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    a, b = [], []
    for i in range(120):
        hits = int(rng.integers(2, 38))
        truth = " ".join(words)
        for side, n in ((a, hits + 1), (b, hits)):
            side.append(GroundedReport(f"s{i}", (), " ".join([*words[:n], *(["none"] * (40 - n))]), truth))
    row = next(r for r in comparison(a, b, metrics=["rouge"], ci=300)["rows"] if r["metric"] == "rouge1")
    alone = evaluate(a, metrics=["rouge"], ci=300)["metrics"]["rouge1"]
    assert row["low"] > 0 and row["p"] < 0.01
    assert alone["high"] - alone["low"] > 20 * (row["high"] - row["low"])


def test_studies_of_one_file_alone_are_counted() -> None:
    a = good(12)
    b = [dataclasses.replace(r, study=f"{r.study}.nii.gz", reference="") for r in poor(14)[4:]]
    found = comparison(a, b, metrics=["bleu"], ci=0)
    assert found["n"] == 8
    assert found["excluded"] == {
        "only in this file": {"n": 4, "studies": ["s0", "s1", "s2", "s3"]},
        "only in the other file": {"n": 2, "studies": ["s12.nii.gz", "s13.nii.gz"]},
    }


def test_pairs_that_cannot_be_made_are_said() -> None:
    with pytest.raises(UserError, match=r"no study in common.*'s0'.*'other 0'"):
        comparison(good(3), [dataclasses.replace(r, study=f"other {i}") for i, r in enumerate(good(3))])
    with pytest.raises(UserError, match=r"'s0' \(and 2 more\) has another reference.*--references"):
        comparison(good(3), [dataclasses.replace(r, reference="Something else.") for r in good(3)])
    same_but_blanks = [dataclasses.replace(r, reference=f" {r.reference} ".replace(" ", "  ")) for r in good(3)]
    assert comparison(good(3), same_but_blanks, metrics=["bleu"], ci=0)["n"] == 3


def test_a_thousand_resamples_of_the_test_set_are_quick() -> None:
    """Issue's bound: 10 s on two cores for 1,564 reports; the bootstrap alone, every metric and part."""
    reports = [dataclasses.replace(r, study=f"s{i}") for i, r in enumerate(good(1564))]
    blocks = collect(reports, [name for name in DEFAULT if name != "meteor"])
    start = time.process_time()
    estimate(blocks, 1000, 0)
    assert time.process_time() - start < 10
