"""Recipes: differences over a parent, typed values, and every fault at once with where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reg2rg import recipe, strict_yaml
from reg2rg.errors import UserError
from reg2rg.recipe import Recipe, load, merge


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def fault(name: Any, code: int = 1, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(name, **options)
    assert caught.value.code == code
    return str(caught.value)


# --- the shipped ones ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe.shipped())
def test_each_shipped_recipe_resolves_and_says_what_it_is(name: str) -> None:
    loaded = load(name)
    assert loaded.name == Path(name).name and loaded.summary


def test_the_default_is_the_paper() -> None:
    paper = load()
    assert (paper.name, paper.volume_encoder.name, paper.decoder.name) == ("reg2rg", "vit3d", "llama2-7b")
    assert paper.views.size == (256, 256, 64) and paper.views.texture == "cropped" and paper.volume_encoder.freeze
    assert paper.training.optimizer.lr == 5e-5 and paper.training.schedule.warmup == 20 and paper.training.epochs == 6
    assert paper.training.batch_size * paper.training.accumulation == 16
    assert paper.geometry_encoder is not None and paper.geometry_encoder.name == "mask-vit"


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().views.image = False  # type: ignore[misc]


# --- extends -------------------------------------------------------------------------------------------------------


def test_a_recipe_states_only_its_differences(write: Any) -> None:
    off = load(write("extends: reg2rg\nviews: {texture: masked}\ngeometry_encoder: none\n", "lfd-off.yaml"))
    assert off.geometry_encoder is None and off.views.texture == "masked"
    assert off.views.size == (256, 256, 64) and off.decoder == load().decoder
    assert off.name == "lfd-off" and off.summary == ""


def test_a_parent_lies_beside_the_file_with_or_without_its_ending(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write("extends: reg2rg\nreport: reported\n", "lab/base.yaml")
    monkeypatch.chdir("/")
    for parent in ("base", "base.yaml", "../lab/base"):
        assert load(write(f"extends: {parent}\n", "lab/mine.yaml")).report == "reported"


def test_a_file_may_bear_the_name_of_the_shipped_one_that_it_extends(write: Any) -> None:
    assert load(write("extends: reg2rg\ntraining: {epochs: 1}\n", "reg2rg.yaml")).training.epochs == 1


def test_a_grandparent_counts_too(write: Any) -> None:
    write("extends: reg2rg\ntraining: {epochs: 1, seed: 7}\n", "a.yaml")
    child = load(write("extends: a\ntraining: {epochs: 2}\n", "b.yaml"))
    assert (child.training.epochs, child.training.seed, child.training.accumulation) == (2, 7, 16)


def test_a_circle_is_refused(write: Any) -> None:
    write("extends: b\n", "a.yaml")
    assert "extends itself" in fault(write("extends: ./a\n", "b.yaml"))
    write("extends: ../x/d\n", "x/c.yaml")
    assert "extends itself" in fault(write("extends: ../x/c\n", "x/d.yaml"))


def test_a_parent_that_is_absent_is_named_with_the_file_that_wants_it(write: Any) -> None:
    message = fault(write("extends: reg2gr\n"))
    assert "mine.yaml: 'extends': no recipe is called 'reg2gr'. Did you mean 'reg2rg'" in message
    assert "'extends' is ['a', 'b'], not one recipe's name" in fault(write("extends: [a, b]\n"))


# --- merging -------------------------------------------------------------------------------------------------------


def test_mappings_merge_and_lists_are_replaced() -> None:
    assert merge({"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [3]}, "b": 2}) == {"a": {"x": 1, "y": [3]}, "b": 2}


def test_another_component_starts_with_no_options_and_keeps_the_rest() -> None:
    base = {"decoder": {"name": "tiny", "options": {"layers": 2}, "dtype": "float32"}}
    for change in ("hf", {"name": "hf"}):
        assert merge(base, {"decoder": change})["decoder"] == {"name": "hf", "dtype": "float32"}


def test_the_same_component_keeps_its_options() -> None:
    base = {"decoder": {"name": "tiny", "options": {"layers": 2, "width": 8}}}
    merged = merge(base, {"decoder": {"name": "tiny", "options": {"layers": 3}}})
    assert merged["decoder"]["options"] == {"layers": 3, "width": 8}


@pytest.mark.parametrize("none", ["none", None])
@pytest.mark.parametrize("base", ["mask-vit", {"name": "mask-vit", "options": {"depth": 1}}])
def test_none_takes_the_geometry_encoder_out(base: Any, none: Any) -> None:
    assert (
        recipe.check(merge({"decoder": "tiny", "geometry_encoder": base}, {"geometry_encoder": none})).geometry_encoder is None
    )


def test_options_may_follow_a_bare_name(write: Any) -> None:
    write("decoder: tiny\nvolume_encoder: conv3d\n", "base.yaml")
    encoder = load(write("extends: base\nvolume_encoder: {options: {groups: 2}}\n")).volume_encoder
    assert (encoder.name, encoder.options) == ("conv3d", {"groups": 2})


def test_none_takes_the_low_rank_adapters_out(write: Any) -> None:
    assert load(write("extends: reg2rg\ndecoder: {lora: none}\n")).decoder.lora is None


trees = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda t: isinstance(t, dict))


@given(trees, trees)
def test_what_a_change_says_holds_and_the_rest_stays(base: dict[str, Any], change: dict[str, Any]) -> None:
    merged = merge(base, change)
    assert merge(merged, change) == merged and merge(base, {}) == base
    assert set(merged) == {*base, *change}
    assert all(merged[k] == base[k] for k in base if k not in change)


# --- YAML ----------------------------------------------------------------------------------------------------------


def test_numbers_that_yaml_reads_as_text_are_numbers(write: Any) -> None:
    assert isinstance(yaml.safe_load("5e-5"), str)
    loaded = load(write("extends: reg2rg\ntraining: {optimizer: {lr: 5e-5}, max_steps: '20'}\n"))
    assert loaded.training.optimizer.lr == 5e-5 and loaded.training.max_steps == 20


def test_anchors_merge_and_what_is_written_wins(write: Any) -> None:
    text = "views: &v {size: [32, 32, 16], image: false}\ntraining: {optimizer: &o {lr: 1e-3, clip: 0.5}}\n"
    loaded = load(write("extends: reg2rg\n" + text))
    assert loaded.views.size == (32, 32, 16)
    with_merge = "x: &o {lr: 1e-3, clip: 0.5}\ntraining: {optimizer: {<<: *o, clip: 2}}\n"
    assert strict_yaml.parse(with_merge)["training"]["optimizer"] == {"lr": "1e-3", "clip": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("views: {image: true}\nviews: {image: false}\n", "isn't valid YAML in line 2: the key 'views' stands twice"),
        ("views:\n  size: [1, 2\n", "isn't valid YAML in line"),
        ("? [a, b]\n: 1\n", "a key must be plain text"),
        ("name: 2026-99-99\n", "isn't valid YAML: month must be in 1..12"),
        ("a: !!python/object:os.system x\n", "isn't valid YAML in line 1: could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "isn't valid YAML"),
        ("a: \x00\n", "isn't valid YAML: unacceptable character"),
        ("[" * 3000, "isn't valid YAML"),
        ("", "a recipe is a mapping"),
        ("- views\n", "a recipe is a mapping"),
    ],
)
def test_what_is_no_recipe_is_said_in_one_sentence(write: Any, text: str, said: str) -> None:
    message = fault(write(text))
    assert said in message and "\n" not in message and "mine.yaml" in message


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "isn't a UTF-8 text file" in fault(tmp_path / "x.yaml")


# --- faults --------------------------------------------------------------------------------------------------------


def test_all_faults_are_named_at_once_with_near_keys(write: Any) -> None:
    text = (
        "extends: reg2rg\nvews: {}\ntraining: {epoch: 3, optimizer: {lr: fast}, batch_size: 0}\n"
        "views: {texture: croped, window: [200, -1000]}\n"
    )
    message = fault(write(text))
    for said in (
        "mine.yaml: the recipe has 6 faults: ",
        "unknown key 'vews' (did you mean 'views'?)",
        "unknown key 'training.epoch' (did you mean 'epochs'?)",
        "'training.optimizer.lr' is 'fast': input should be a valid number",
        "'training.batch_size' is 0: input should be greater than 0",
        "'views.texture' is 'croped': input should be 'cropped', 'masked' or 'none'",
        "'views.window' is [200, -1000]: the lower bound must lie below the upper one",
    ):
        assert said in message


def test_a_key_in_the_wrong_place_is_pointed_to_its_own(write: Any) -> None:
    assert "unknown key 'weight_decay' (did you mean 'training.optimizer.weight_decay'?)" in fault(write("weight_decay: 0\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("decoder: {options: {layers: 2}}\n", "'decoder.name' is missing"),
        ("decoder: 5\n", "'decoder' is 5: it should be a mapping"),
        ("views: small\n", "'views' is 'small': it should be a mapping"),
        ("decoder: {name: tiny, options: [1]}\n", "'decoder.options' is [1]: it should be a mapping"),
        ("views: {size: [256, 256]}\n", "'views.size"),
        ("training: {optimizer: {lr: .nan}}\n", "finite number"),
        ("generation: {top_p: 1.5}\n", "less than or equal to 1"),
        ("1: x\n", "1"),
        ("name: mine\n", "'decoder' is missing"),
        ("decoder: {lora: {rank: 4}}\n", "unknown key 'decoder.lora.rank'"),
    ],
)
def test_a_fault_says_key_value_and_what_was_expected(write: Any, text: str, said: str) -> None:
    message = fault(write(text))
    assert "the recipe has " in message and said in message and "function-" not in message


def test_an_unknown_name_gets_near_names_and_an_absent_file_its_path() -> None:
    assert fault("reg2gr") == "no recipe is called 'reg2gr'. Did you mean 'reg2rg' or 'tiny/reg2rg'?"
    assert fault("nowhere/x.yaml") == "nowhere/x.yaml: there is no such recipe file."


def test_a_run_folder_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(load(sets=["training.seed=9"]).to_yaml())
    assert load(tmp_path).training.seed == 9 and load(tmp_path).name == "reg2rg"
    assert "there is no such recipe file" in fault(tmp_path / "nowhere.yaml")


# --- --set and other changes ---------------------------------------------------------------------------------------


def test_settings_come_last_in_their_order() -> None:
    sets = ["training.epochs=2", "training.epochs=3", "training.optimizer.lr=1e-4", "views.size=[32, 32, 16]"]
    loaded = load("reg2rg", {"training": {"epochs": 1, "seed": 5}}, sets)
    assert (loaded.training.epochs, loaded.training.seed, loaded.training.optimizer.lr) == (3, 5, 1e-4)
    assert loaded.views.size == (32, 32, 16)


def test_a_component_is_set_by_name_then_by_options() -> None:
    loaded = load(sets=["decoder=tiny", "decoder.options.layers=2", "geometry_encoder=none", "decoder.lora=none"])
    assert (loaded.decoder.name, loaded.decoder.options, loaded.decoder.lora) == ("tiny", {"layers": 2}, None)
    assert loaded.geometry_encoder is None


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=1", ".=1", "training.=1"])
def test_what_is_no_setting_is_wrong_usage(text: str) -> None:
    message = fault("reg2rg", 2, sets=[text])
    assert message.startswith(f"--set: '{text}' isn't KEY=VALUE") and "training.optimizer.lr=1e-4" in message


def test_a_faulty_setting_names_the_option_and_not_the_file() -> None:
    message = fault("reg2rg", 2, sets=["trainin.lr=3", "training.epochs=zero"])
    assert message.startswith("--set: ") and "reg2rg.yaml" not in message
    assert "unknown key 'trainin'" in message and "'training.epochs' is 'zero'" in message
    assert fault("reg2rg", 2, sets=["views.size=[1, 2"]).startswith("--set: the value of 'views.size' isn't valid YAML")


def test_faults_of_file_and_settings_are_told_apart(write: Any) -> None:
    message = fault(write("extends: reg2rg\nvews: {}\n"), sets=["training.epochs=0"])
    assert "mine.yaml: the recipe has 2 faults" in message
    assert "greater than 0 (from --set)" in message and "'views'?)" in message and message.count("--set") == 1


# --- identity ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_what_matters() -> None:
    base = load()
    assert base.fingerprint() == load(sets=["name=other", "summary=words"]).fingerprint()
    assert base.fingerprint() != load(sets=["training.seed=1"]).fingerprint()
    assert len(base.fingerprint()) == 16


changes = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(min_size=1, max_size=10),
        "summary": st.text(max_size=30),
        "prompt": st.fixed_dictionaries({}, optional={"lead_in": st.text(max_size=30), "prefix": st.text(max_size=30)}),
        "training": st.fixed_dictionaries(
            {}, optional={"seed": st.integers(), "optimizer": st.fixed_dictionaries({"lr": st.floats(0, 1e6)})}
        ),
        "geometry_encoder": st.sampled_from(["none", "mask-conv"]),
        "decoder": st.fixed_dictionaries(
            {"name": st.text(min_size=1, max_size=8)},
            optional={"options": st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)},
        ),
    },
)


@given(changes)
def test_a_resolved_recipe_repeats_itself_from_its_yaml(change: dict[str, Any]) -> None:
    first = load("reg2rg", change)
    again = Recipe.model_validate(strict_yaml.parse(first.to_yaml()))
    assert again == first and again.fingerprint() == first.fingerprint()


@given(st.text(max_size=60))
def test_any_text_is_yaml_or_a_fault_in_one_sentence(text: str) -> None:
    try:
        strict_yaml.parse(text)
    except ValueError as error:
        assert str(error).startswith("isn't valid YAML") and "\n" not in str(error)
