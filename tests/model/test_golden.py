"""The modules compute what the official implementation computes, to the fixtures' tolerances."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reg2rg import plugins, recipe
from reg2rg.contracts import Prompt
from reg2rg.model.batch import Sample, collate
from reg2rg.model.composite import assemble, nll
from reg2rg.model.visual import VisualModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import Case, shared_golden


def load(module: nn.Module, weights: dict) -> nn.Module:
    module.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=True)
    return module.eval()


def vit(config: dict, kind: str = "volume-encoder", name: str = "vit3d") -> nn.Module:
    def pair(value: int | list[int]) -> list[int]:
        return value if isinstance(value, list) else [value, value]

    options = {
        "capacity": [*pair(config["image_size"]), config["frames"]],
        "patch": [*pair(config["image_patch_size"]), config["frame_patch_size"]],
        "width": config["dim"],
        "depth": config["depth"],
        "heads": config["heads"],
        "head_dim": config["dim_head"],
        "mlp": config["mlp_dim"],
    }
    if kind == "volume-encoder":
        options["channels"] = config["channels"]
    return plugins.resolve(kind, name, options)


@pytest.mark.parametrize("folder", shared_golden("vit3d"), ids=lambda p: p.name)
@torch.no_grad()
def test_vit3d(shared: Path, folder: Path) -> None:
    case = Case(folder)
    model = load(vit(case.data["config"]), case.weights())
    x = torch.from_numpy(case.input("input:volume"))
    tolerance = case.data["tolerance_rel_absmax"]
    case.check("patch_embed", model.embed(x).numpy(), tolerance)
    case.check("pos", model.pos_embedding(model.grid(x.shape[2:])).expand(len(x), -1, -1).numpy(), tolerance)
    case.check("out", model(x).numpy(), tolerance)


@torch.no_grad()
def test_one_grey_channel_equals_three_equal_ones() -> None:
    model = plugins.resolve("volume-encoder", "vit3d", {"capacity": [32, 32, 16], "patch": [8, 8, 4], "width": 48, "depth": 1})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.rand(2, 1, 16, 16, 8)
    assert torch.allclose(model.embed(x), model.embed(x.expand(-1, 3, -1, -1, -1)), atol=2e-5)


@pytest.mark.parametrize("folder", shared_golden("perceiver"), ids=lambda p: p.name)
@torch.no_grad()
def test_perceiver(shared: Path, folder: Path) -> None:
    case = Case(folder)
    c = case.data["config"]
    options = {
        "tokens": c["num_latents"],
        "depth": c["depth"],
        "heads": c["heads"],
        "head_dim": c["dim_head"],
        "mlp_ratio": c["ff_mult"],
    }
    model = load(plugins.resolve("adapter", "perceiver", options, width=c["dim"]), case.weights("perceiver."))
    x = torch.from_numpy(case.input("input:features"))
    out = model(x.flatten(0, 1).flatten(1, 2)).unflatten(0, x.shape[:2])
    tolerance = case.data["tolerance_rel_absmax"]
    case.check("perceiver_out", out.numpy(), tolerance)
    fc = F.linear(out, *(torch.from_numpy(case.weight(f"fc.{k}")) for k in ("weight", "bias")))
    case.check("fc_out", fc.numpy(), tolerance)


@pytest.mark.parametrize("folder", shared_golden("mask_vit"), ids=lambda p: p.name)
@torch.no_grad()
def test_mask_vit(shared: Path, folder: Path) -> None:
    case = Case(folder)
    model = load(vit(case.data["config"], "geometry-encoder", "mask-vit"), case.weights("mask_encoder."))
    pooled = model(torch.from_numpy(case.input("input:mask")))[:, 0]
    tolerance = case.data["tolerance_rel_absmax"]
    case.check("pooled", pooled.numpy(), tolerance)
    fc = F.linear(pooled, *(torch.from_numpy(case.weight(f"mask_fc.{k}")) for k in ("weight", "bias")))
    case.check("mask_fc_out", fc.numpy(), tolerance)


OURS = {
    "vision_encoder.": "volume_encoder.",
    "mask_encoder.": "geometry_encoder.",
    "perceiver.": "adapter.",
    "fc.": "projection.",
    "mask_fc.": "geometry_projection.",
    "image_token_weight": "image_tags",
    "region_token_weight": "region_tags",
}


@pytest.mark.parametrize("folder", [p for p in shared_golden("embeddings") if p.name.startswith("small")], ids=lambda p: p.name)
@torch.no_grad()
def test_assembled_embeddings(shared: Path, folder: Path) -> None:
    case = Case(folder)
    config, data = case.data["config"], case.data
    settings = recipe.load("reg2rg", {"volume_encoder": {"options": {"width": config["vis_dim"]}}})
    visual = VisualModel(settings, config["embedding_dim"])
    weights = case.weights()
    words = nn.Embedding.from_pretrained(torch.from_numpy(weights.pop("weight")))
    ours = {next(b + k[len(a) :] for a, b in OURS.items() if k.startswith(a)): v for k, v in weights.items()}
    load(visual, ours)
    volumes = {r: torch.from_numpy(case.input(f"input:region:{r}"))[:, 0] for r in data["regions_in_batch"]}
    masks = {r: torch.from_numpy(case.input(f"input:mask:{r}")) for r in data["regions_in_batch"]}
    image = torch.from_numpy(case.input("input:image"))[:, 0]
    vocabulary = config["num_embeddings"]
    samples = [
        Sample(
            Prompt(tuple(ids), (-100,) * len(ids), (1.0,) * len(ids), (), len(ids), vocabulary, tuple(order)),
            image[b],
            torch.stack([volumes[r][b] for r in order]),
            torch.stack([masks[r][b] for r in order]),
        )
        for b, (ids, order) in enumerate(zip(data["token_ids"], data["region_order_per_sample"], strict=True))
    ]
    batch = collate(samples, pad=0)
    model = type("Bare", (), {})()
    model.visual, model.recipe = visual, settings
    from reg2rg.model.composite import Reg2RGModel

    table = Reg2RGModel.table(model, batch)
    out = assemble(batch.ids, words, table, vocabulary)
    name = next(iter(data["outputs"]))
    case.check(name, out.numpy(), data["tolerance_rel_absmax"])


@pytest.mark.parametrize("folder", shared_golden("loss"), ids=lambda p: p.name)
def test_loss_and_gradients(shared: Path, folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    case = Case(folder)
    settings = dict(case.data["llama_config"])
    theta = settings.pop("rope_theta")
    config = LlamaConfig(**settings, rope_parameters={"rope_type": "default", "rope_theta": theta}, attn_implementation="eager")
    model = LlamaForCausalLM(config)
    load(model, case.weights())
    inputs = case.data["inputs"]
    rows = torch.from_numpy(case.input("input:visual_rows"))
    if "input_ids" in inputs:
        ids, attention, labels = (torch.tensor(inputs[k]) for k in ("input_ids", "attention_mask", "labels"))
    else:
        source = Case(folder.parent.parent / "prompt" / inputs["ids_attention_labels"]["from_prompt_case"])
        n = inputs["ids_attention_labels"]["first_positions"]
        keys = [next(k for k in source.arrays if part in k) for part in ("input_ids", "attention", "label")]
        ids, attention, labels = (torch.from_numpy(source.arrays[k][:n]).long()[None] for k in keys)
    table = rows.expand(len(ids), -1, -1)
    embeds = assemble(ids, model.get_input_embeddings(), table, config.vocab_size)
    logits = model(inputs_embeds=embeds, attention_mask=attention).logits
    total, count = nll(logits, labels, torch.ones_like(labels, dtype=torch.float32))
    loss = total.sum() / count.sum()
    loss.backward()
    expected = case.data["expected"]
    assert loss.item() == pytest.approx(expected["loss"], rel=case.data["tolerance_rel"])
    assert int(count.sum()) == expected["n_label_tokens"]
    parameters = dict(model.named_parameters())
    for key, norm in expected["grad_norms_l2"].items():
        assert parameters[key].grad.norm().item() == pytest.approx(norm, rel=case.data["grad_tolerance_rel"])
