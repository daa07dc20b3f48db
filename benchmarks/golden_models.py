"""The array families of the golden fixtures: vit3d, perceiver, mask_vit, embeddings, loss, lora.

Each builds our module from the case's configuration through the plugin registry or a recipe, fills it key by key, and hands
its outputs to a `Score`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from golden_case import Case, Score
from torch import Tensor, nn

from reg2rg import plugins, recipe
from reg2rg.contracts import Prompt
from reg2rg.model.batch import Batch, Sample, collate
from reg2rg.model.composite import Reg2RGModel, nll, prepare_decoder
from reg2rg.model.prompt import IGNORE
from reg2rg.recipe import Decoder, Lora

# the official names of the visual modules' parameters → ours
OURS = {
    "vision_encoder.": "volume_encoder.",
    "mask_encoder.": "geometry_encoder.",
    "perceiver.": "adapter.",
    "fc.": "projection.",
    "mask_fc.": "geometry_projection.",
    "image_token_weight": "image_tags",
    "region_token_weight": "region_tags",
}


@torch.no_grad()
def load(module: nn.Module, case: Case, keys: Mapping[str, str]) -> Any:
    """Fills `module` tensor by tensor; `keys` maps our names to the case's. Raises ValueError where keys or shapes differ."""
    own = module.state_dict()
    if odd := sorted(set(own) ^ set(keys)):
        raise ValueError(f"{len(odd)} keys stand on one side only: {', '.join(odd[:4])}")
    for name, key in keys.items():
        value = torch.from_numpy(case.weight(key))
        if value.shape != own[name].shape:
            raise ValueError(f"'{key}' is {tuple(value.shape)}, ours is {tuple(own[name].shape)}")
        own[name].copy_(value)
    return module.eval()


def under(case: Case, prefix: str = "") -> dict[str, str]:
    """Our names of the parameters under `prefix`, which is taken off."""
    return {key.removeprefix(prefix): key for key in case.data["params"] if key.startswith(prefix)}


def linear(case: Case, name: str) -> nn.Linear:
    """The linear layer `name` of a case."""
    outputs, inputs = case.data["params"][f"{name}.weight"]
    return load(nn.Linear(inputs, outputs), case, under(case, f"{name}."))


def tensor(case: Case, key: str) -> Tensor:
    """An input as a tensor."""
    return torch.from_numpy(case.input(key))


def vit_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor values of the official ViT → options of ours; sizes given as one number count for height and width."""

    def size(plane: str, depth: str) -> list[int]:
        value = config[plane]
        return [*(value if isinstance(value, list) else [value, value]), config[depth]]

    same = {"width": "dim", "depth": "depth", "heads": "heads", "head_dim": "dim_head", "mlp": "mlp_dim"}
    return {
        "capacity": size("image_size", "frames"),
        "patch": size("image_patch_size", "frame_patch_size"),
        **{ours: config[theirs] for ours, theirs in same.items() if theirs in config},
    }


def perceiver_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor values of the official Perceiver → options of ours."""
    same = {"tokens": "num_latents", "depth": "depth", "heads": "heads", "head_dim": "dim_head", "mlp_ratio": "ff_mult"}
    return {ours: config[theirs] for ours, theirs in same.items() if theirs in config}


def positions(model: Any, x: Tensor) -> Tensor:
    """The positional term of a batch (B, tokens, width)."""
    return model.pos_embedding(model.grid(tuple(x.shape[2:]))).expand(len(x), -1, -1)


@torch.no_grad()
def vit3d(case: Case, score: Score) -> None:
    """README 4.1: patch embedding, positions, tokens."""
    config = case.data["config"]
    options = {**vit_options(config), "channels": config.get("channels", 3)}
    model = load(plugins.resolve("volume-encoder", "vit3d", options), case, under(case))
    x = tensor(case, "input:volume")
    score.outputs(case, {"patch_embed": model.embed(x), "pos": positions(model, x), "out": model(x)})


@torch.no_grad()
def perceiver(case: Case, score: Score) -> None:
    """README 4.2: resampled tokens and the projection of them."""
    config = case.data["config"]
    build = plugins.resolve("adapter", "perceiver", perceiver_options(config), width=config["dim"])
    model = load(build, case, under(case, "perceiver."))
    x = tensor(case, "input:features")  # (b, T, F, v, D): each of the b·T images has F·v tokens
    out = model(x.flatten(0, 1).flatten(1, 2)).unflatten(0, x.shape[:2])
    score.outputs(case, {"perceiver_out": out, "fc_out": linear(case, "fc")(out)})


@torch.no_grad()
def mask_vit(case: Case, score: Score) -> None:
    """README 4.3: tokens, positions, the pooled token and the projection of it."""
    config, keys = case.data["config"], under(case, "mask_encoder.")
    model = load(plugins.resolve("geometry-encoder", "mask-vit", vit_options(config)), case, keys)
    bare = load(plugins.resolve("volume-encoder", "vit3d", {**vit_options(config), "channels": 1}), case, keys)
    x = tensor(case, "input:mask")
    pooled = model(x)[:, 0]
    values = {"tokens": bare(x), "pos": positions(model, x), "pooled": pooled, "mask_fc_out": linear(case, "mask_fc")(pooled)}
    score.outputs(case, values)


class Words(nn.Module):
    """A decoder that is nothing but its word table."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)

    def get_input_embeddings(self) -> nn.Module:
        return self.table


class Vocabulary:
    """A tokenizer that is nothing but its size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


def official_recipe(config: Mapping[str, Any]) -> recipe.Recipe:
    """The recipe `reg2rg` with the sizes of an `embeddings` case."""
    fixed = config["fixed_in_official_code"]
    vision = {
        **fixed["vision"],
        "dim": config["vis_dim"],
        "image_patch_size": config["patch_size"],
        "frame_patch_size": config["frame_patch_size"],
    }
    adapter = {**fixed["perceiver"], "num_latents": config["perceiver_num"]}
    return recipe.load(
        "reg2rg",
        {
            "volume_encoder": {"options": vit_options(vision)},
            "adapter": {"options": perceiver_options(adapter)},
            "geometry_encoder": {"options": vit_options(fixed["mask"])},
        },
    )


def samples(case: Case) -> list[Sample]:
    """The studies of an `embeddings` case as training would see them: each with its own regions in slot order."""
    data = case.data
    volumes = {r: case.input(f"input:region:{r}")[:, 0] for r in data["regions_in_batch"]}
    masks = {r: case.input(f"input:mask:{r}") for r in data["regions_in_batch"]}
    image = tensor(case, "input:image")[:, 0]
    for entry in data["zero_filled_after_generation"]:
        volumes[entry["region"]][entry["batch"]] = 0
        masks[entry["region"]][entry["batch"]] = 0
    found = []
    for b, (ids, order) in enumerate(zip(data["token_ids"], data["region_order_per_sample"], strict=True)):
        prompt = Prompt(
            tuple(ids), (IGNORE,) * len(ids), (1.0,) * len(ids), (), len(ids), data["config"]["num_embeddings"], tuple(order)
        )
        views = [torch.from_numpy(np.stack([part[r][b] for r in order])) if order else None for part in (volumes, masks)]
        found.append(Sample(prompt, image[b], *views))
    return found


@torch.no_grad()
def embeddings(case: Case, score: Score) -> None:
    """README 4.4: images, masks and ids → the decoder's input embeddings, through `Reg2RGModel.embed`."""
    config = case.data["config"]
    words = Words(torch.from_numpy(case.weight("weight")))
    model = Reg2RGModel(official_recipe(config), words, Vocabulary(config["num_embeddings"]))
    theirs = [key for key in case.data["params"] if key != "weight"]
    load(model.visual, case, {next((b + k[len(a) :] for a, b in OURS.items() if k.startswith(a)), k): k for k in theirs})
    model.eval()
    layout, first = case.data["token_id_layout"], model.prompts.vocabulary
    ours = {"<image>": 0, "</image>": 1, "<region>": 2, "</region>": 3, "<image0>": 4}
    ours |= {"<region0>": model.prompts.first_region_row}
    score.exact("the layout of ids", {k: first + v for k, v in ours.items()}, {k: layout[k] for k in ours})
    score.exact("tokens a region", model.visual.region_tokens, config["fixed_in_official_code"]["tokens_per_region"])
    out = model.embed(collate(samples(case), pad=0))
    score.outputs(case, dict.fromkeys(case.data["outputs"], out))


def llama(case: Case) -> Any:
    """The LLaMA of a case, not yet filled."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = dict(case.data["llama_config"])
    rope = {"rope_type": "default", "rope_theta": settings.pop("rope_theta", 10000.0)}
    return LlamaForCausalLM(LlamaConfig(**{"rope_parameters": rope, **settings}, attn_implementation="eager"))


class GivenRows(Reg2RGModel):
    """The composite model with visual rows (rows, width) that the case states instead of encoded ones."""

    def __init__(self, decoder: Any, rows: Tensor) -> None:
        super().__init__(recipe.load("tiny"), decoder, Vocabulary(decoder.config.vocab_size))
        self.rows = rows

    def table(self, batch: Batch) -> Tensor:
        return self.rows.expand(len(batch.ids), -1, -1)


def loss_batch(case: Case) -> Batch:
    """Ids, attention and labels of a `loss` case: listed, or the first positions of a prompt case of the same set."""
    inputs = case.data["inputs"]
    if "ids_attention_labels" in inputs:
        source = inputs["ids_attention_labels"]
        prompt, n = Case(case.folder.parent.parent / "prompt" / source["from_prompt_case"]), source["first_positions"]
        parts = [torch.from_numpy(prompt.arrays[k][:n]).long()[None] for k in ("input_ids", "attention_mask", "label")]
    else:
        parts = [torch.tensor(inputs[k]) for k in ("input_ids", "attention_mask", "labels")]
    ids, attention, labels = parts
    nothing = torch.zeros(0, dtype=torch.long)
    first = (labels != IGNORE).int().argmax(1)  # where each target begins
    weights = torch.ones(labels.shape)
    return Batch(ids, attention, labels, weights, None, None, None, nothing, nothing, first, False)


def loss(case: Case, score: Score) -> None:
    """README 4.7: mean loss, each label's loss, logits and gradient norms, through `Reg2RGModel.forward`."""
    decoder, expected, tolerance = llama(case), case.data["expected"], case.data["tolerance_rel"]
    tied = {"lm_head.weight": "model.embed_tokens.weight"} if decoder.config.tie_word_embeddings else {}
    load(decoder, case, {**tied, **under(case)})
    model, batch = GivenRows(decoder, tensor(case, "input:visual_rows")).eval(), loss_batch(case)
    total, count = model(batch)
    mean = total.sum() / count.sum()
    mean.backward()
    score.close("loss", mean.item(), expected["loss"], tolerance * abs(expected["loss"]))
    score.exact("labels", int(count.sum()), expected["n_label_tokens"])
    parameters = dict(decoder.named_parameters())
    for key, norm in expected["grad_norms_l2"].items():
        got = parameters[key].grad.double().norm().item()  # float32 sums of millions of squares err by 1e-4
        score.close(f"the gradient of {key}", got, norm, case.data["grad_tolerance_rel"] * norm)
    with torch.no_grad():
        logits = decoder(inputs_embeds=model.embed(batch), attention_mask=batch.attention, use_cache=False).logits
        score.outputs(case, {"logits_attended": logits[batch.attention.bool()]}, "tolerance_rel")
        _label_losses(case, score, batch, logits)


def _label_losses(case: Case, score: Score, batch: Batch, logits: Tensor) -> None:
    places = case.data["expected"]["nll_positions"]
    score.exact("places of labels", places, (batch.labels[:, 1:] != IGNORE).nonzero().add(torch.tensor([0, 1])).tolist())
    parts = [(b, slice(p - 1, p + 1)) for b, p in places]  # a label is predicted from the position before it
    got = [nll(logits[b, s][None], batch.labels[b, s][None], batch.weights[b, s][None])[0].item() for b, s in parts]
    want = case.arrays["nll"]
    score.seen.add("nll")
    score.close("nll", got, want, case.data["tolerance_rel"] * float(np.abs(want).max()))


@torch.no_grad()
def lora(case: Case, score: Score) -> None:
    """README 4.8: a decoder with adapters from `prepare_decoder`: logits with and without them, merged weights."""
    settings, data = case.data["lora"], case.data
    named = sorted({name.rsplit(".", 1)[-1] for name in data["adapted_modules"]})
    targets = None if named == ["q_proj", "v_proj"] else named  # those two are what a recipe without targets gets
    adapters = Lora(r=settings["r"], alpha=settings["lora_alpha"], dropout=settings["lora_dropout"], target_modules=targets)
    spec = Decoder(name="llama2-7b", lora=adapters, dtype="float32")
    model = prepare_decoder(llama(case), spec, training=False)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    score.exact("trained parameters", sorted(trained), sorted(data["trainable_parameter_names"]))
    score.exact("their count", sum(trained.values()), data["trainable_parameters"])
    load(model, case, under(case))
    layers = {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}
    score.exact("adapted modules", sorted(layers), sorted(data["adapted_modules"]))
    score.exact("factors of the adapters", {p.scaling["default"] for p in layers.values()}, {settings["scaling"]})
    x = tensor(case, "input:embeds")
    values = {"logits": model(inputs_embeds=x, use_cache=False).logits}
    with model.disable_adapter():
        values["logits_adapter_off"] = model(inputs_embeds=x, use_cache=False).logits
    merged = model.merge_and_unload().state_dict()
    for name in data["outputs"]:
        if found := re.fullmatch(r"merged_(\w+)_layer(\d+)", name):
            key = next(k for k in merged if f".layers.{found[2]}." in k and k.endswith(f".{found[1]}.weight"))
            values[name] = merged[key]
    score.outputs(case, values)
