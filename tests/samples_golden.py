"""A second set of golden fixtures, made here: other seeds, shapes, regions and wording than the shared one.

Expected values come from our modules in float64, put together by the fixtures' README and not by the harness, or from plain
numpy and Hugging Face's own loss. So a harness that took anything but case.json for granted would fail on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_case import Case
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

from reg2rg import plugins

Shapes = dict[str, list[int]]
VIT = {"image_size": [48, 80], "image_patch_size": [16, 8], "frames": 12, "frame_patch_size": 3, "dim": 21, "depth": 1,
       "heads": 3, "mlp_dim": 10, "channels": 2, "dim_head": 5}  # fmt: skip
LLAMA = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-4, "rope_theta": 500.0, "tie_word_embeddings": False}  # fmt: skip


def write(root: Path, data: dict[str, Any], values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] = {}) -> Path:
    """One case: `values` become its outputs (every third element and statistics), `arrays` are stored as they are."""
    folder = root / data["family"] / data["case"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(json.dumps(data))
    case, outputs, stored = Case(folder), {}, dict(arrays)
    for name, value in values.items():
        x = np.asarray(value, np.float64)
        flat = x.reshape(-1)
        dot = float(flat @ case.rng(f"probe:{name}").standard_normal(flat.size))
        facts = {"mean": flat.mean(), "std": flat.std(), "absmax": np.abs(flat).max(), "dot": dot}
        outputs[name] = {"shape": list(x.shape), "stride": 3, **{k: float(v) for k, v in facts.items()}}
        stored[name] = flat[::3].astype(np.float32)
    (folder / "case.json").write_text(json.dumps({**data, **({"outputs": outputs} if outputs else {})}))
    if stored:
        save_file({k: np.ascontiguousarray(v) for k, v in stored.items()}, folder / "expected.safetensors")
    return folder


def drawn(root: Path, data: dict[str, Any]) -> Case:
    """The case before it has outputs, for its weights and inputs."""
    return Case(write(root, data, {}))


def filled(module: nn.Module, case: Case, prefix: str = "") -> Any:
    """The module in float64 with the case's weights under `prefix`."""
    weights = {k.removeprefix(prefix): torch.from_numpy(case.weight(k)) for k in case.data["params"] if k.startswith(prefix)}
    module.load_state_dict(weights, strict=True)
    return module.double().eval()


def doubled(case: Case, key: str) -> torch.Tensor:
    return torch.from_numpy(case.input(key)).double()


def pair(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value, value]


def vit_shapes(c: Mapping[str, Any], prefix: str = "") -> Shapes:
    """Parameters of README 4.1."""
    (h, w), (p, q), d, inner = pair(c["image_size"]), pair(c["image_patch_size"]), c["dim"], c["heads"] * c["dim_head"]
    volume = p * q * c["frame_patch_size"] * c["channels"]
    shapes: Shapes = {
        "to_patch_embedding.1.weight": [volume], "to_patch_embedding.1.bias": [volume],
        "to_patch_embedding.2.weight": [d, volume], "to_patch_embedding.2.bias": [d],
        "to_patch_embedding.3.weight": [d], "to_patch_embedding.3.bias": [d],
        "pos_embedding.row_embed.weight": [h // p, d // 3], "pos_embedding.col_embed.weight": [w // q, d // 3],
        "pos_embedding.dep_embed.weight": [c["frames"] // c["frame_patch_size"], d // 3],
    }  # fmt: skip
    for n in range(c["depth"]):
        a, b = f"transformer.layers.{n}.0.", f"transformer.layers.{n}.1."
        shapes |= {
            f"{a}norm.weight": [d], f"{a}norm.bias": [d], f"{a}fn.to_qkv.weight": [3 * inner, d],
            f"{a}fn.to_out.0.weight": [d, inner], f"{a}fn.to_out.0.bias": [d], f"{b}norm.weight": [d], f"{b}norm.bias": [d],
            f"{b}fn.net.0.weight": [c["mlp_dim"], d], f"{b}fn.net.0.bias": [c["mlp_dim"]],
            f"{b}fn.net.3.weight": [d, c["mlp_dim"]], f"{b}fn.net.3.bias": [d],
        }  # fmt: skip
    return {prefix + k: v for k, v in shapes.items()}


def vit(c: Mapping[str, Any]) -> nn.Module:
    """Our ViT3D of the official constructor values."""
    (h, w), (p, q) = pair(c["image_size"]), pair(c["image_patch_size"])
    options = {"capacity": [h, w, c["frames"]], "patch": [p, q, c["frame_patch_size"]], "channels": c["channels"]}
    options |= {"width": c["dim"], "depth": c["depth"], "heads": c["heads"], "head_dim": c["dim_head"], "mlp": c["mlp_dim"]}
    return plugins.resolve("volume-encoder", "vit3d", options)


def perceiver_shapes(c: Mapping[str, Any]) -> Shapes:
    """Parameters of README 4.2."""
    d, inner, wide = c["dim"], c["heads"] * c["dim_head"], c["ff_mult"] * c["dim"]
    shapes: Shapes = {"perceiver.latents": [c["num_latents"], d]}
    for n in range(c["depth"]):
        at = f"perceiver.layers.{n}."
        for norm in ("0.norm_media", "0.norm_latents", "1.0"):
            shapes |= {f"{at}{norm}.weight": [d], f"{at}{norm}.bias": [d]}
        shapes |= {f"{at}0.to_q.weight": [inner, d], f"{at}0.to_kv.weight": [2 * inner, d]}
        shapes |= {f"{at}0.to_out.weight": [d, inner], f"{at}1.1.weight": [wide, d], f"{at}1.3.weight": [d, wide]}
    return {**shapes, "perceiver.norm.weight": [d], "perceiver.norm.bias": [d]}


def perceiver(c: Mapping[str, Any]) -> nn.Module:
    """Our Perceiver of the official constructor values."""
    options = {"tokens": c["num_latents"], "depth": c["depth"], "heads": c["heads"], "head_dim": c["dim_head"]}
    return plugins.resolve("adapter", "perceiver", {**options, "mlp_ratio": c["ff_mult"]}, width=c["dim"])


@torch.no_grad()
def encoders(root: Path) -> None:
    """One case each of vit3d, perceiver and mask_vit."""
    entry = {"input:volume": {"shape": [3, 2, 32, 40, 9], "kind": "uniform_pm1", "then": "multiplied by 2.5"}}
    data = {"family": "vit3d", "case": "odd", "seed": 7, "config": VIT, "inputs": entry, "params": vit_shapes(VIT)}
    data["tolerance_rel_absmax"] = 2e-5
    case = drawn(root, data)
    model, x = filled(vit(VIT), case), doubled(case, "input:volume")
    grid = model.pos_embedding(model.grid((32, 40, 9))).expand(3, -1, -1)
    write(root, data, {"out": model(x), "pos": grid})

    config = {"dim": 12, "depth": 1, "dim_head": 4, "heads": 2, "num_latents": 3, "ff_mult": 2, "fc_out": 7}
    shapes = {**perceiver_shapes(config), "fc.weight": [7, 12], "fc.bias": [7]}
    entry = {"input:features": {"shape": [2, 1, 3, 4, 12], "kind": "normal"}}
    data = {**data, "family": "perceiver", "seed": 8, "config": config, "inputs": entry, "params": shapes}
    case = drawn(root, data)
    out = filled(perceiver(config), case, "perceiver.")(doubled(case, "input:features").reshape(2, 12, 12))[:, None]
    write(root, data, {"perceiver_out": out, "fc_out": filled(nn.Linear(12, 7), case, "fc.")(out)})

    config = {**VIT, "channels": 1, "mask_fc_out": 11, "depth": 2}
    shapes = {**vit_shapes(config, "mask_encoder."), "mask_fc.weight": [11, 21], "mask_fc.bias": [11]}
    entry = {"input:mask": {"shape": [2, 1, 48, 16, 6], "kind": "uniform"}}
    data = {**data, "family": "mask_vit", "seed": 9, "config": config, "inputs": entry, "params": shapes}
    case = drawn(root, data)
    tokens = filled(vit(config), case, "mask_encoder.")(doubled(case, "input:mask"))
    pooled = tokens.mean(1)
    write(root, data, {"tokens": tokens, "pooled": pooled, "mask_fc_out": filled(nn.Linear(21, 11), case, "mask_fc.")(pooled)})


@torch.no_grad()
def embeddings(root: Path) -> None:
    """Three studies, one of them without a region, tables of another width and fewer latents."""
    vision = {"image_size": 32, "frames": 16, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 8}
    mask = {"image_size": 16, "frames": 16, "image_patch_size": 8, "frame_patch_size": 4, "dim": 6, "depth": 1}
    mask |= {"heads": 2, "dim_head": 3, "mlp_dim": 5}
    resampler = {"depth": 1, "heads": 2, "dim_head": 4, "ff_mult": 2}
    fixed = {"vision": vision, "mask": mask, "perceiver": resampler, "tokens_per_region": 4}
    config = {"num_embeddings": 50, "embedding_dim": 10, "perceiver_num": 3, "vis_dim": 12, "patch_size": 8,
              "frame_patch_size": 4, "fixed_in_official_code": fixed}  # fmt: skip
    whole = {**vision, "dim": 12, "image_patch_size": 8, "frame_patch_size": 4, "channels": 3}
    mask |= {"channels": 1}
    latents = {**resampler, "dim": 12, "num_latents": 3}
    shapes = {
        "weight": [50, 10], "image_token_weight": [2, 10], "region_token_weight": [2, 10], "fc.weight": [10, 12],
        "fc.bias": [10], "mask_fc.weight": [10, 6], "mask_fc.bias": [10], **vit_shapes(whole, "vision_encoder."),
        **vit_shapes(mask, "mask_encoder."), **perceiver_shapes(latents),
    }  # fmt: skip
    inputs = {"input:image": {"shape": [3, 1, 3, 16, 16, 16], "kind": "uniform_pm1"}}
    for region in ("esophagus", "thyroid"):
        inputs[f"input:region:{region}"] = {"shape": [3, 1, 3, 16, 16, 16], "kind": "uniform_pm1"}
        inputs[f"input:mask:{region}"] = {"shape": [3, 1, 16, 16, 16], "kind": "uniform"}
    missing = [(1, "esophagus"), (2, "esophagus"), (2, "thyroid")]
    order = [["thyroid", "esophagus"], ["thyroid"], []]
    start = [50, 54, 55, 56, 51]  # a tag, the three tokens of the image, a tag
    both = [52, *range(57, 61), 53, 52, *range(61, 65), 53]
    # the second and third show slots that they don't fill, the last of them one that nobody fills
    ids = [[1, *start, 7, *both], [*start, 2, *both, 3], [*start, *range(12), 61, 68]]
    bases = {"<image>": 50, "</image>": 51, "<region>": 52, "</region>": 53, "<image0>": 54, "<region0>": 57}
    data = {
        "family": "embeddings", "case": "three", "seed": 10, "config": config, "inputs": inputs, "params": shapes,
        "zero_filled_after_generation": [{"batch": b, "region": r} for b, r in missing], "token_ids": ids,
        "regions_in_batch": ["esophagus", "thyroid"], "region_order_per_sample": order,
        "token_id_layout": {"words": [0, 50], **bases}, "tolerance_rel_absmax": 2e-5,
    }  # fmt: skip
    case = drawn(root, data)
    eye, geometry = filled(vit(whole), case, "vision_encoder."), filled(vit(mask), case, "mask_encoder.")
    resample = filled(perceiver(latents), case, "perceiver.")
    fc, mask_fc = filled(nn.Linear(12, 10), case, "fc."), filled(nn.Linear(6, 10), case, "mask_fc.")
    tags = [torch.from_numpy(case.weight(k)).double() for k in ("weight", "image_token_weight", "region_token_weight")]
    found = []
    for b, row in enumerate(ids):
        table = [*tags, fc(resample(eye(doubled(case, "input:image")[b])))[0]]
        for region in order[b]:
            table.append(fc(resample(eye(doubled(case, f"input:region:{region}")[b])))[0])
            table.append(mask_fc(geometry(doubled(case, f"input:mask:{region}")[b : b + 1]).mean(1)))
        rows = torch.cat([*table, torch.zeros(4 * (10 - len(order[b])), 10)])
        found.append(rows[row])
    write(root, data, {"input_embeddings": torch.stack(found)})


def llama_shapes(c: Mapping[str, Any]) -> Shapes:
    """Parameters of a LLaMA with grouped heads."""
    d, wide = c["hidden_size"], c["intermediate_size"]
    keys = d // c["num_attention_heads"] * c["num_key_value_heads"]
    shapes: Shapes = {"model.embed_tokens.weight": [c["vocab_size"], d], "model.norm.weight": [d]}
    shapes["lm_head.weight"] = [c["vocab_size"], d]
    for n in range(c["num_hidden_layers"]):
        at = f"model.layers.{n}."
        shapes |= {f"{at}self_attn.{k}_proj.weight": [keys if k in "kv" else d, d] for k in "qkvo"}
        shapes |= {f"{at}mlp.{k}_proj.weight": [wide, d] for k in ("gate", "up")} | {f"{at}mlp.down_proj.weight": [d, wide]}
        shapes |= {f"{at}{k}_layernorm.weight": [d] for k in ("input", "post_attention")}
    return shapes


def llama() -> Any:
    """The LLaMA of `LLAMA`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    rope = {"rope_type": "default", "rope_theta": LLAMA["rope_theta"]}
    given = {k: v for k, v in LLAMA.items() if k != "rope_theta"}
    return LlamaForCausalLM(LlamaConfig(**given, rope_parameters=rope, attn_implementation="eager"))


def losses(root: Path) -> None:
    """Three studies of other lengths; the loss is Hugging Face's own."""
    ids = torch.randint(3, 30, (3, 12), generator=torch.Generator().manual_seed(3))
    ids[:, 1:4] = torch.tensor([30, 33, 31])
    labels, attention = torch.full((3, 12), -100), torch.ones(3, 12, dtype=torch.long)
    for b, (start, end) in enumerate([(5, 12), (6, 9), (8, 12)]):
        labels[b, start:end], attention[b, end - 1 :] = ids[b, start:end], 0
    given = {"input_ids": ids.tolist(), "attention_mask": attention.tolist(), "labels": labels.tolist()}
    rows = {"input:visual_rows": {"shape": [5, 16], "kind": "normal", "then": "multiplied by 0.5; appended"}}
    data = {"family": "loss", "case": "three", "seed": 11, "llama_config": LLAMA, "params": llama_shapes(LLAMA),
            "inputs": {**rows, **given}, "tolerance_rel": 2e-5, "grad_tolerance_rel": 1e-4}  # fmt: skip
    case = drawn(root, data)
    model = filled(llama(), case)
    table = torch.cat([model.get_input_embeddings().weight, doubled(case, "input:visual_rows")])
    seen = model(inputs_embeds=table[ids], attention_mask=attention, labels=labels)
    seen.loss.backward()
    watched = ("lm_head.weight", "model.embed_tokens.weight", "model.layers.2.self_attn.k_proj.weight")
    places = [[b, p] for b in range(3) for p in range(1, 12) if labels[b, p] != -100]
    each = [F.cross_entropy(seen.logits[b, p - 1], labels[b, p]).item() for b, p in places]
    data["expected"] = {
        "loss": seen.loss.item(), "n_label_tokens": len(places), "nll_positions": places,
        "grad_norms_l2": {k: dict(model.named_parameters())[k].grad.norm().item() for k in watched},
    }  # fmt: skip
    attended = seen.logits[attention.bool()].detach()
    write(root, data, {"logits_attended": attended}, {"nll": np.array(each, np.float32)})


@torch.no_grad()
def adapters(root: Path) -> None:
    """Rank 3 on other modules than the default ones."""
    from peft import LoraConfig, get_peft_model

    shapes: Shapes = {}
    for key, shape in llama_shapes(LLAMA).items():
        name = f"base_model.model.{key}"
        if "k_proj" in key or "down_proj" in key:
            stem = name.removesuffix(".weight")
            shapes[f"{stem}.base_layer.weight"] = shape
            shapes |= {f"{stem}.lora_A.default.weight": [3, shape[1]], f"{stem}.lora_B.default.weight": [shape[0], 3]}
        else:
            shapes[name] = shape
    trained = [k for k in shapes if "lora_" in k]
    data = {
        "family": "lora", "case": "rank_3", "seed": 12, "llama_config": LLAMA, "params": shapes,
        "lora": {"r": 3, "lora_alpha": 6, "scaling": 2.0, "lora_dropout": 0.0, "bias": "none"},
        "adapted_modules": [k.removesuffix(".base_layer.weight") for k in shapes if "base_layer" in k],
        "trainable_parameter_names": trained, "trainable_parameters": sum(int(np.prod(shapes[k])) for k in trained),
        "inputs": {"input:embeds": {"shape": [1, 6, 16], "kind": "normal"}}, "tolerance_rel_absmax": 2e-5,
    }  # fmt: skip
    case = drawn(root, data)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["k_proj", "down_proj"], task_type="CAUSAL_LM")
    model = filled(get_peft_model(llama(), config), case)
    part = model.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
    merged = part.base_layer.weight + 2 * part.lora_B["default"].weight @ part.lora_A["default"].weight
    write(root, data, {"logits": model(inputs_embeds=doubled(case, "input:embeds")).logits, "merged_down_proj_layer1": merged})


def area(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """README 4.6: output i averages input floor(i·n/N) .. ceil((i+1)·n/N), axis after axis."""
    for axis, (n, m) in enumerate(zip(x.shape, size, strict=True)):
        cells = [x.take(range(i * n // m, -(-(i + 1) * n // m)), axis).mean(axis) for i in range(m)]
        x = np.stack(cells, axis)
    return x


def preprocessing(root: Path) -> None:
    """A small volume with an empty mask, one of a single voxel, and other view sizes; and one of air alone."""
    paint = [{"where": {"type": "ellipsoid", "center": [9, 7.5, 4], "radii": [8, 6, 5]}, "hu": -200, "sigma": 500},
             {"where": {"type": "voxel", "at": [9, 7, 4]}, "hu": 900, "sigma": 0}]  # fmt: skip
    solids = {"pleura": [{"type": "voxel", "at": [9, 7, 4]}], "breast": [],
              "lung": [{"type": "box", "lo": [3, 2, 1], "hi": [12, 13, 8]}]}  # fmt: skip
    volume = {"shape": [19, 14, 9], "background_hu": -1024, "paint": paint, "dtype": "int16"}
    data = {"family": "preprocess", "case": "small", "seed": 13, "volume": volume, "masks": solids,
            "tolerance_abs": {"image": 5e-6, "mask": 1e-6}}  # fmt: skip
    hu, masks = drawn(root, data).volume()

    def box(inside: np.ndarray) -> tuple[slice, ...]:
        return tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(inside))

    frame = box(hu > -1000)
    values, boxes = {"image:image": hu[frame]}, {"image": frame, "breast": None}
    for region, mask in masks.items():
        if mask.any():
            boxes[region] = box(mask & (hu > -1000))
            values[f"image:{region}"] = np.where(mask, hu, -1024)[boxes[region]]
    seen = {k: (np.clip(area(v.astype(float), (8, 4, 6)), -1000, 200) + 400) / 600 for k, v in values.items()}
    seen |= {f"mask:{region}": area(mask[frame].astype(float), (5, 6, 7)) for region, mask in masks.items()}
    named = {k: None if b is None else [[int(s.start) for s in b], [int(s.stop) for s in b]] for k, b in boxes.items()}
    write(root, {**data, "crop_boxes": {"boxes": named}}, seen)
    write(root, {**data, "case": "air", "volume": {**volume, "paint": []}, "official_raises": {"train": "RuntimeError"}}, {})


def texts(root: Path) -> None:
    """Prefixes and region recognition of two texts."""
    text = "The region 2 is bone: No fracture. The region 5 is lung: Clear: yes. "
    plain = {
        "input": text,
        "rm_region_text": "No fracture. Clear: yes.",
        "parse_by_name": {"bone": "No fracture.", "lung": "Clear: yes."},
    }
    odd = {"name": "unknown", "corrected": {"not_defined": "no region"},
           "samples": [{"accnum": "a", "reference": "Nothing.", "prediction": text}]}  # fmt: skip
    write(root, {"family": "metrics", "case": "texts", "tolerance_abs": 1e-9, "cases": [plain, odd]}, {})


def second_set(root: Path) -> Path:
    """Writes every family that needs nothing from elsewhere."""
    for make in (encoders, embeddings, losses, adapters, preprocessing, texts):
        make(root)
    return root
