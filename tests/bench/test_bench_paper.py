"""Every row of the paper's tables is trained, written and scored at the phantoms' size, as `bench --methods` does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples_store import three_studies

from reg2rg import recipe as recipes
from reg2rg.bench.plan import Wish, make_plan
from reg2rg.bench.row import Place, finished, make_encoder, make_run
from reg2rg.bench.scores import measure
from reg2rg.data.store import Store

PAPER = sorted(name for name in recipes.shipped() if name.startswith("paper/"))
FEW = {
    "training": {"epochs": 1, "max_steps": 2, "batch_size": 2, "checkpoint_every": 50},
    "pretraining": {"max_steps": 1},
    "generation": {"max_new_tokens": 6},
}
PLAN = make_plan(Wish("tiny", methods=PAPER, changes=FEW, small=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return three_studies(tmp_path_factory.mktemp("store"))


def test_rows_that_are_the_same_run_are_trained_once() -> None:
    """At the phantoms' size CTRG's rows are RadGenome's, and Table V's baseline is RadFM."""
    assert len(PLAN.rows) == 18 and len(PLAN.runs) == 11


@pytest.mark.parametrize("name", [row.name for row in PLAN.runs.values()])
def test_a_row_of_the_paper_is_trained_and_scored(name: str, store: Store, tmp_path: Path) -> None:
    row = next(row for row in PLAN.rows if row.name == name)
    place = Place(store.root, store.fingerprint(), tmp_path, pretrained=True)
    make_encoder(place, row)
    make_run(place, row)
    facts, reports = finished(place, row) or pytest.fail("the run isn't there")
    assert 0 < facts["trained_parameters"] <= facts["parameters"] and facts["peak_mib"] > 0
    assert [report.study for report in reports] == ["s2"] and reports[0].reference
    assert {"bleu1", "rougeL", "micro_f1"} <= set(measure(reports, None, {}, draws=5).values)
