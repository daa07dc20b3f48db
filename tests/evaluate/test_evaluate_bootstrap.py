"""The bootstrap: true resamples, one product for all metrics, repeatable, and neutral to the order of blocks."""

from __future__ import annotations

import numpy as np
import pytest

from reg2rg.evaluate import bootstrap, statistics
from reg2rg.evaluate.bootstrap import Block, combined, draw_counts, estimate, samples, sums_of_each
from reg2rg.evaluate.statistics import Beside, Coded, Rows


def mean(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": sums[..., 0] / sums[..., 1]}


def block(values: np.ndarray, key: str = "a") -> Block:
    return Block((key,), Rows(np.stack([values, np.ones_like(values)], axis=1)), mean)


def test_each_resample_draws_n_studies() -> None:
    counts = draw_counts(50, 200, np.random.default_rng(1))
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_interval_of_a_mean_has_the_known_width() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = estimate([block(values)], 4000, 3)[("a",)]["mean"]
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_same_seed_same_intervals_whatever_else_is_scored() -> None:
    values = np.random.default_rng(0).normal(0, 1, 60)
    alone = estimate([block(values)], 250, 9)[("a",)]
    beside = estimate([block(values**2, "b"), block(values)], 250, 9)[("a",)]
    assert alone["mean"].value == beside["mean"].value
    assert alone["mean"].low == pytest.approx(beside["mean"].low, rel=1e-12)
    assert estimate([block(values)], 250, 10)[("a",)]["mean"].low != alone["mean"].low


def test_two_metrics_of_one_resample_are_paired() -> None:
    values = np.random.default_rng(0).normal(0, 1, 60)
    drawn = samples([block(values), block(values + 1, "b")], 100, 0)
    np.testing.assert_allclose(drawn[("b",)]["mean"] - drawn[("a",)]["mean"], 1.0)


def test_no_resamples_no_interval() -> None:
    found = estimate([block(np.arange(4.0))], 0, 0)[("a",)]["mean"]
    assert found.to_json() == {"value": 1.5}
    assert found.interval is None


def test_a_combine_for_one_vector_only_is_called_row_by_row() -> None:
    def scalar(sums: np.ndarray) -> dict[str, float]:
        return {"ratio": float(sums[0]) / float(sums[1])}

    [sums] = sums_of_each([Rows(np.ones((5, 2)))], 7, 0)
    np.testing.assert_allclose(combined(lambda s: scalar(s) if s.ndim == 1 else {"ratio": 0.0}, sums)["ratio"], 1.0)


def test_a_number_that_is_not_finite_is_left_out() -> None:
    found = estimate([Block(("x",), Rows(np.zeros((3, 1))), lambda s: {"n": np.full(s.shape[:-1], np.nan)})], 10, 0)
    assert found[("x",)]["n"].to_json() == {"value": 0.0}


# --- statistics in their smallest form ---------------------------------------------------------------------------------


def dense_sums(table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return counts @ table


@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["on disk", "in memory"])
@pytest.mark.parametrize("some", [False, True], ids=["of all studies", "of some"])
def test_rows_sum_as_a_table_does(monkeypatch: pytest.MonkeyPatch, limit: int, some: bool) -> None:
    monkeypatch.setattr(statistics, "_LIMIT", limit)
    monkeypatch.setattr(statistics, "_PART", 7)
    rng = np.random.default_rng(0)
    places = np.sort(rng.permutation(50)[:23]) if some else np.arange(50)
    table = np.zeros((50, 3))
    table[places] = rng.normal(size=(len(places), 3))
    rows = Rows(table[places], 50, places)
    counts = draw_counts(50, 20, rng)
    assert rows.shape == (50, 3)
    np.testing.assert_allclose(rows.sum(), table.sum(axis=0))
    np.testing.assert_allclose(rows.sums(counts), dense_sums(table, counts))


def test_coded_rows_beside_others_sum_as_a_table_does() -> None:
    rng = np.random.default_rng(1)
    kinds, own = rng.normal(size=(4, 5)), rng.normal(size=(30, 2))
    codes = rng.integers(-1, 4, size=30)
    table = np.concatenate([own, np.where(codes[:, None] >= 0, kinds[codes], 0.0)], axis=1)
    both = Beside((Rows(own), Coded(codes, kinds)))
    counts = draw_counts(30, 12, rng)
    assert both.shape == (30, 7)
    np.testing.assert_allclose(both.sum(), table.sum(axis=0))
    np.testing.assert_allclose(both.sums(counts), dense_sums(table, counts))


def test_the_draws_are_the_same_however_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(np.random.default_rng(0).normal(size=(40, 2)))
    [whole] = sums_of_each([rows], 30, 5)
    monkeypatch.setattr(bootstrap, "_CELLS", 3 * 40)
    [parts] = sums_of_each([rows], 30, 5)
    np.testing.assert_allclose(parts, whole)
