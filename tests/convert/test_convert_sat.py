"""`convert sat`: published files to the segmenter's folder and back, bit for bit, and what is said of other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import samples_sat as sample
import torch
from reg2rg_plugins.segmenters._sat_config import sizes_of
from reg2rg_plugins.segmenters._sat_folder import Published
from safetensors.torch import load_file

from reg2rg.convert import convert, segmenter
from reg2rg.convert.job import Converted, Request
from reg2rg.convert.kinds import KINDS
from reg2rg.convert.tables import LAYOUTS
from reg2rg.errors import UserError


def do(source: Path, out: Path, back: bool = False, **more: Any) -> Converted:
    return convert(Request(KINDS["sat"], source, out, **more), back)


def fault(source: Path, **more: Any) -> str:
    """The sentence; nothing may be left, not even under a temporary name."""
    before = sorted(source.parent.iterdir())
    with pytest.raises(UserError) as caught:
        do(source, source.parent / "out", **more)
    assert sorted(source.parent.iterdir()) == before
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in this machine's hub cache is nothing to these tests."""
    monkeypatch.setattr(segmenter, "local_folder", lambda name: Path(name) if Path(name).is_dir() else None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sample.published(tmp_path / "source")


def plain(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published keys that repeat none and that inference uses."""
    return {k: v for k, v in state.items() if "all_modules" not in k and "decoder.encoder" not in k and "mid_mask" not in k}


def on_meta(shapes: sample.Shapes) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return {key: torch.empty(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    "size, name, backbone, tensors, fused",
    [(sample.NANO, "nano", 73_919_040, 186, 1792), (sample.PRO, "pro", 435_435_136, 274, 3584)],
    ids=["nano", "pro"],
)
def test_the_full_size_has_the_published_keys_shapes_and_counts(
    size: sample.Size, name: str, backbone: int, tensors: int, fused: int
) -> None:
    facts = sample.backbone(size)
    assert len(facts) == tensors and sum(size.features) == fused
    shapes = {**facts, **sample.heads(size), **sample.queries(size)}
    wanted = {k: v for k, v in shapes.items() if "all_modules" not in k}
    state = on_meta(wanted)
    state |= {k: torch.ones(v) for k, v in wanted.items() if ".norm1." in k or ".norm2." in k}  # asked which was trained
    config, notes = Published.configuration(state, on_meta(sample.text(size)))
    assert config["size"] == name and any("norm2 is taken" in note for note in notes)
    tower = {"model_type": "bert", "vocab_size": 30522}  # BERT's own defaults are the published tower's sizes
    network, text = Published.blueprints(config, tower)
    assert {k: tuple(v) for k, v in network.items()} == wanted
    assert {k: tuple(v) for k, v in text.items()} == sample.text(size)
    count = {part: sum(v.numel() for k, v in network.items() if k.startswith(part)) for part in ("backbone", "transformer")}
    assert count == {"backbone": backbone, "transformer": 33_094_656}
    assert network["projection_layer.0.weight"] == (768, fused)


def test_the_folder_holds_the_weights_once_the_sizes_and_the_queries(tmp_path: Path, source: Path) -> None:
    done = do(source, tmp_path / "out")
    own, theirs = load_file(tmp_path / "out" / "model.safetensors"), plain(sample.network_state())
    assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)
    text, given = load_file(tmp_path / "out" / "text" / "model.safetensors"), sample.fill(sample.text(sample.Size()))
    assert text.keys() == given.keys() and all(torch.equal(text[k], given[k]) for k in text)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["features"] == [4, 4, 6, 6, 8, 8] and config["window"] == [288, 288, 96] and len(config["digest"]) == 16
    assert any("neither SAT-Nano's nor SAT-Pro's" in note for note in done.notes)
    asked = load_file(tmp_path / "out" / "queries.safetensors")
    assert asked["liver"].shape == (24,) and not torch.equal(asked["liver"], asked["left lung"])
    assert "mid_mask_embed_proj.0.0.weight" in load_file(tmp_path / "out" / "rest.safetensors")
    assert {"queries.safetensors", "text/tokenizer.json"} <= set(done.files)


@pytest.mark.parametrize("form", ["published", "without the record", "without module", "safetensors"])
def test_there_and_back_is_the_same_files(tmp_path: Path, source: Path, form: str) -> None:
    from safetensors.torch import save_file

    state = {k: v.half() if k.startswith("mask_embed") else v for k, v in sample.network_state().items()}
    data: Any = sample.wrapped(state)
    if form == "without the record":
        data = data["model_state_dict"]
    elif form == "without module":
        data = {"model_state_dict": state}
    theirs = data.get("model_state_dict", data)
    if form == "safetensors":  # which keeps one of equal tensors
        theirs = plain(state)
        (source / "SAT_Nano.pth").unlink()
        save_file(theirs, source / "SAT_Nano.pth")
    else:
        torch.save(data, source / "SAT_Nano.pth")
    do(source, tmp_path / "out")
    again = do(tmp_path / "out", tmp_path / "again", back=True)
    found = torch.load(tmp_path / "again" / "SAT_Nano.pth", weights_only=True)
    assert set(found) == ({"model_state_dict"} if "model_state_dict" in data and form != "safetensors" else set(theirs))
    found = found.get("model_state_dict", found)
    assert list(found) == list(theirs) or (form == "safetensors" and found.keys() == theirs.keys())
    assert all(torch.equal(found[k], theirs[k]) and found[k].dtype == theirs[k].dtype for k in theirs)
    text = torch.load(tmp_path / "again" / "text_encoder.pth", weights_only=True)["model_state_dict"]
    assert again.files == ("SAT_Nano.pth", "text_encoder.pth") and len(text) == len(sample.text(sample.Size()))


def test_of_a_key_and_its_repeats_any_may_be_the_one_that_is_there(tmp_path: Path, source: Path) -> None:
    state = sample.network_state()
    kept = {k: v for k, v in state.items() if "encoder.stages" not in k or ("decoder.encoder" in k and "all_modules" in k)}
    torch.save(sample.wrapped(kept), source / "SAT_Nano.pth")
    do(source, tmp_path / "out")
    own, theirs = load_file(tmp_path / "out" / "model.safetensors"), plain(state)
    assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)
    kept["backbone.encoder.stages.1.0.convs.0.all_modules.0.bias"] = torch.zeros(4)
    torch.save(sample.wrapped(kept), source / "SAT_Nano.pth")
    with pytest.raises(UserError, match=r"should repeat .*, but differs"):
        do(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("used", ["norm1", "norm2"])
def test_the_norm_before_the_attention_is_the_one_that_was_trained(used: str) -> None:
    state = plain(sample.network_state())
    if used == "norm1":
        state = {k.replace("norm1", "x").replace("norm2", "norm1").replace("x", "norm2"): v for k, v in state.items()}
    sizes, notes = sizes_of(state)
    assert sizes.attention_norm == used and not [note for note in notes if "norm2 is taken" in note]


def test_odd_keys_and_shapes_are_named(source: Path) -> None:
    state, file = sample.network_state(), source / "SAT_Nano.pth"

    def told(**changes: Any) -> str:
        changed = {k: v for k, v in {**state, **changes}.items() if v is not None}
        torch.save(sample.wrapped(changed), file)
        return fault(source)

    text = told(**{"query_proj.weight": torch.zeros(2, 2)})
    assert "1 key is unknown" in text and "query_proj.weight" in text
    assert "'transformer_decoder.norm.bias'" in told(**{"transformer_decoder.norm.bias": None})
    text = told(**{"mask_embed_proj.2.weight": torch.zeros(5, 10)})
    assert "mask_embed_proj.2.weight' is (5, 10) instead of (4, 10)" in text
    text = told(**{"head.all_modules.0.weight": torch.zeros(2)})
    assert "1 key is unknown" in text and "head.all_modules.0.weight" in text
    repeated = "backbone.encoder.stages.0.0.convs.0.all_modules.0.weight"
    assert "should repeat" in told(**{repeated: state[repeated] + 1})
    assert "their keys are missing" in told(**{k: None for k in state if k.startswith("transformer")})


def test_files_that_dont_belong_together_are_told(tmp_path: Path, source: Path) -> None:
    wide = sample.text(sample.Size(width=48))
    torch.save(sample.wrapped(sample.fill(wide)), source / "text_encoder.pth")
    assert "the text encoder gives 48 values, the network takes 24" in fault(source)
    torch.save(sample.wrapped(sample.network_state()), source / "text_encoder.pth")
    assert "this looks like SAT's network, not SAT's text encoder" in fault(source)
    (source / "text_encoder.pth").unlink()
    assert "text_encoder.pth is missing" in fault(source)
    torch.save({"backbone.patch_embed.weight": torch.zeros(2)}, source / "SAT_Nano.pth")
    assert "this isn't SAT's network" in fault(source)
    torch.save(sample.fill(sample.text(sample.Size())), source / "SAT_Nano.pth")
    text = fault(source)
    assert "this looks like SAT's text encoder, not SAT's network. Give that one, with this one beside it" in text


def test_config_and_tokenizer_come_from_where_the_user_says(tmp_path: Path, source: Path) -> None:
    tower = sample.tower_folder(tmp_path / "tower")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (source / name).unlink()
    text = fault(source)
    assert "FremyCompany/BioLORD-2023-C" in text and "--tokenizer FOLDER" in text
    assert "config.json" in fault(source, tokenizer=str(tmp_path / "none"))
    assert do(source, tmp_path / "done", tokenizer=str(tower)).tokenizer
    sample.tower_folder(tower, num_hidden_layers=3)
    assert "keys are missing: 'text_tower.biolord.encoder.layer.1" in fault(source, tokenizer=str(tower))
    sample.tower_folder(tower, model_type="unheard-of")
    assert "can't be built from this config.json" in fault(source, tokenizer=str(tower))
    (tower / "config.json").write_text("[]")
    assert "names no model_type" in fault(source, tokenizer=str(tower))


def test_other_names_other_kinds_and_the_way_back_of_nothing(tmp_path: Path, source: Path) -> None:
    (source / "SAT_Nano.pth").rename(source / "nano_2024.pth")
    assert do(source, tmp_path / "out1").kind == "sat"
    assert do(source / "nano_2024.pth", tmp_path / "out2").kind == "sat"
    (source / "another.pth").write_bytes(b"")
    assert "nor one other .pth alone" in fault(source)
    with pytest.raises(UserError, match="there is something already"):
        do(source, tmp_path / "out1")
    with pytest.raises(UserError, match="no segmenter's folder"):
        do(source, tmp_path / "back", back=True)
    torch.save(sample.network_state(), source / "nano_2024.pth")
    with pytest.raises(UserError, match="reg2rg convert sat SOURCE"):
        convert(Request(KINDS["radfm"], source / "nano_2024.pth", tmp_path / "back"))
    (tmp_path / "out1" / "official.json").unlink()
    with pytest.raises(UserError, match="lacks official"):
        do(tmp_path / "out1", tmp_path / "back", back=True)


def test_a_key_may_carry_any_wrapper_and_repeat_through_two_names() -> None:
    layout = LAYOUTS["sat"]
    key = "model_state_dict.module.backbone.decoder.encoder.stages.1.0.convs.0.all_modules.1.bias"
    assert layout.original(key, ()) == "model_state_dict.module.backbone.encoder.stages.1.0.convs.0.norm.bias"
    assert layout.original("module.backbone.encoder.stages.1.0.convs.0.norm.bias", ()) is None
    assert layout.ours("module.mask_embed_proj.0.bias") == layout.ours("mask_embed_proj.0.bias") == "mask_embed_proj.0.bias"
    assert layout.rest("module.mid_mask_embed_proj.1.weight") == "mid_mask_embed_proj.1.weight"
