"""Clinical efficacy: precision, recall and F1 by hand, and the CRG score's fixed points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reg2rg.anatomy import FINDINGS
from reg2rg.evaluate.bootstrap import estimate
from reg2rg.evaluate.clinical import block, combine, crg, label_matrix, statistics, summary

MATRIX = arrays(np.uint8, (6, 18), elements=st.integers(0, 1))


def test_label_matrix_takes_missing_findings_as_absent() -> None:
    matrix = label_matrix([{"Emphysema": 1}, {}])
    assert matrix.sum() == 1
    assert matrix[0, FINDINGS.index("Emphysema")] == 1


@given(MATRIX, MATRIX)
def test_averages_equal_their_definitions(predicted: np.ndarray, truth: np.ndarray) -> None:
    found = combine(statistics(predicted, truth).sum(axis=0))
    tp, fp, fn = (predicted & truth).sum(0), (predicted & ~truth & 1).sum(0), (~predicted & truth & 1).sum(0)

    def f1(t: float, p: float, n: float) -> float:
        return float(2 * t / (2 * t + p + n)) if 2 * t + p + n else 0.0

    each = [f1(*row) for row in zip(tp, fp, fn, strict=True)]
    assert found["micro/f1"] == pytest.approx(f1(tp.sum(), fp.sum(), fn.sum()))
    assert found["macro/f1"] == pytest.approx(np.mean(each))
    support = truth.sum(0)
    assert found["weighted/f1"] == pytest.approx(np.average(each, weights=support) if support.any() else 0.0)
    rows = [f1((p & t).sum(), (p & ~t & 1).sum(), (~p & t & 1).sum()) for p, t in zip(predicted, truth, strict=True)]
    assert found["samples/f1"] == pytest.approx(np.mean(rows))
    assert [float(found[f"per_label/{name}/f1"]) for name in FINDINGS] == pytest.approx(each)


def test_crg_is_one_for_perfect_and_a_third_for_always_normal_reports() -> None:
    truth = np.zeros((10, 18), dtype=np.uint8)
    truth[::2, :4] = 1
    positives = np.float64(truth.sum())
    assert crg(positives, np.float64(0), np.float64(0), np.float64(10)) == pytest.approx(1.0)
    assert crg(np.float64(0), np.float64(0), positives, np.float64(10)) == pytest.approx(1 / 3)
    scores = estimate([block(truth, truth)], 20, 0)[("clinical",)]
    assert summary(scores, truth)["crg"] == pytest.approx(1.0)


def test_a_reference_without_positives_has_no_crg() -> None:
    none = np.zeros((4, 18), dtype=np.uint8)
    found = summary(estimate([block(none, none)], 10, 0)[("clinical",)], none)
    assert "crg" not in found
    assert found["micro"]["f1"] == 0.0
