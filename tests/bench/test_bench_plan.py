"""Plans: every ablation is a valid recipe with the paper's row beside it, sweeps make rows, equal recipes share one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from reg2rg import recipe as recipes
from reg2rg.bench import paper
from reg2rg.bench.estimate import Cost, cost, seconds
from reg2rg.bench.plan import Wish, ablations, encoders, make_plan
from reg2rg.errors import UserError


@pytest.mark.parametrize("group", sorted(ablations()))
@pytest.mark.parametrize(("base", "small"), [("tiny", True), ("reg2rg", False)])
def test_every_ablation_is_a_set_of_different_recipes(group: str, base: str, small: bool) -> None:
    plan = make_plan(Wish(base, [group], seeds=2, small=small))
    names = list(dict.fromkeys(row.name for row in plan.rows))
    assert len(plan.runs) == len(plan.rows) == 2 * len(names)
    assert plan.pairs == tuple((names[0], other) for other in names[1:])
    assert plan.titles == {group: ablations()[group]["title"]}


@pytest.mark.parametrize("group", sorted(ablations()))
def test_the_papers_rows_are_found_under_their_names(group: str) -> None:
    known = ablations()[group]
    published = {row["name"] for row in paper.rows([known["paper"]])}
    like = known.get("like", {})
    assert set(like.values()) <= published
    if group in ("lfd", "rra", "texture", "decoder"):
        assert {like.get(name, name) for name in known.get("small", known["rows"])} <= published


def test_equal_recipes_share_a_run_and_equal_views_an_encoder() -> None:
    plan = make_plan(Wish("tiny", ["lfd", "rra", "geometry", "global", "texture"], seeds=1, small=True))
    runs = {row.name: row.run for row in plan.rows}
    assert len(plan.rows) == 13 and len(plan.runs) == 8
    assert (
        runs["LFD on"] == runs["(d) texture, geometry, global, RRA"]
        and runs["RRA off"] == runs["(c) texture, geometry, global"]
    )
    made = {row.name for row in encoders(plan.runs.values()).values()}
    assert made == {"LFD on", "LFD off", "without global", "baseline: global"}


PAPER = sorted(name for name in recipes.shipped() if name.startswith("paper/"))


def test_there_is_a_recipe_for_each_row_of_the_papers_tables() -> None:
    """Tables I (both data sets), II, IV, V and VI; rows that are Reg2RG itself or stand in two tables have one recipe."""
    methods = {"r2gengpt", "medvint", "radfm", "ct2rep", "m3d", "reg2rg"}
    rows = {f"table1-{m}" for m in methods} | {f"table1-ctrg-{m}" for m in methods}
    rows |= {"table4-lfd-off", "table5-baseline", "table5-a", "table5-b", "table5-c", "table6-gpt2"}
    assert {name.removeprefix("paper/") for name in PAPER} == rows
    assert len({name: recipes.load(f"paper/{name}") for name in rows}) == 18


@pytest.mark.parametrize("name", PAPER)
def test_a_papers_recipe_has_its_like_at_the_phantoms_size(name: str) -> None:
    """What a recipe changes of its parent, its small like changes too; plugins stay where they can be trained from scratch."""
    full = recipes.load(name)
    small = make_plan(Wish("tiny", methods=[name], small=True)).rows[0].recipe
    assert small.views.size == (32, 32, 16) and small.decoder.name in ("tiny", "r2gen")
    for part in ("alignment", "report"):
        assert getattr(small, part) == getattr(full, part)
    assert (small.views.texture, small.views.image) == (full.views.texture, full.views.image)
    assert (small.geometry_encoder is None) == (full.geometry_encoder is None)
    if "reg2rg" not in name and "table4" not in name and "gpt2" not in name and "table5" not in name:
        assert small.volume_encoder.name == full.volume_encoder.name and small.projection == full.projection


def test_ones_own_recipe_is_made_small_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: m3d\nviews: {window: [-900, 300]}\n")
    row = make_plan(Wish("tiny", methods=["reg2rg", str(tmp_path / "mine.yaml")], small=True)).rows[-1]
    assert row.recipe.volume_encoder.name == "m3d-vit" and row.recipe.views.window == (-900.0, 300.0)
    assert row.recipe.views.size == (32, 32, 16)


def test_seeds_differ_in_run_and_encoder() -> None:
    plan = make_plan(Wish("tiny", ["rra"], seeds=3, small=True))
    assert len(plan.runs) == 6 and len(encoders(plan.rows)) == 3


def test_a_sweep_makes_a_row_of_each_value() -> None:
    plan = make_plan(Wish("tiny", sweeps=["region_tokens=8,16,32", "training.optimizer.lr=[1e-3, 2e-3]"], small=True))
    found = {row.name: row.recipe for row in plan.rows}
    assert [found[f"region_tokens={n}"].adapter.options["tokens"] for n in (8, 16, 32)] == [8, 16, 32]
    assert found["training.optimizer.lr=1e-3"].training.optimizer.lr == 1e-3
    assert ("region_tokens=8", "region_tokens=32") in plan.pairs


def test_changes_lie_over_every_row() -> None:
    plan = make_plan(
        Wish("tiny", ["lfd"], changes={"training": {"max_steps": 7}}, sets=["views.window=[-900, 300]"], small=True)
    )
    assert {(row.recipe.training.max_steps, row.recipe.views.window) for row in plan.rows} == {(7, (-900.0, 300.0))}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("tiny", ["ldf"]), "lfd"),
        (Wish("tiny"), "nothing to compare"),
        (Wish("tiny", methods=["tinny"]), "tiny"),
        (Wish("tiny", sweeps=["training.batch_size"]), "isn't KEY=VALUE,VALUE"),
        (Wish("tiny", sweeps=["training.batch_size=8"]), "isn't KEY=VALUE,VALUE"),
        (Wish("tiny", sweeps=["training.batch=8,16"]), "batch_size"),
        (Wish("tiny", sweeps=["training.batch_size=8,{"]), "can't be read"),
    ],
)
def test_wrong_wishes_are_named(wish: Wish, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_plan(wish)


def test_a_cost_counts_parameters_and_finished_rows_set_the_speed() -> None:
    recipe = make_plan(Wish("tiny", ["geometry"], small=True)).rows
    corpus = ["the heart is normal in size and both lungs are clear"]
    full, less = (cost(row.recipe, corpus, 100, pretrained=True) for row in recipe)
    assert full.parameters is not None and less.parameters is not None and full.parameters > less.parameters
    assert full.steps == 1200 and full.operations > less.operations
    times = seconds([Cost(1, 1e9, 100), Cost(1, 1e9, 100), Cost(1, 2e15, 100)], [40.0, None, None])
    assert times[0] == 40.0 and times[1] == pytest.approx(40.0) and times[2] > 100
