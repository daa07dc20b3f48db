"""Each compared method trains a step on phantoms at the demo's size, is loaded again and writes a report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from samples_gpt2 import gpt2_folder
from samples_store import three_studies

from reg2rg import recipe as recipes
from reg2rg.data.store import Store
from reg2rg.demo import generate_split
from reg2rg.pipeline import Reg2RG
from reg2rg.train.loop import train
from reg2rg.train.pretrain import pretrain

METHODS = [f"tiny/{name}" for name in ("radfm", "m3d", "ct2rep", "ct2rep-r2gen", "medvint", "r2gengpt")]
STEPS = ("training.max_steps=2", "training.batch_size=2", "training.checkpoint_every=50", "pretraining.max_steps=1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three studies with reports; the last is the test split."""
    return three_studies(tmp_path_factory.mktemp("store"))


def test_every_compared_method_has_a_recipe_of_the_demos_size() -> None:
    assert {*METHODS, *(method.removeprefix("tiny/") for method in METHODS)} <= set(recipes.shipped())


def test_ct2reps_own_decoder_is_trained_loaded_again_and_writes(store: Store, tmp_path: Path) -> None:
    """The other methods are trained as the papers' rows (tests/bench/test_bench_paper.py)."""
    recipe = recipes.load("tiny/ct2rep-r2gen", sets=STEPS)
    pretrain(recipe, store, tmp_path / "encoder")
    result = train(recipe, store, tmp_path / "run", init=[tmp_path / "encoder"])
    assert result.steps == 2 and 0 < result.loss < 20
    model = Reg2RG.from_pretrained(tmp_path / "run")
    [report] = generate_split(model, store, tmp_path / "reports.jsonl", changes={"max_new_tokens": 6})
    assert report.study == "s2" and report.reference and isinstance(report.report, str)


def test_gpt2_is_trained_whole_and_held_by_the_run(store: Store, tmp_path: Path) -> None:
    """Table VI: nothing of its folder is needed once the run is there."""
    folder = gpt2_folder(tmp_path / "gpt2", context=128)
    small = ("views.size=[16,16,8]", "volume_encoder=conv3d", "geometry_encoder=mask-conv", "prompt.instruction=Write.")
    adapter = "adapter.options={tokens: 2, depth: 1, heads: 2, head_dim: 8}"
    sets = (*STEPS, *small, adapter, f"decoder.options.path={folder}", "prompt.lead_in=''", "prompt.region='{visual}'")
    recipe = recipes.load("gpt2", sets=(*sets, "training.precision=no", "training.accumulation=1", "training.workers=0"))
    train(recipe, store, tmp_path / "run")
    shutil.rmtree(folder)
    model = Reg2RG.from_pretrained(tmp_path / "run")
    assert all(p.requires_grad for p in model.model.decoder.parameters()) and model.model.context == 128
    [report] = generate_split(model, store, tmp_path / "reports.jsonl", changes={"max_new_tokens": 500, "grammar": False})
    assert report.study == "s2"


@pytest.mark.parametrize("method", METHODS)
def test_it_sees_the_whole_volume_and_no_region(method: str) -> None:
    recipe = recipes.load(method)
    assert recipe.views.image and recipe.views.texture == "none" and recipe.geometry_encoder is None
    full = recipes.load(method.removeprefix("tiny/"))
    assert full.projection == recipe.projection and not full.alignment.identify
    assert (full.volume_encoder.name, full.adapter.name) == (recipe.volume_encoder.name, recipe.adapter.name)
    assert full.geometry_encoder is None and full.views.texture == "none"
