"""A bench as a whole, its jobs in this process: an encoder that can't be made fails its own rows, for its own reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples_store import three_studies

from reg2rg.bench import run
from reg2rg.bench.plan import Wish, make_plan
from reg2rg.bench.row import Place
from reg2rg.errors import UserError

FEW = {"training": {"max_steps": 1, "batch_size": 2}, "pretraining": {"max_steps": 1}, "generation": {"max_new_tokens": 4}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(run, "WORLD", 2)  # as under a launcher, jobs are done in this process
    store = three_studies(tmp_path / "store")
    return Place(store.root, store.fingerprint(), tmp_path / "out", pretrained=True)


def test_runs_whose_encoder_failed_are_not_tried(place: Place) -> None:
    plan = make_plan(Wish("tiny", sweeps=["volume_encoder.name=conv3d,convnext"], changes=FEW, small=True))
    document, traces = run.bench(plan, place)
    assert [row["name"] for row in document["rows"]] == ["volume_encoder.name=conv3d"] and traces == []
    [failure] = document["failures"]
    assert failure["name"] == "volume_encoder.name=convnext" and "convnext" in failure["error"]
    assert len(list((place.out / "runs").iterdir())) == 1
    assert "Failed: volume_encoder.name=convnext, seed 0" in (place.out / "bench.md").read_text()
    assert json.loads((place.out / "bench.json").read_text()) == document
    assert "evidence" not in document and document["classes"] == {}


def test_where_every_row_fails_the_first_reason_is_said(place: Place) -> None:
    plan = make_plan(Wish("tiny", sweeps=["volume_encoder.name=convnext,resnext"], changes=FEW, small=True))
    with pytest.raises(UserError, match=r"every row failed; the first: .*convnext"):
        run.bench(plan, place)


def test_a_split_without_studies_is_named_before_anything_is_trained(place: Place, tmp_path: Path) -> None:
    plan = make_plan(Wish("tiny", ["geometry"], changes=FEW, small=True))
    with pytest.raises(UserError, match="no study of the store is in the split 'valid'"):
        run.bench(plan, Place(place.store, place.data, place.out, True, split="valid"))
    assert not place.out.exists()
