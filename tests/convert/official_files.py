"""Files in the official layouts, small and with random numbers: keys written out by hand, from the published key lists."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reg2rg.plugins import resolve

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """A small model; a patch of the volume encoder is 32×32×4 of three channels, of the geometry encoder 32×32×16 of one."""

    width: int = 24
    depth: int = 2
    heads: int = 2
    mlp: int = 40
    tables: tuple[int, int, int] = (2, 2, 4)
    latents: int = 4
    layers: int = 2
    mask_width: int = 15
    mask_depth: int = 1
    mask_tables: tuple[int, int, int] = (2, 2, 1)
    hidden: int = 64
    blocks: int = 2
    ff: int = 96
    words: int = 300
    rank: int = 8
    mask_heads: int = 2
    mask_mlp: int = 20


PUBLISHED = Sizes(
    width=768, depth=12, heads=8, mlp=2048, tables=(16, 16, 128), latents=32, layers=6, mask_width=255, mask_depth=3,
    mask_tables=(8, 8, 4), hidden=4096, blocks=32, ff=11008, words=32000, rank=8, mask_heads=8, mask_mlp=512,
)  # fmt: skip


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def vit(width: int, depth: int, heads: int, mlp: int, tables: Sequence[int], patch: int) -> Shapes:
    inner = 64 * heads
    out = {**norm("to_patch_embedding.1", patch), "to_patch_embedding.2.weight": (width, patch)}
    out |= {"to_patch_embedding.2.bias": (width,), **norm("to_patch_embedding.3", width)}
    out |= {f"pos_embedding.{a}_embed.weight": (n, width // 3) for a, n in zip(("row", "col", "dep"), tables, strict=True)}
    for i in range(depth):
        at = f"transformer.layers.{i}"
        out |= {**norm(f"{at}.0.norm", width), f"{at}.0.fn.to_qkv.weight": (3 * inner, width)}
        out |= {f"{at}.0.fn.to_out.0.weight": (width, inner), f"{at}.0.fn.to_out.0.bias": (width,)}
        out |= {**norm(f"{at}.1.norm", width), f"{at}.1.fn.net.0.weight": (mlp, width), f"{at}.1.fn.net.0.bias": (mlp,)}
        out |= {f"{at}.1.fn.net.3.weight": (width, mlp), f"{at}.1.fn.net.3.bias": (width,)}
    return out


def perceiver(width: int, depth: int, latents: int, heads: int) -> Shapes:
    inner = 64 * heads
    out: Shapes = {"latents": (latents, width)}
    for i in range(depth):
        at = f"layers.{i}"
        out |= {**norm(f"{at}.0.norm_media", width), **norm(f"{at}.0.norm_latents", width)}
        out |= {f"{at}.0.to_q.weight": (inner, width), f"{at}.0.to_kv.weight": (2 * inner, width)}
        out |= {f"{at}.0.to_out.weight": (width, inner), **norm(f"{at}.1.0", width)}
        out |= {f"{at}.1.1.weight": (4 * width, width), f"{at}.1.3.weight": (width, 4 * width)}
    return {**out, **norm("norm", width)}


def llama(s: Sizes) -> Shapes:
    out: Shapes = {"model.embed_tokens.weight": (s.words, s.hidden)}
    for i in range(s.blocks):
        at = f"model.layers.{i}"
        out |= {f"{at}.self_attn.{p}_proj.weight": (s.hidden, s.hidden) for p in "qkvo"}
        out |= {f"{at}.mlp.{p}_proj.weight": (s.ff, s.hidden) for p in ("gate", "up")}
        out |= {f"{at}.mlp.down_proj.weight": (s.hidden, s.ff), f"{at}.input_layernorm.weight": (s.hidden,)}
        out |= {f"{at}.post_attention_layernorm.weight": (s.hidden,)}
    return {**out, "model.norm.weight": (s.hidden,), "lm_head.weight": (s.words, s.hidden)}


def numbers(shapes: Mapping[str, tuple[int, ...]], seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Numbers as the golden fixtures draw them: around one for a norm's scale, small biases, matrices of unit gain."""
    out = {}
    for key, shape in shapes.items():
        digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]
        x = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little"))).standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            x = 1 + 0.1 * x if key.endswith("weight") else 0.02 * x
        elif key.endswith(("embed.weight", "embed_tokens.weight", "latents", "token_weight")):
            x = 0.5 * x
        else:
            x = x / np.sqrt(np.prod(shape[1:]))
        out[key] = torch.from_numpy(x.astype(np.float32)).to(dtype)
    return out


def under(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": value for key, value in tensors.items()}


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The tensors of one model, part by part, by each part's own names."""

    vision: dict[str, Tensor]
    mask: dict[str, Tensor]
    perceiver: dict[str, Tensor]
    rest: dict[str, Tensor]  # fc, mask_fc and the tags
    llama: dict[str, Tensor]
    lora: dict[str, Tensor]


def shapes_alone(shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Tensors without numbers, for sizes that a test can't hold."""
    return {key: torch.empty(shape, dtype=dtype, device="meta") for key, shape in shapes.items()}


def pieces(
    s: Sizes = Sizes(),
    seed: int = 0,
    visual: torch.dtype = torch.float32,
    words: torch.dtype = torch.float32,
    numbers: Callable[..., dict[str, Tensor]] = numbers,
) -> Pieces:
    """A whole model's parts; the language model in `words`, all else in `visual`."""
    tags = {"image_token_weight": (2, s.hidden), "region_token_weight": (2, s.hidden)}
    heads = {"fc.weight": (s.hidden, s.width), "fc.bias": (s.hidden,)}
    masks = {"mask_fc.weight": (s.hidden, s.mask_width), "mask_fc.bias": (s.hidden,)}
    lora: Shapes = {}
    for i in range(s.blocks):
        for p in ("q_proj", "v_proj"):
            at = f"model.layers.{i}.self_attn.{p}"
            lora |= {f"{at}.lora_A.default.weight": (s.rank, s.hidden), f"{at}.lora_B.default.weight": (s.hidden, s.rank)}
    return Pieces(
        vision=numbers(vit(s.width, s.depth, s.heads, s.mlp, s.tables, 32 * 32 * 4 * 3), seed, visual),
        mask=numbers(vit(s.mask_width, s.mask_depth, s.mask_heads, s.mask_mlp, s.mask_tables, 32 * 32 * 16), seed + 1, visual),
        perceiver=numbers(perceiver(s.width, s.layers, s.latents, s.heads), seed + 2, visual),
        rest=numbers({**tags, **heads, **masks}, seed + 3, visual),
        llama=numbers(llama(s), seed + 4, words),
        lora=numbers(lora, seed + 5, words),
    )


def reg2rg(p: Pieces, *, base_layer: bool = True, rotary: bool = True, twin: bool = True) -> dict[str, Tensor]:
    """The whole model's file: peft's names (with `.base_layer` or, before 0.6, without), rotary constants, the table twice."""
    base = "lang_model.base_model.model."
    out: dict[str, Tensor] = {}
    for key, tensor in p.llama.items():
        stem = key.removesuffix(".weight")
        adapted = stem.endswith(("q_proj", "v_proj"))
        out[f"{base}{stem}.base_layer.weight" if adapted and base_layer else f"{base}{key}"] = tensor
        if adapted:
            out |= {f"{base}{k}": v for k, v in p.lora.items() if k.startswith(f"{stem}.lora_")}
        if rotary and key.endswith("o_proj.weight"):
            at = key.removesuffix("o_proj.weight")
            out[f"{base}{at}rotary_emb.inv_freq"] = torch.linspace(1, 0.1, 16, dtype=tensor.dtype)
    if twin:
        out["embedding_layer.weight"] = p.llama["model.embed_tokens.weight"]
    out |= under("embedding_layer.", {k: v for k, v in p.rest.items() if k.endswith("token_weight")})
    out |= under("embedding_layer.vision_encoder.", p.vision) | under("embedding_layer.mask_encoder.", p.mask)
    out |= under("embedding_layer.perceiver.", p.perceiver)
    return out | under("embedding_layer.", {k: v for k, v in p.rest.items() if "fc." in k})


def radfm_files(p: Pieces) -> dict[str, Any]:
    """RadFM's two part files."""
    fc = numbers({"weight": (80, p.perceiver["latents"].shape[1]), "bias": (80,)}, 9)
    return {"RadFM_vit3d.pth": dict(p.vision), "RadFM_perceiver_fc.pth": {"perceiver": dict(p.perceiver), "fc": fc}}


def radfm(p: Pieces) -> dict[str, Tensor]:
    """RadFM's whole model: the visual modules among a language model and heads that nothing uses."""
    fc = under("embedding_layer.fc.", radfm_files(p)["RadFM_perceiver_fc.pth"]["fc"])
    other = {"embedding_layer.figure_token_weight": (2, 80), "embedding_layer.cls_head.weight": (2, 8)}
    other |= {"embedding_layer.bert_model.embeddings.weight": (5, 8)}
    out = under("lang_model.", p.llama) | {"embedding_layer.weight": p.llama["model.embed_tokens.weight"]}
    out |= numbers(other, 8) | under("embedding_layer.vision_encoder.", p.vision)
    return out | under("embedding_layer.perceiver.", p.perceiver) | fc


def llama_folder(folder: Path, s: Sizes, tensors: Mapping[str, Tensor] | None = None, heads: int = 4) -> Path:
    """A language model's folder: tokenizer and config.json, and weights where given."""
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_of(s).save_pretrained(folder)
    LlamaConfig(
        vocab_size=s.words,
        hidden_size=s.hidden,
        intermediate_size=s.ff,
        num_hidden_layers=s.blocks,
        num_attention_heads=heads,
        rms_norm_eps=1e-5,
        max_position_embeddings=4096,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)
    if tensors is not None:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def tokenizer_of(s: Sizes) -> Any:
    """A tokenizer of no more words than the model's table."""
    texts = ["The region 0 is lung: Both lungs are clear. The region 1 is heart: The heart is enlarged. 2 3 4 5 6 7 8 9"]
    _, tokenizer = resolve("decoder", "tiny", {"width": 32, "layers": 1, "heads": 2}).build(texts)
    assert len(tokenizer) <= s.words, len(tokenizer)
    return tokenizer
