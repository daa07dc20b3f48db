"""Official → ours → official is bit-equal: the same keys in the same order, types and bits, for any size and type."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official_files import Sizes, llama_folder, pieces, radfm, radfm_files, reg2rg
from safetensors.torch import load_file, save_file
from torch import Tensor

from reg2rg.convert import convert
from reg2rg.convert.job import Converted, Request
from reg2rg.convert.kinds import KINDS
from reg2rg.errors import UserError

DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
SIZES = st.builds(
    Sizes,
    width=st.sampled_from([12, 24]),
    depth=st.integers(1, 3),
    heads=st.integers(1, 2),
    mlp=st.integers(5, 40),
    tables=st.sampled_from([(2, 2, 4), (1, 3, 8)]),
    latents=st.integers(1, 4),
    layers=st.integers(1, 3),
    mask_depth=st.integers(1, 2),
    mask_tables=st.sampled_from([(1, 1, 1), (2, 2, 1)]),
    hidden=st.sampled_from([32, 128]),
    blocks=st.integers(1, 2),
    rank=st.integers(1, 8),
)
SETS = ("views.size=[32,32,16]",)


def do(kind: str, source: Path, out: Path, back: bool = False, **more: object) -> Converted:
    return convert(Request(KINDS[kind], source, out, **more), back)  # type: ignore[arg-type]


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """The same keys in the same order, and the same bits of the same type."""
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype and ours[key].shape == tensor.shape, key
        assert torch.equal(ours[key].contiguous().view(torch.uint8), tensor.contiguous().view(torch.uint8)), key


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@settings(max_examples=8)
@given(SIZES, DTYPES, DTYPES, st.booleans(), st.booleans(), st.booleans())
def test_reg2rg(s: Sizes, visual: torch.dtype, words: torch.dtype, base_layer: bool, rotary: bool, twin: bool) -> None:
    state = reg2rg(pieces(s, 3, visual, words), base_layer=base_layer, rotary=rotary, twin=twin)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.save(state, root / "pytorch_model.bin")
        done = do("reg2rg", root, root / "run", sets=SETS)
        do("reg2rg", root / "run", root / "again.bin", back=True)
        same(load(root / "again.bin"), state)
        held = load_file(root / "run" / "model.safetensors")
        assert done.keys == len(held) == len(state) - twin - s.blocks * rotary
        assert {v.dtype for k, v in held.items() if k.startswith("visual.")} == {visual}


@settings(max_examples=5)
@given(SIZES, DTYPES)
def test_radfms_parts(s: Sizes, dtype: torch.dtype) -> None:
    files = radfm_files(pieces(s, 4, dtype))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, data in files.items():
            torch.save(data, root / name)
        do("radfm", root, root / "encoder")
        do("radfm", root / "encoder", root / "back", back=True)
        same(load(root / "back" / "RadFM_vit3d.pth"), files["RadFM_vit3d.pth"])
        perceiver = load(root / "back" / "RadFM_perceiver_fc.pth")
        assert list(perceiver) == ["perceiver", "fc"]
        for group, tensors in files["RadFM_perceiver_fc.pth"].items():
            same(perceiver[group], tensors)


@pytest.mark.parametrize("name", ["RadFM_vit3d.pth", "RadFM_perceiver_fc.pth"])
def test_one_of_radfms_parts(tmp_path: Path, name: str) -> None:
    data = radfm_files(pieces())[name]
    torch.save(data, tmp_path / name)
    done = do("radfm", tmp_path / name, tmp_path / "encoder")
    assert len(done.notes) == 2 and "isn't in it" in done.notes[0]
    prefixes = {key.split(".")[0] for key in load_file(tmp_path / "encoder" / "encoder.safetensors")}
    assert prefixes == {"volume_encoder" if "vit" in name else "adapter"}
    do("radfm", tmp_path / "encoder", tmp_path / "again.pth", back=True)
    again = load(tmp_path / "again.pth")
    assert list(again) == list(data)


def test_radfms_whole_model_gives_its_parts(tmp_path: Path) -> None:
    p = pieces(visual=torch.bfloat16)
    torch.save(radfm(p), tmp_path / "pytorch_model.bin")
    done = do("radfm", tmp_path, tmp_path / "encoder")
    assert done.left_out == {"the language model": 21, "the word table": 1, "the image tags": 1, "unused heads": 2}
    do("radfm", tmp_path / "encoder", tmp_path / "back", back=True)
    same(load(tmp_path / "back" / "RadFM_vit3d.pth"), p.vision)
    again = load(tmp_path / "back" / "RadFM_perceiver_fc.pth")
    same(again["perceiver"], p.perceiver)
    assert again["fc"]["weight"].shape == (80, 24)


def test_shards_and_safetensors_and_old_files_are_read_alike(tmp_path: Path) -> None:
    import json

    state = reg2rg(pieces())
    names = list(state)
    forms = {name: tmp_path / name for name in ("bin", "old", "shards", "safe", "other-name")}
    for folder in forms.values():
        folder.mkdir()
    torch.save(state, forms["bin"] / "pytorch_model.bin")
    torch.save(state, forms["old"] / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    places = {name: f"pytorch_model-0000{1 + (i > 40)}-of-00002.bin" for i, name in enumerate(names)}
    for file in sorted(set(places.values())):
        torch.save({k: state[k] for k in names if places[k] == file}, forms["shards"] / file)
    (forms["shards"] / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    # of two equal tensors safetensors' own writer keeps the first by name, which is the second by meaning
    words = "lang_model.base_model.model.model.embed_tokens.weight"
    single = {k: v.clone() for k, v in state.items() if k != words}
    save_file(single, forms["safe"] / "model.safetensors")
    save_file(single, forms["other-name"] / "checkpoint.bin")
    runs = {}
    for name, folder in forms.items():
        source = folder / "checkpoint.bin" if name == "other-name" else folder
        do("reg2rg", source, tmp_path / f"run-{name}")
        runs[name] = load_file(tmp_path / f"run-{name}" / "model.safetensors")
    first = runs.pop("bin")
    for run in runs.values():
        same(dict(sorted(run.items())), dict(sorted(first.items())))
    do("reg2rg", tmp_path / "run-safe", tmp_path / "back.bin", back=True)
    same(dict(sorted(load(tmp_path / "back.bin").items())), dict(sorted(single.items())))


def test_a_base_that_is_left_out_comes_back(tmp_path: Path) -> None:
    """The base in float32, the file in half precision: equal after the file's type, and read again for the way back."""
    s = Sizes()
    p = pieces(s)
    base = llama_folder(tmp_path / "llama", s, p.llama)
    half = pieces(s, words=torch.float16)
    state = reg2rg(half)
    torch.save(state, tmp_path / "pytorch_model.bin")
    done = do("reg2rg", tmp_path, tmp_path / "run", decoder=str(base))
    assert done.base_left_out and done.tokenizer
    held = load_file(tmp_path / "run" / "model.safetensors")
    assert {k.split(".")[-3] for k in held if k.startswith("decoder.")} == {"lora_A", "lora_B"}
    do("reg2rg", tmp_path / "run", tmp_path / "again.bin", back=True)
    again = load(tmp_path / "again.bin")
    same(again, state)
    words = again["lang_model.base_model.model.model.embed_tokens.weight"]
    assert words.data_ptr() == again["embedding_layer.weight"].data_ptr(), "stored once, under two names"

    base.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"left out of this run.*--decoder FOLDER"):
        do("reg2rg", tmp_path / "run", tmp_path / "x.bin", back=True)
    do("reg2rg", tmp_path / "run", tmp_path / "y.bin", back=True, decoder=str(tmp_path / "moved"))
    same(load(tmp_path / "y.bin"), state)
    llama_folder(tmp_path / "other", s, pieces(s, seed=9).llama)
    with pytest.raises(UserError, match="isn't the base of the run"):
        do("reg2rg", tmp_path / "run", tmp_path / "z.bin", back=True, decoder=str(tmp_path / "other"))
    assert not list(tmp_path.glob("[xz].bin")) and not list(tmp_path.glob(".*"))


def test_another_base_is_not_taken_for_it(tmp_path: Path) -> None:
    """One bit of difference, and the run keeps the whole decoder and says why."""
    s = Sizes()
    p = pieces(s)
    torch.save(reg2rg(p), tmp_path / "pytorch_model.bin")
    changed = {k: v.clone() for k, v in p.llama.items()}
    changed["model.layers.1.mlp.up_proj.weight"].view(torch.int32)[3, 5] ^= 1
    base = llama_folder(tmp_path / "llama", s, changed)
    done = do("reg2rg", tmp_path, tmp_path / "run", decoder=str(base))
    assert not done.base_left_out and done.tokenizer
    assert any("'model.layers.1.mlp.up_proj.weight' is another there" in note for note in done.notes)
    held = load_file(tmp_path / "run" / "model.safetensors")
    assert sum(k.startswith("decoder.") for k in held) == len(p.llama) + len(p.lora)


def test_a_base_in_the_hubs_cache_is_found_with_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s, p, commit = Sizes(), pieces(), "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    model = cache / "models--meta-llama--Llama-2-7b-chat-hf"
    llama_folder(model / "snapshots" / commit, s, p.llama)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    torch.save(reg2rg(p), tmp_path / "pytorch_model.bin")
    done = do("reg2rg", tmp_path, tmp_path / "run")
    assert (done.base, done.base_revision, done.base_left_out) == ("meta-llama/Llama-2-7b-chat-hf", commit, True)
    do("reg2rg", tmp_path / "run", tmp_path / "again.bin", back=True)
    same(load(tmp_path / "again.bin"), reg2rg(p))
