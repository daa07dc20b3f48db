"""Whatever is wrong with a file is said in one sentence with the official names, and nothing is left behind."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official_files import Sizes, llama_folder, pieces, radfm, radfm_files, reg2rg

from reg2rg.convert import convert, reading
from reg2rg.convert.job import Converted, Request
from reg2rg.convert.kinds import KINDS, kind_of
from reg2rg.convert.tables import LAYOUTS
from reg2rg.errors import UserError

State = dict[str, Any]
BASE = "lang_model.base_model.model.model"


def do(kind: str, source: Path, out: Path, back: bool = False, **more: object) -> Converted:
    return convert(Request(KINDS[kind], source, out, **more), back)  # type: ignore[arg-type]


def fault(kind: str, source: Path, **more: object) -> str:
    """The sentence; nothing may be left, not even under a temporary name."""
    before = sorted(p.name for p in source.parent.iterdir())
    with pytest.raises(UserError) as caught:
        do(kind, source, source.parent / "out", **more)
    assert sorted(p.name for p in source.parent.iterdir()) == before
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text
    return text


@pytest.fixture(scope="module")
def state() -> State:
    return reg2rg(pieces())


def saved(tmp_path: Path, data: object, name: str = "pytorch_model.bin") -> Path:
    folder = tmp_path / "source"
    folder.mkdir(exist_ok=True)
    torch.save(data, folder / name)
    return folder / name


def drop(*keys: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if k not in keys}


def put(changes: dict[str, Any], dtype: torch.dtype = torch.float32) -> Callable[[State], State]:
    return lambda state: {**state, **{k: torch.zeros(shape, dtype=dtype) for k, shape in changes.items()}}


VIT, FC = "embedding_layer.vision_encoder.transformer.layers", "embedding_layer.fc"
NORMS = [f"{VIT}.{i}.1.norm.{n}" for i in (0, 1) for n in ("weight", "bias")]
LORA = "layers.1.self_attn.v_proj.lora_B.default.weight"
# what is wrong → what is done to the tensors, words of the sentence
FAULTS: dict[str, tuple[Callable[[State], State], list[str]]] = {
    "missing": (drop(f"{VIT}.0.0.fn.to_qkv.weight"), ["1 key is missing", f"'{VIT}.0.0.fn.to_qkv.weight'"]),
    "missing many": (drop(*NORMS), ["4 keys are missing", "and 1 more"]),
    "no tags": (drop("embedding_layer.image_token_weight"), ["'embedding_layer.image_token_weight'"]),
    "no adapter": (drop(f"{BASE}.{LORA}"), [f"{LORA}'"]),
    "extra": (put({"embedding_layer.odd": 1}), ["1 key is unknown", "'embedding_layer.odd'"]),
    "extra in the decoder": (put({f"{BASE}.layers.0.self_attn.q_norm.weight": 64}), ["1 key is unknown", "q_norm"]),
    "shape": (put({f"{FC}.weight": (64, 23)}), ["another shape", f"'{FC}.weight' is (64, 23) instead of (64, 24)"]),
    "transposed": (put({f"{BASE}.layers.0.mlp.up_proj.weight": (64, 96)}), ["(64, 96) instead of (96, 64)"]),
    "type": (put({f"{FC}.bias": 64}, torch.int8), [f"'{FC}.bias' is int8"]),
    "twin": (put({"embedding_layer.weight": (300, 64)}), ["'embedding_layer.weight' should repeat", "differs"]),
    "all at once": (
        lambda s: put({"embedding_layer.odd": 1, f"{FC}.weight": 3})(drop(f"{FC}.bias")(s)),
        ["missing", "unknown", "another shape"],
    ),
    "no language model": (
        lambda s: {k: v for k, v in s.items() if "lang_model" not in k and k != "embedding_layer.weight"},
        ["vocab_size", "layers are missing"],
    ),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_keys_are_named(state: State, tmp_path: Path, change: Callable[[State], State], words: list[str]) -> None:
    text = fault("reg2rg", saved(tmp_path, change(state)))
    assert all(word in text for word in words), text


@settings(max_examples=6)
@given(st.data())
def test_any_missing_or_misshaped_key_is_named(data: st.DataObject) -> None:
    """Whichever tensor is dropped or cut, the sentence holds its name (or says that its part isn't there)."""
    import tempfile

    state = reg2rg(pieces(), rotary=False, twin=False)
    key = data.draw(st.sampled_from(sorted(state)))
    cut = data.draw(st.booleans())
    state = {**state, key: state[key][..., :-1].clone()} if cut else {k: v for k, v in state.items() if k != key}
    with tempfile.TemporaryDirectory() as folder:
        text = fault("reg2rg", saved(Path(folder), state))
    assert f"'{key}'" in text, text


class Malicious:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle", "beside tensors"])
def test_pickled_objects_are_refused_without_running(state: State, tmp_path: Path, form: str) -> None:
    mark = tmp_path / "pwned"
    file = saved(tmp_path, {"a": torch.zeros(1)})
    evil: Any = Malicious(mark)
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(evil))
    else:
        data = {**state, "extra": evil} if form == "beside tensors" else evil
        torch.save(data, file, _use_new_zipfile_serialization=form != "legacy")
    for kind in KINDS:
        text = fault(kind, file)
        assert "refused" in text and "could run code" in text and "tensors alone" in text, text
    assert not mark.exists()


def damaged(folder: Path, whole: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "empty": (b"", "is empty"),
        "cut": (whole[: len(whole) // 2], "broken or cut off"),
        "cut at its end": (whole[:-30], "broken or cut off"),
        "text": (b"these are no weights, but a text", "is no weights file"),
        "web page": (b"<!doctype html><html>", "a web page"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        "cut safetensors": ((300).to_bytes(8, "little") + b'{"a":{"dtype":"F32"', "broken or cut off"),
    }


@pytest.mark.parametrize("how", list(damaged(Path(), b"")))
def test_damaged_files(state: State, tmp_path: Path, how: str) -> None:
    file = saved(tmp_path, state)
    data, words = damaged(tmp_path, file.read_bytes())[how]
    file.write_bytes(data)
    assert words in fault("reg2rg", file)


def test_torchscript_and_other_contents_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, [torch.zeros(1)])
    assert "holds a list, not tensors by name" in fault("reg2rg", file)
    torch.save({"epoch": 3, "state_dict": {"a": torch.zeros(1)}}, file)
    assert "'epoch', which is no tensor" in fault("reg2rg", file)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(file))
    assert "TorchScript program" in fault("reg2rg", file)


def test_the_wrong_kind_is_told_apart(state: State, tmp_path: Path) -> None:
    p = pieces()
    kinds = {
        "whole": (radfm(p), "reg2rg", "looks like RadFM's whole model", "reg2rg convert radfm SOURCE"),
        "vit": (p.vision, "reg2rg", "looks like RadFM's ViT3D", "reg2rg convert radfm SOURCE"),
        "perceiver": (radfm_files(p)["RadFM_perceiver_fc.pth"], "reg2rg", "RadFM's Perceiver", "reg2rg convert radfm"),
        "reg2rg": (state, "radfm", "looks like Reg2RG's whole model", "reg2rg convert reg2rg SOURCE"),
        "llama": (p.llama, "reg2rg", "a language model alone", "--decoder FOLDER"),
        "bert": ({"bert.embeddings.weight": torch.zeros(2)}, "reg2rg", "a BERT", "published model"),
        "other": ({"conv.weight": torch.zeros(2)}, "radfm", "its keys are 'conv.weight'", "published file"),
        "nothing": ({}, "radfm", "its keys are none", "published file"),
    }
    for data, kind, looks, fix in kinds.values():
        text = fault(kind, saved(tmp_path, data))
        assert looks in text and fix in text, text
    do("reg2rg", saved(tmp_path, state), tmp_path / "run")
    text = fault("reg2rg", tmp_path / "run" / "model.safetensors")
    assert "a run of reg2rg already" in text and "--back" in text


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for kind, named in (("reg2rg", "pytorch_model.bin"), ("radfm", "RadFM_vit3d.pth, RadFM_perceiver_fc.pth")):
        assert named in fault(kind, tmp_path / "empty")
        assert "no such file or folder" in fault(kind, tmp_path / "none")


def test_shards_that_are_not_there(state: State, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    index = folder / "pytorch_model.bin.index.json"
    places = dict.fromkeys(state, "pytorch_model-00001-of-00002.bin")
    index.write_text(json.dumps({"weight_map": {**places, "embedding_layer.fc.bias": "pytorch_model-00002-of-00002.bin"}}))
    torch.save(drop("embedding_layer.fc.bias", "embedding_layer.fc.weight")(state), folder / places["embedding_layer.fc.bias"])
    assert "1 of 2 shards are missing: 'pytorch_model-00002-of-00002.bin'" in fault("reg2rg", folder)
    index.write_text(json.dumps({"weight_map": places}))
    assert "lack 2 keys of their index: 'embedding_layer.fc.weight'" in fault("reg2rg", folder)
    index.write_text(json.dumps({"weight_map": {"a": "../other.bin"}}))
    assert "'../other.bin', which is no file beside it" in fault("reg2rg", folder)
    index.write_text("{")
    assert "index of the shards can't be read" in fault("reg2rg", folder)


def test_what_the_shapes_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    state = reg2rg(pieces())
    wide = dict(state)
    for key in [k for k in state if "to_patch_embedding.1" in k and "vision" in k]:
        wide[key] = torch.zeros(1000)
    wide["embedding_layer.vision_encoder.to_patch_embedding.2.weight"] = torch.zeros(24, 1000)
    text = fault("reg2rg", saved(tmp_path, wide))
    assert "a patch of the checkpoint has 1000 values" in text and "--set volume_encoder.options.patch=[H,W,D]" in text
    odd = {k: torch.zeros(24, 100) if k.endswith("fn.to_out.0.weight") and "vision" in k else v for k, v in state.items()}
    assert "--set volume_encoder.options.head_dim=N" in fault("reg2rg", saved(tmp_path, odd))
    text = fault("reg2rg", saved(tmp_path, state), sets=("views.size=[128,128,16]",))
    assert "views of (128, 128, 16) voxels don't fit the volume encoder" in text and "--set views.size" in text


def test_what_the_user_sets_wins_over_the_shapes(state: State, tmp_path: Path) -> None:
    text = fault("reg2rg", saved(tmp_path, state), sets=("volume_encoder.options.depth=5",))
    assert "33 keys are missing" in text and "--set KEY=VALUE" in text


def test_heads_that_nobody_can_know(tmp_path: Path) -> None:
    s = Sizes(hidden=160, blocks=1)
    text = fault("reg2rg", saved(tmp_path, reg2rg(pieces(s))))
    assert "isn't heads of 128" in text and "config.json" in text
    llama_folder(tmp_path / "llama", s, heads=5)
    do("reg2rg", tmp_path / "source", tmp_path / "run", decoder=str(tmp_path / "llama"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["decoder"]["num_attention_heads"] == 5


def test_another_language_model_is_refused(state: State, tmp_path: Path) -> None:
    file = saved(tmp_path, state)
    llama_folder(tmp_path / "llama", Sizes(hidden=32, blocks=1))
    text = fault("reg2rg", file, decoder=str(tmp_path / "llama"))
    assert "isn't the checkpoint's language model" in text and "hidden_size is 32 instead of 64" in text
    assert "no decoder is called 'lama'" in fault("reg2rg", file, decoder="lama")
    assert "there is no such folder" in fault("reg2rg", file, decoder=str(tmp_path / "lama"))
    assert "has no base language model" in fault("reg2rg", file, decoder="tiny")
    # beside the file, a configuration of something else is passed over, and said
    (tmp_path / "source" / "config.json").write_bytes((tmp_path / "llama" / "config.json").read_bytes())
    done = do("reg2rg", file, tmp_path / "run")
    assert any("is of another model" in note for note in done.notes)


def test_what_is_there_is_not_written_over(state: State, tmp_path: Path) -> None:
    file = saved(tmp_path, state)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    for kind, source in (("reg2rg", file), ("radfm", file)):
        with pytest.raises(UserError, match="there is something already"):
            do(kind, source, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["note.txt"]
    (tmp_path / "run").mkdir()
    do("reg2rg", file, tmp_path / "run")
    with pytest.raises(UserError, match="there is something already"):
        do("reg2rg", tmp_path / "run", file, back=True)
    with pytest.raises(UserError, match="is a torch file"):
        do("reg2rg", tmp_path / "run", tmp_path / "x.safetensors", back=True)


def test_a_full_disk_is_seen_before_anything_is_written(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    file = saved(tmp_path, state)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    assert "GB are needed and 0.0 GB are free" in fault("reg2rg", file)


def test_the_way_back_wants_the_architecture(state: State, tmp_path: Path) -> None:
    do("reg2rg", saved(tmp_path, state), tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("name: vit3d", "name: conv3d"))
    with pytest.raises(UserError, match="its volume encoder is 'conv3d', Reg2RG's whole model has 'vit3d'"):
        do("reg2rg", tmp_path / "run", tmp_path / "a.bin", back=True)
    (tmp_path / "run" / "recipe.yaml").write_text(recipe)
    (tmp_path / "run" / "official.json").write_text("{}")
    with pytest.raises(UserError, match="record of the official form can't be read"):
        do("reg2rg", tmp_path / "run", tmp_path / "a.bin", back=True)
    with pytest.raises(UserError, match="no encoder folder"):
        do("radfm", tmp_path / "run", tmp_path / "a.bin", back=True)
    (tmp_path / "run" / "official.json").unlink()
    (tmp_path / "run" / "rest.safetensors").unlink()
    do("reg2rg", tmp_path / "run", tmp_path / "a.bin", back=True)  # without its record: all but the rotary constants


def test_widths_of_two_models_are_told(tmp_path: Path) -> None:
    torch.save(pieces().vision, tmp_path / "RadFM_vit3d.pth")
    torch.save({"perceiver": pieces(Sizes(width=12)).perceiver}, tmp_path / "RadFM_perceiver_fc.pth")
    with pytest.raises(UserError, match="encoder is 24 wide, the adapter 12"):
        do("radfm", tmp_path, tmp_path / "out")


def test_the_tables_hold_together() -> None:
    """Every layout belongs to one kind, and what one table maps it maps back."""
    assert {name for kind in KINDS.values() for name in kind.layouts} == set(LAYOUTS)
    for layout in LAYOUTS.values():
        assert layout.name in kind_of(layout).layouts
        for official, ours in layout.renames:
            key = f"{official}x" if official.endswith(".") or not official else official
            assert layout.official(str(layout.ours(key))) == key and ours
    assert reading.listed("abcd") == "'a', 'b', 'c' and 1 more"
