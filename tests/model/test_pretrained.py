"""`from_pretrained` and `save_pretrained`: a run comes back equal, its base is found or missed in a sentence, hub names too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from samples_llama import around, make_llama, sample

from reg2rg import Reg2RG
from reg2rg.errors import UserError
from reg2rg.generate.decoding import write
from reg2rg.model import base as bases
from reg2rg.model import hub, weights
from reg2rg.model.composite import build_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="module")
def run(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose adapters are far from nothing, so that losing them would show."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    model, base = build_model(around(llama), seed=1)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    weights.save(model, folder, base, {"trained_on_phantoms": True, "steps": 3})
    return folder


def text(model: Reg2RG) -> str:
    spec = model.model.recipe.generation.model_copy(update={"max_new_tokens": 12})
    return write(model.model, [sample(model.model)], spec)[0].text


def state(model: Reg2RG) -> dict[str, torch.Tensor]:
    return model.model.state_dict()


def config(folder: Path) -> dict[str, object]:
    return json.loads((folder / "config.json").read_text())


def test_a_round_trip_gives_the_same_model(run: Path, tmp_path: Path) -> None:
    first = Reg2RG.from_pretrained(run)
    first.save_pretrained(tmp_path / "copy")
    again = Reg2RG.from_pretrained(tmp_path / "copy")
    assert state(again).keys() == state(first).keys()
    assert all(torch.equal(state(again)[k], v) for k, v in state(first).items())
    assert again.model.recipe == first.model.recipe
    assert again.model.tokenizer.get_vocab() == first.model.tokenizer.get_vocab()
    assert text(again) == text(first) != ""
    assert {k: v for k, v in again.config.items() if k != "decoder"} == {
        k: v for k, v in first.config.items() if k != "decoder"
    }
    names = load_file(tmp_path / "copy" / "model.safetensors").keys()
    assert names == load_file(run / "model.safetensors").keys()
    assert all("lora_" in n for n in names if n.startswith("decoder.")), "the base's weights aren't written"


def test_the_run_names_its_base(run: Path, llama: Path) -> None:
    told = config(run)
    assert told["base"] == str(llama) and told["base_revision"] is None
    assert told["base_fingerprint"] == bases.fingerprint(llama) is not None
    assert str(llama) in (run / "README.md").read_text() and "base_model:" not in (run / "README.md").read_text()


def test_a_relative_base_is_named_by_its_place(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(llama.parent)
    model, base = build_model(around("llama"))
    weights.save(model, tmp_path / "run", base, {})
    monkeypatch.chdir(tmp_path)
    assert config(tmp_path / "run")["base"] == str(llama)
    assert Reg2RG.from_pretrained("run").config["base"] == str(llama)


def test_a_moved_base_is_found_and_a_missing_one_is_a_sentence(run: Path, llama: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(llama, tmp_path / "elsewhere")
    lost = shutil.copytree(run, tmp_path / "run")
    told = config(lost) | {"base": str(tmp_path / "gone")}
    (lost / "config.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"base language model .*gone' can't be loaded.*--decoder FOLDER") as error:
        Reg2RG.from_pretrained(lost)
    assert "\n" not in str(error.value)
    found = Reg2RG.from_pretrained(lost, decoder=str(moved))
    assert text(found) == text(Reg2RG.from_pretrained(run)) and len(found.warnings) == 1
    found.save_pretrained(tmp_path / "copy")
    assert config(tmp_path / "copy")["base"] == str(moved)
    with pytest.raises(UserError, match="nowhere"):
        Reg2RG.from_pretrained(run, decoder=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "words", "said"),
    [
        ({"layers": 2}, [], "num_hidden_layers is 2 instead of 1"),
        ({"rope_theta": 1e4}, [], "rope_parameters"),
        ({}, ["another word", "and one"], "vocab_size"),
        ({}, ["swap"], "vocabulary"),
    ],
)
def test_another_model_in_the_bases_place_is_refused(
    run: Path, tmp_path: Path, options: dict[str, object], words: list[str], said: str
) -> None:
    other = make_llama(tmp_path / "other", **options, **({"words": words} if len(words) == 2 else {}))
    if words == ["swap"]:  # as many pieces, others
        file = other / "tokenizer.json"
        file.write_text(file.read_text().replace("enlarged", "smallest"))
    with pytest.raises(UserError, match="isn't the base language model of the run") as error:
        Reg2RG.from_pretrained(run, decoder=str(other))
    assert said in str(error.value)


def test_other_weights_of_the_same_shape_are_warned_of(run: Path, tmp_path: Path) -> None:
    other = make_llama(tmp_path / "other", seed=9)
    warnings = Reg2RG.from_pretrained(run, decoder=str(other)).warnings
    assert len(warnings) == 2 and "has other weights" in warnings[1]


def test_a_fingerprint_knows_weights_not_files(llama: Path, tmp_path: Path) -> None:
    """Shards of the same tensors have the fingerprint of the whole; one changed number has another."""
    tensors = load_file(llama / "model.safetensors")
    (tmp_path / "shards").mkdir()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({n: tensors[n] for n in part}, tmp_path / "shards" / file)
    index = {"weight_map": {n: file for file, part in parts.items() for n in part}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert bases.fingerprint(tmp_path / "shards") == bases.fingerprint(llama)
    tensors[names[0]][0, 0] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    assert bases.fingerprint(tmp_path) != bases.fingerprint(llama)
    assert bases.fingerprint(tmp_path / "nothing") is None


def cached(cache: Path, name: str, source: Path) -> Path:
    """Puts a folder into the hub's cache as the snapshot of `name`."""
    root = cache / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(source, root / "snapshots" / COMMIT))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_run_and_its_base_are_found_by_their_hub_names(run: Path, llama: Path, cache: Path, tmp_path: Path) -> None:
    snapshot = cached(cache, "meta/llama", llama)
    model, base = build_model(around("meta/llama"))
    weights.save(model, tmp_path / "run", base, {})
    told = config(tmp_path / "run")
    assert (told["base"], told["base_revision"]) == ("meta/llama", COMMIT)
    assert "base_model: meta/llama" in (tmp_path / "run" / "README.md").read_text()
    cached(cache, "someone/chest", tmp_path / "run")
    found = Reg2RG.from_pretrained("someone/chest")
    assert found.source == "someone/chest" and text(found) == text(Reg2RG.from_pretrained(tmp_path / "run"))
    (cache / "models--meta--llama" / "refs" / "main").write_text("f" * 40)  # the hub has moved on; the run's commit counts
    assert Reg2RG.from_pretrained(tmp_path / "run").config["base_revision"] == COMMIT
    shutil.rmtree(snapshot)
    with pytest.raises(UserError, match=f"'meta/llama' at revision '{COMMIT}' are not on this machine"):
        Reg2RG.from_pretrained(tmp_path / "run")


def test_a_name_that_is_nowhere_is_one_sentence(cache: Path) -> None:
    with pytest.raises(UserError, match="no run of that name at revision 'v2' could be fetched from the hub") as error:
        Reg2RG.from_pretrained("someone/nothing", revision="v2")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x--y/z", "runs/a..b", "runs/" + "n" * 120])
def test_what_the_hub_takes_for_no_name_is_one_sentence_too(name: str) -> None:
    with pytest.raises(UserError, match="the hub has no such names"):
        Reg2RG.from_pretrained(name)


def test_a_path_is_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/typo", "/some/where", "typo", "./a/b", "a/b/c", "../a"):
        assert not hub.is_name(path)
    assert hub.is_name("owner/name-1.0")
    with pytest.raises(UserError, match="there is no such run folder"):
        Reg2RG.from_pretrained("runs/typo")
