"""The compared methods' published files → encoder folders, by their own keys, and back; `train --init` takes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from reg2rg_plugins.adapters.query_decoder import QueryDecoder
from reg2rg_plugins.volume_encoders.ct_vit import CTViT
from reg2rg_plugins.volume_encoders.m3d_vit import M3DViT
from reg2rg_plugins.volume_encoders.pmc_clip import PmcClip
from reg2rg_plugins.volume_encoders.swin import PATCHES, Swin
from torch import Tensor, nn

from reg2rg import recipe as recipes
from reg2rg.convert import convert
from reg2rg.convert.job import Request
from reg2rg.convert.kinds import KINDS
from reg2rg.errors import UserError
from reg2rg.model.visual import VisualModel
from reg2rg.model.weights import load_visual, read_tensors

State = dict[str, Tensor]


def numbers(module: nn.Module) -> State:
    """The module's tensors with numbers of their own, whole ones where they count."""
    state = module.state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else torch.full_like(v, 7) for k, v in state.items()}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{k}": v for k, v in state.items()}


def language(*keys: str) -> State:
    return {key: torch.zeros(2, 2) for key in keys}


def m3d_vit() -> State:
    return numbers(M3DViT((32, 32, 16), (16, 16, 4), width=24, depth=2, heads=12, mlp=32))


def m3d() -> State:
    rest = language(
        "model.embed_tokens.weight", "lm_head.weight", "model.seg_projector.0.weight", "model.mm_projector.projector.0.weight"
    )
    return {**rest, **under("model.vision_tower.vision_tower.", m3d_vit())}


def ct_vit() -> State:
    state = numbers(CTViT(width=16, depth=1, heads=2, head_dim=4, words=8))
    return {**state, **language("to_pixels.0.weight", "dec_spatial_transformer.norm_out.gamma", "vq._codebook.cluster_size")}


def ct2rep() -> dict[str, Any]:
    """A training's record: weights, and an optimizer that isn't read."""
    state = under("visual_extractor.model.", ct_vit()) | language("encoder_decoder.logit.weight")
    return {"epoch": 3, "state_dict": state, "optimizer": {"param_groups": [{"lr": 1e-4}]}, "monitor_best": 0.2}


def medvint() -> State:
    visual = under("vision_model.", numbers(PmcClip((64, 64, 3), base=8, blocks=(1, 2, 1))))
    queries = numbers(QueryDecoder(128, tokens=4, depth=2, mlp=24))
    heads = language("fc_l1.weight", "fc_l2.bias", "llamacasual.base_model.model.model.norm.weight")
    return {**visual, **queries, **heads}


# transformers 5 → the names before it
OLD = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.output.dense",
    "attention.relative_position_bias.relative_position_bias_table": "attention.self.relative_position_bias_table",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def swin(old: bool = True) -> State:
    state = numbers(Swin((64, 64, 3), patch=4, embedding=8, depths=(2, 2), heads=(2, 4), window=3))
    out = {}
    for key, value in state.items():
        name = key.removeprefix("swin.")
        for new, before in OLD.items():
            name = name.replace(new, before) if old else name
        out[name] = value
    if old:
        out["encoder.layers.0.blocks.0.attention.self.relative_position_index"] = torch.arange(4)
    return out


def r2gengpt() -> dict[str, Any]:
    rest = language("llama_proj.weight", "layer_norm.bias")
    return {"model": {**under("visual_encoder.", swin()), **rest}, "config": {"delta_file": None}, "epoch": 1, "step": 5}


FILES: dict[str, tuple[str, Any]] = {
    "m3d": ("pytorch_model.bin", m3d),
    "m3d/vit": ("pretrained_ViT.bin", m3d_vit),
    "ct2rep": ("model_best.pth", ct2rep),
    "ct2rep/ct-vit": ("CTVIT.pt", ct_vit),
    "medvint": ("pytorch_model.bin", medvint),
    "r2gengpt": ("checkpoint.pth", r2gengpt),
    "r2gengpt/swin": ("pytorch_model.bin", lambda: {**under("swin.", swin()), **language("classifier.weight")}),
    "r2gengpt/new": ("pytorch_model.bin", lambda: swin(old=False)),
}
SETS = {"m3d": ("volume_encoder.options.capacity=[32,32,16]",)}


@dataclasses.dataclass(frozen=True)
class Done:
    """An encoder folder with its configuration and weights, and the official file's content."""

    folder: Path
    about: dict[str, Any]
    tensors: State
    official: Any


def converted(case: str, tmp_path: Path, seed: int = 0) -> Done:
    torch.manual_seed(seed)
    name, make = FILES[case]
    kind, official = case.split("/")[0], make()
    (tmp_path / "in").mkdir()
    torch.save(official, tmp_path / "in" / name)
    convert(Request(KINDS[kind], tmp_path / "in", tmp_path / "out", sets=SETS.get(kind, ())))
    folder = tmp_path / "out"
    return Done(
        folder, json.loads((folder / "config.json").read_text()), read_tensors(folder / "encoder.safetensors"), official
    )


@pytest.mark.parametrize("case", FILES)
def test_published_keys_become_the_modules_own(case: str, tmp_path: Path) -> None:
    """The folder's weights load strictly into modules built with its options, each tensor from its own key."""
    done = converted(case, tmp_path)
    from reg2rg.plugins import resolve

    for section in ("volume_encoder", "adapter"):
        if section in done.about:
            filled = {"width": 128, "size": (64, 64, 3)}
            part = resolve(section.replace("_", "-"), done.about[section]["name"], done.about[section]["options"], **filled)
            own = {k.removeprefix(f"{section}."): v for k, v in done.tensors.items() if k.startswith(f"{section}.")}
            part.load_state_dict(own, strict=True)
    assert {k.split(".")[0] for k in done.tensors} == {k for k in done.about if k in ("volume_encoder", "adapter")}


PAIRS = [
    ("m3d", "model.vision_tower.vision_tower.blocks.1.attn.qkv.weight", "volume_encoder.blocks.1.attn.qkv.weight"),
    ("ct2rep", "visual_extractor.model.vq._codebook.embed", "volume_encoder.vq._codebook.embed"),
    ("medvint", "vision_model.11.1.conv2.weight", "volume_encoder.11.1.conv2.weight"),
    ("medvint", "decoder.layers.1.multihead_attn.in_proj_weight", "adapter.decoder.layers.1.multihead_attn.in_proj_weight"),
    (
        "r2gengpt",
        "visual_encoder.encoder.layers.1.blocks.0.attention.output.dense.weight",
        "volume_encoder.swin.encoder.layers.1.blocks.0.attention.o_proj.weight",
    ),
    (
        "r2gengpt",
        "visual_encoder.encoder.layers.0.blocks.1.output.dense.bias",
        "volume_encoder.swin.encoder.layers.0.blocks.1.mlp.fc2.bias",
    ),
]


@pytest.mark.parametrize(("case", "official", "ours"), PAIRS)
def test_a_key_goes_where_the_facts_say(case: str, official: str, ours: str, tmp_path: Path) -> None:
    done = converted(case, tmp_path)
    content = done.official.get("state_dict", done.official.get("model", done.official))
    assert torch.equal(content[official], done.tensors[ours])


@pytest.mark.parametrize("case", ["m3d/vit", "ct2rep/ct-vit", "r2gengpt/swin", "r2gengpt/new"])
def test_the_way_back_gives_every_tensor_to_the_bit(case: str, tmp_path: Path) -> None:
    done = converted(case, tmp_path)
    kind, name = case.split("/")[0], FILES[case][0]
    convert(Request(KINDS[kind], done.folder, tmp_path / "back"), back=True)
    again = torch.load(tmp_path / "back" / name, weights_only=True)
    assert set(again) == set(done.official)
    assert all(torch.equal(again[k], v) and again[k].dtype == v.dtype for k, v in done.official.items())


def test_an_encoder_from_a_whole_model_goes_back_as_the_part_alone(tmp_path: Path) -> None:
    done = converted("m3d", tmp_path)
    convert(Request(KINDS["m3d"], done.folder, tmp_path / "back"), back=True)
    again = torch.load(tmp_path / "back" / "pretrained_ViT.bin", weights_only=True)
    assert torch.equal(again["norm.weight"], done.official["model.vision_tower.vision_tower.norm.weight"])


def test_colour_weights_start_an_encoder_of_many_slices(tmp_path: Path) -> None:
    """`--init` makes the published first convolution fit the recipe's slices; all else is the file's."""
    done = converted("r2gengpt", tmp_path)
    options = "volume_encoder.options={embedding: 8, depths: [2, 2], heads: [2, 4], window: 3}"
    pool = "adapter.options={grid: [1, 8, 8], pooled: [1, 2, 2]}"
    spec = recipes.load("r2gengpt", sets=("views.size=[64,64,12]", options, pool))
    holder: Any = nn.Module()
    holder.visual = VisualModel(spec, 32)
    assert load_visual(holder, [done.folder]) == ["volume_encoder"]
    state = holder.visual.volume_encoder.state_dict()
    weight, published = state[PATCHES], done.tensors[f"volume_encoder.{PATCHES}"]
    assert weight.shape[1] == 12 and published.shape[1] == 3
    torch.testing.assert_close(weight.sum(1), published.sum(1))
    assert torch.equal(state["swin.layernorm.weight"], done.tensors["volume_encoder.swin.layernorm.weight"])


FAULTS = [
    ("m3d/vit", "blocks.1.norm2.bias", "1 key is missing: 'blocks.1.norm2.bias'"),
    ("medvint", "vision_model.12.0.bn1.running_var", "1 key is missing: 'vision_model.12.0.bn1.running_var'"),
]


@pytest.mark.parametrize(("case", "key", "said"), FAULTS)
def test_a_missing_key_is_named_as_published(case: str, key: str, said: str, tmp_path: Path) -> None:
    name, make = FILES[case]
    state = make()
    del state[key]
    torch.save(state, tmp_path / name)
    kind = case.split("/")[0]
    with pytest.raises(UserError, match=said):
        convert(Request(KINDS[kind], tmp_path, tmp_path / "out", sets=SETS.get(kind, ())))
    assert not (tmp_path / "out").exists()


def test_another_size_of_places_is_said_with_its_remedy(tmp_path: Path) -> None:
    torch.save(m3d_vit(), tmp_path / "pretrained_ViT.bin")
    with pytest.raises(UserError, match=r"16 places, not those of .*--set volume_encoder.options.capacity"):
        convert(Request(KINDS["m3d"], tmp_path, tmp_path / "out"))


def test_a_file_of_another_kind_is_told_apart(tmp_path: Path) -> None:
    torch.save(ct_vit(), tmp_path / "CTVIT.pt")
    with pytest.raises(UserError, match=r"this looks like CT-ViT, not .*reg2rg convert ct2rep"):
        convert(Request(KINDS["medvint"], tmp_path / "CTVIT.pt", tmp_path / "out"))
