"""Golden fixtures' weights in official files, converted: the loaded modules give the official implementation's numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from golden_case import Case, Score
from golden_models import Vocabulary, samples
from official_files import Sizes, llama_folder, pieces, reg2rg

from reg2rg.convert import convert
from reg2rg.convert.job import Request
from reg2rg.convert.kinds import KINDS
from reg2rg.model import weights
from reg2rg.model.batch import collate
from reg2rg.model.prompt import PromptBuilder
from reg2rg.model.weights import read_tensors
from reg2rg.plugins import resolve


def official(case: Case) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(case.weight(key)) for key in case.data["params"]}


def encoder(folder: Path, *sets: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Options and weights of a converted encoder folder."""
    done = convert(Request(KINDS["radfm"], folder, folder / "encoder", sets=sets))
    assert done.keys
    return json.loads((folder / "encoder" / "config.json").read_text()), read_tensors(
        folder / "encoder" / "encoder.safetensors"
    )


@pytest.mark.parametrize("name", ["small_a", "small_b_uneven", "small_c_constant_input"])
@torch.no_grad()
def test_the_volume_encoder(shared: Path, tmp_path: Path, name: str) -> None:
    """Sizes come from the shapes; the sides of a patch, which shapes can't tell, are said."""
    case = Case(shared / "golden" / "vit3d" / name)
    config = case.data["config"]
    torch.save(official(case), tmp_path / "RadFM_vit3d.pth")
    sides = config["image_patch_size"]
    patch = [*(sides if isinstance(sides, list) else [sides] * 2), config["frame_patch_size"]]
    given = (f"patch={patch}", f"channels={config['channels']}", f"head_dim={config['dim_head']}")
    about, tensors = encoder(tmp_path, *(f"volume_encoder.options.{text}" for text in given))
    module = resolve("volume-encoder", "vit3d", about["volume_encoder"]["options"])
    module.load_state_dict({k.removeprefix("volume_encoder."): v for k, v in tensors.items()}, strict=True)
    score = Score()
    score.tensor(case, "out", module.eval()(torch.from_numpy(case.input("input:volume"))).numpy(), 2e-5)
    assert not score.faults


@torch.no_grad()
def test_the_adapter(shared: Path, tmp_path: Path) -> None:
    case = Case(shared / "golden" / "perceiver" / "small")
    parts = official(case)
    groups = ("perceiver", "fc")
    data = {g: {k.removeprefix(f"{g}."): v for k, v in parts.items() if k.startswith(f"{g}.")} for g in groups}
    torch.save(data, tmp_path / "RadFM_perceiver_fc.pth")
    about, tensors = encoder(tmp_path, f"adapter.options.head_dim={case.data['config']['dim_head']}")
    module = resolve("adapter", "perceiver", about["adapter"]["options"], width=case.data["config"]["dim"])
    module.load_state_dict({k.removeprefix("adapter."): v for k, v in tensors.items()}, strict=True)
    x = torch.from_numpy(case.input("input:features")).flatten(2, 3)
    score = Score()
    score.tensor(case, "perceiver_out", module.eval()(x.flatten(0, 1)).unflatten(0, x.shape[:2]).numpy(), 2e-5)
    assert not score.faults


@pytest.mark.parametrize("name", ["small_b1_shuffled", "small_b2_missing"])
@torch.no_grad()
def test_the_whole_embedding_layer(shared: Path, tmp_path: Path, name: str) -> None:
    """A whole official file around the fixture's embedding layer → a run → the fixture's input embeddings."""
    case = Case(shared / "golden" / "embeddings" / name)
    config = case.data["config"]
    size = Sizes(hidden=config["embedding_dim"], words=config["num_embeddings"])
    given = official(case)
    words = given.pop("weight")
    state = reg2rg(pieces(size))
    layer = {k: v for k, v in state.items() if "lang_model" in k} | {f"embedding_layer.{k}": v for k, v in given.items()}
    layer |= dict.fromkeys(("lang_model.base_model.model.model.embed_tokens.weight", "embedding_layer.weight"), words)
    torch.save(layer, tmp_path / "pytorch_model.bin")
    llama_folder(tmp_path / "llama", size)
    patch = f"[{config['patch_size']},{config['patch_size']},{config['frame_patch_size']}]"
    sets = (f"volume_encoder.options.patch={patch}",)
    convert(Request(KINDS["reg2rg"], tmp_path, tmp_path / "run", sets=sets, decoder=str(tmp_path / "llama")))
    model = weights.load(tmp_path / "run")
    visual = model.visual
    # the fixture's visual ids begin where its table ends
    model.prompts = PromptBuilder(model.recipe, Vocabulary(size.words), visual.image_tokens, visual.region_tokens)
    score = Score()
    score.outputs(case, dict.fromkeys(case.data["outputs"], model.embed(collate(samples(case), pad=0))))
    assert not score.faults


@torch.no_grad()
def test_the_adapted_language_model(shared: Path, tmp_path: Path) -> None:
    case = Case(shared / "golden" / "lora" / "tiny")
    size = Sizes()
    state = {k: v for k, v in reg2rg(pieces(size)).items() if "lang_model" not in k}
    state |= {f"lang_model.{k}": v for k, v in official(case).items()}
    state["embedding_layer.weight"] = state["lang_model.base_model.model.model.embed_tokens.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    settings = case.data["llama_config"]
    llama_folder(tmp_path / "llama", dataclasses.replace(size, ff=settings["intermediate_size"]), heads=4)
    convert(Request(KINDS["reg2rg"], tmp_path, tmp_path / "run", decoder=str(tmp_path / "llama")))
    model = weights.load(tmp_path / "run")
    score = Score()
    x = torch.from_numpy(case.input("input:embeds"))
    score.tensor(case, "logits", model.decoder(inputs_embeds=x).logits.numpy(), 2e-5)
    with model.decoder.disable_adapter():
        score.tensor(case, "logits_adapter_off", model.decoder(inputs_embeds=x).logits.numpy(), 2e-5)
    assert not score.faults
