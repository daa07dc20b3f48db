"""Interventions: donors that follow from the seed, swaps that touch one region's tokens, a control, and lines that go on."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import Small

from reg2rg.anatomy import FINDING_REGION, REGIONS
from reg2rg.cli.ground import _show
from reg2rg.contracts import GroundedReport, Prompt
from reg2rg.data.store import Store
from reg2rg.data.views import shown_regions, stored_views
from reg2rg.errors import UserError
from reg2rg.generate.donors import KINDS, Wish, choose_swaps, plan
from reg2rg.generate.interventions import Encoded, Tokens, intervene, interventions
from reg2rg.model.batch import Sample
from reg2rg.pipeline import Reg2RG

Run = Callable[..., subprocess.CompletedProcess[str]]


# --- donors ------------------------------------------------------------------------------------------------------------

LABELS = st.dictionaries(st.sampled_from("abcdef"), st.fixed_dictionaries({f: st.integers(0, 1) for f in FINDING_REGION}))
SHOWN = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from(REGIONS), min_size=1), min_size=1)


@given(SHOWN, LABELS, st.integers(0, 9))
def test_donors_show_the_region_and_differ_where_any_does(shown: dict, labels: dict, seed: int) -> None:
    studies = sorted(shown)
    swaps = choose_swaps(studies, shown, labels, REGIONS, seed)
    assert swaps == choose_swaps(studies, dict(reversed(shown.items())), labels, REGIONS, seed)
    for swap in swaps:
        assert swap.donor != swap.study and swap.region in shown[swap.study] and swap.region in shown[swap.donor]
    given_ = {(s.study, s.region): s for s in swaps}
    for study in studies:
        for region in shown[study]:
            able = [o for o in studies if o != study and region in shown[o]]
            assert ((study, region) in given_) == bool(able)
            findings = [f for f, home in FINDING_REGION.items() if home == region]
            telling = [o for o in able if {study, o} <= set(labels) and any(labels[study][f] != labels[o][f] for f in findings)]
            if telling:
                assert given_[study, region].differs


def test_another_seed_gives_other_donors() -> None:
    shown = {f"s{i}": {"lung"} for i in range(20)}
    first, second = (choose_swaps(sorted(shown), shown, {}, REGIONS, seed) for seed in (0, 1))
    assert [s.donor for s in first] != [s.donor for s in second]
    assert all(s.differs is None for s in first)


# --- one swap ----------------------------------------------------------------------------------------------------------


def sample(regions: tuple[str, ...] = ("heart", "lung", "bone")) -> Sample:
    n = len(regions)
    return Sample(
        Prompt((1,), (-100,), (1.0,), (), 1, 5, regions), torch.rand(4, 2), torch.rand(n, 4, 2), torch.rand(n, 1, 2, 2, 2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_touches_one_slot_of_what_its_kind_says(kind: str) -> None:
    before, donor = sample(), Tokens(torch.rand(4, 2), torch.rand(1, 2, 2, 2))
    kept = before.textures.clone(), before.masks.clone()
    after = intervene(before, 1, donor, kind)
    assert after.prompt is before.prompt and after.image is before.image
    for place in (0, 2):
        assert torch.equal(after.textures[place], kept[0][place]) and torch.equal(after.masks[place], kept[1][place])
    assert torch.equal(after.textures[1], donor.texture if kind != "geometry" else kept[0][1])
    assert torch.equal(after.masks[1], donor.mask if kind != "texture" else kept[1][1])
    assert torch.equal(before.textures, kept[0]) and torch.equal(before.masks, kept[1])


# --- a real model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(small: Small) -> Reg2RG:
    return Reg2RG.from_pretrained(small.run)


@pytest.fixture(scope="module")
def store(small: Small) -> Store:
    return Store(small.store)


def test_regions_are_known_from_facts_alone(model: Reg2RG, store: Store) -> None:
    views = model.model.recipe.views
    for name in store.ids()[:6]:
        assert shown_regions(store.facts(name), views) == stored_views(store.path(name), views, REGIONS).regions


def test_own_tokens_are_the_same_bits_again(model: Reg2RG, store: Store) -> None:
    """So that the control must change nothing."""
    from reg2rg.data.dataset import StoreViews
    from reg2rg.model.samples import Samples

    studies, recipe = store.studies("test"), model.model.recipe
    source = StoreViews(store, [s.id for s in studies], recipe.views, geometry=True)
    spec = recipe.generation.model_copy(update={"shuffle_regions": True})
    encoded = Encoded(model.model, Samples(model.model, studies, source), spec)
    own = encoded.sample(studies[0].id)
    assert own.encoded and own.prompt.regions != tuple(sorted(own.prompt.regions))
    for slot, region in enumerate(own.prompt.regions):
        again = encoded.regions(studies[0].id, [region])[region]
        assert torch.equal(again.texture, own.textures[slot]) and torch.equal(again.mask, own.masks[slot])


def options(**changes: Any) -> dict[str, Any]:
    return {"max_new_tokens": 60, "batch_size": 3, **changes}


def run_all(model: Reg2RG, store: Store, out: Path, wish: Wish, **changes: Any) -> list[GroundedReport]:
    pool = store.studies("test")
    experiment = plan(store, pool, model.model.recipe, wish, {s.id: s.labels for s in pool})
    spec = model.model.recipe.generation.model_copy(update=options(**changes))
    return interventions(model.model, store, experiment, out, spec, {"run": "small"})


def test_lines_of_every_study_region_and_kind(model: Reg2RG, store: Store, tmp_path: Path) -> None:
    lines = run_all(model, store, tmp_path / "i.jsonl", Wish(("texture", "both"), ("lung", "thyroid"), limit=3))
    read = [GroundedReport.from_json(json.loads(text)) for text in (tmp_path / "i.jsonl").read_text().splitlines()]
    assert read == lines and not (tmp_path / "i.jsonl.partial").exists()
    done = [(line.study, line.settings["intervention"]["region"], line.settings["intervention"]["kind"]) for line in lines]
    for study in store.ids("test")[:3]:
        regions = [r for r in ("lung", "thyroid") if r in store.mask(study).present()]
        expected = {(study, "", "none"), (study, "", "control")} | {(study, r, k) for r in regions for k in ("texture", "both")}
        assert {key for key in done if key[0] == study} == expected
    assert len(done) == len(set(done))
    by_key = dict(zip(done, lines, strict=True))
    for (study, _, kind), line in by_key.items():
        assert bool(line.reference) == (kind == "none")
        if kind == "control":
            assert [s.report for s in line.sections] == [s.report for s in by_key[study, "", "none"].sections]
    labels = {s.id: s.labels for s in store.studies("test")}
    for line in lines:
        intervention = line.settings["intervention"]
        for finding, pair in (intervention["differs"] or {}).items():
            assert FINDING_REGION[finding] == intervention["region"]
            assert pair == [labels[line.study][finding], labels[intervention["donor"]][finding]]


def test_a_broken_run_goes_on_and_other_batches_do_not_count(model: Reg2RG, store: Store, tmp_path: Path) -> None:
    out, wish = tmp_path / "i.jsonl", Wish(("both",), ("lung",), limit=3)
    whole = run_all(model, store, out, wish)
    first = [line.to_json() for line in whole if line.settings["intervention"]["kind"] == "none"]  # passes are whole or anew
    first[0]["report"] = "Kept from the broken run."
    out.unlink()
    left = "".join(json.dumps(line) + "\n" for line in first) + json.dumps(whole[1].to_json())[:50]
    out.with_name("i.jsonl.partial").write_text(left)
    again = run_all(model, store, out, wish)
    assert again[0].report == "Kept from the broken run." and again[1:] == whole[1:]
    # the same studies in batches of two: no line is kept, since a batch's other studies may turn a near tie
    fresh = run_all(model, store, out, wish, batch_size=2)
    assert fresh[0].report == whole[0].report and len(fresh) == len(whole)


def test_a_finished_file_is_read_not_written_anew(
    model: Reg2RG, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = Wish(("both",), ("heart",), limit=2)
    lines = run_all(model, store, tmp_path / "i.jsonl", wish)
    monkeypatch.setattr("reg2rg.generate.interventions.write", lambda *_: pytest.fail("nothing is left to write"))
    assert run_all(model, store, tmp_path / "i.jsonl", wish) == lines


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(regions=("lungs",)), "no region is called 'lungs'.*'lung'"),
        (Wish(kinds=("textures",)), "no kind of tokens is called 'textures'.*'texture'"),
    ],
)
def test_faults(model: Reg2RG, store: Store, wish: Wish, said: str) -> None:
    with pytest.raises(UserError) as error:
        plan(store, store.studies("test"), model.model.recipe, wish)
    assert re.search(said, str(error.value)) and error.value.code == 2


def test_what_a_recipe_lacks_is_not_swapped(model: Reg2RG, store: Store) -> None:
    recipe, pool = model.model.recipe, store.studies("test")
    blind = recipe.model_copy(update={"geometry_encoder": None})
    assert plan(store, pool, blind, Wish(limit=1)).kinds == ("texture",)
    with pytest.raises(UserError, match=r"such tokens \(both\).*Its kinds: texture"):
        plan(store, pool, blind, Wish(("both",)))
    nothing = blind.model_copy(update={"views": recipe.views.model_copy(update={"texture": "none"})})
    with pytest.raises(UserError, match="nothing to swap"):
        plan(store, pool, nothing, Wish())
    with pytest.raises(UserError, match="has another to take it from"):
        plan(store, pool[:1], recipe, Wish())


# --- the program -------------------------------------------------------------------------------------------------------


def test_ground_through_the_program(small: Small, tmp_path: Path, reg2rg: Run, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grounding"
    wanted = ["--limit", 3, "--kinds", "both", "--regions", "lung,heart", "--max-new-tokens", 60, "--ci", 20]
    done = reg2rg("ground", small.run, "--data", small.store, "--out", out, "--json", *wanted)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "grounding.json").read_text())
    assert found["control"]["changed"] == 0 and found["control"]["n"] == 3 and found["swaps"] == 6
    assert set(found["kinds"]) == {"both"} and set(found["kinds"]["both"]["per_region"]) == {"heart", "lung"}
    assert found["settings"]["labels"] == "store" and "phantoms" in found["settings"]["warnings"][0]
    assert {p.name for p in out.iterdir()} == {"interventions.jsonl", "grounding.json", "grounding.md", "page.html"}
    _show(found)
    shown = capsys.readouterr().out
    assert "faithf" in shown and "0 of" in shown and "lung" in shown


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (["--split", "tset"], 2, "no study of the store is in the split 'tset'"),
        (["--labeler", "rulse"], 1, "Did you mean 'rules'"),
    ],
)
def test_faults_of_the_program(small: Small, tmp_path: Path, reg2rg: Run, extra: list[str], code: int, said: str) -> None:
    done = reg2rg("ground", small.run, "--data", small.store, "--out", tmp_path / "g", *extra)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
