"""A small SAT in its published layout: keys and shapes written out by hand from published facts, random numbers, a BERT tower.

Nothing here asks the code under test: a key that the code has wrongly named, or a shape that it has wrongly, is seen.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Size:
    """Features of the six stages, convolutions in each, widths of the query decoder; the tower's words, width, layers."""

    features: tuple[int, ...] = (4, 4, 6, 6, 8, 8)
    convs: int = 2
    width: int = 24
    ff: int = 32
    layers: int = 2
    mask: int = 10
    fused: int = 24
    words: int = 60
    hidden: int = 16
    tower_layers: int = 1
    tower_ff: int = 20


NANO = Size((64, 64, 128, 256, 512, 768), 2, 768, 2048, 6, 256, 768, 30522, 768, 12, 3072)
PRO = dataclasses.replace(NANO, features=(128, 128, 256, 512, 1024, 1536), convs=3, mask=384)


def _block(at: str, inputs: int, outputs: int) -> Shapes:
    conv = {"weight": (outputs, inputs, 3, 3, 3), "bias": (outputs,)}
    norm = {"weight": (outputs,), "bias": (outputs,)}
    out: Shapes = {}
    for name, part in (("conv", conv), ("norm", norm), ("all_modules.0", conv), ("all_modules.1", norm)):
        out |= {f"{at}.{name}.{k}": v for k, v in part.items()}
    return out


def backbone(size: Size, alias: bool = False) -> Shapes:
    """The U-Net's keys; `alias`: with the encoder that its decoder holds a second time."""
    out: Shapes = {}
    inputs = 3
    for i, width in enumerate(size.features):
        for j in range(size.convs):
            out |= _block(f"backbone.encoder.stages.{i}.0.convs.{j}", inputs, width)
            inputs = width
    if alias:
        out |= {k.replace("backbone.", "backbone.decoder.", 1): v for k, v in out.items()}
    for i, (deep, fine) in enumerate(zip(size.features[:0:-1], size.features[-2::-1], strict=True)):
        for j in range(size.convs):
            out |= _block(f"backbone.decoder.stages.{i}.convs.{j}", fine if j else 2 * fine, fine)
        out |= {f"backbone.decoder.transpconvs.{i}.weight": (deep, fine, 2, 2, 2)}
        out |= {f"backbone.decoder.transpconvs.{i}.bias": (fine,)}
    return out


def queries(size: Size) -> Shapes:
    """The query decoder's keys."""
    w, out = size.width, {}
    for i in range(size.layers):
        at = f"transformer_decoder.layers.{i}"
        out |= {f"{at}.multihead_attn.in_proj_weight": (3 * w, w), f"{at}.multihead_attn.in_proj_bias": (3 * w,)}
        out |= _linear(f"{at}.multihead_attn.out_proj", w, w)
        out |= _linear(f"{at}.linear1", w, size.ff) | _linear(f"{at}.linear2", size.ff, w)
        for name in ("norm1", "norm2", "norm3"):
            out |= {f"{at}.{name}.weight": (w,), f"{at}.{name}.bias": (w,)}
    return out | {"transformer_decoder.norm.weight": (w,), "transformer_decoder.norm.bias": (w,)}


def heads(size: Size) -> Shapes:
    """The two-layer projections' keys."""
    return {
        **_linear("projection_layer.0", sum(size.features), size.fused),
        **_linear("projection_layer.2", size.fused, size.width),
        **_linear("mask_embed_proj.0", size.width, size.mask),
        **_linear("mask_embed_proj.2", size.mask, size.features[0]),
    }


def _linear(at: str, inputs: int, outputs: int) -> Shapes:
    return {f"{at}.weight": (outputs, inputs), f"{at}.bias": (outputs,)}


def text(size: Size) -> Shapes:
    """The text encoder's keys: a BERT with its pooler, two layers, the modalities' table."""
    h, at = size.hidden, "text_tower.biolord."
    out: Shapes = {
        f"{at}embeddings.word_embeddings.weight": (size.words, h),
        f"{at}embeddings.position_embeddings.weight": (64 if size.words < 1000 else 512, h),
        f"{at}embeddings.token_type_embeddings.weight": (2, h),
    }
    norms = [f"{at}embeddings.LayerNorm"]
    for i in range(size.tower_layers):
        layer = f"{at}encoder.layer.{i}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            out |= _linear(layer + part, h, h)
        out |= _linear(f"{layer}intermediate.dense", h, size.tower_ff) | _linear(f"{layer}output.dense", size.tower_ff, h)
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    out |= {f"{norm}.{part}": (h,) for norm in norms for part in ("weight", "bias")}
    out |= _linear(f"{at}pooler.dense", h, h)
    out |= _linear("projection_layer.0", h, size.width) | _linear("projection_layer.2", size.width, size.width)
    return {**out, "modality_embed.weight": (4, size.width)}


def fill(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random weights; keys that repeat another one hold the very same tensor, an unused norm its first values."""
    maker = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        first = key.replace("decoder.encoder.", "encoder.").replace("all_modules.0", "conv").replace("all_modules.1", "norm")
        if first not in out:
            scale = (2.0 / max(1, torch.Size(shape[1:]).numel())) ** 0.5 if len(shape) > 1 else 0.1
            one = 1.0 if "norm" in key.lower() and key.endswith("weight") else 0.0
            out[first] = torch.randn(shape, generator=maker) * (0.0 if ".norm1." in key else scale) + one
        out[key] = out[first]
    return out


def network_state(size: Size = Size(), alias: bool = True, deep: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """A network's published keys, without wrappers; `deep`: with the heads that deep supervision leaves."""
    shapes = {**backbone(size, alias), **heads(size), **queries(size)}
    if deep:
        shapes |= _linear("mid_mask_embed_proj.0.0", size.width, size.mask)
    return fill(shapes, seed)


def wrapped(state: Mapping[str, Tensor]) -> dict[str, object]:
    """The published file's form, with what a training leaves beside the weights."""
    return {"step": 200000, "model_state_dict": {f"module.{key}": value for key, value in state.items()}}


def tower_folder(folder: Path, size: Size = Size(), **changes: object) -> Path:
    """config.json and a WordPiece tokenizer of letters, as a hub's folder has them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": size.words,
        "hidden_size": size.hidden,
        "num_hidden_layers": size.tower_layers,
        "num_attention_heads": 2,
        "intermediate_size": size.tower_ff,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.1,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def published(folder: Path, size: Size = Size(), name: str = "SAT_Nano.pth", seed: int = 0) -> Path:
    """A folder with the network's and the text encoder's files, the tower's config.json and tokenizer."""
    tower_folder(folder, size)
    torch.save(wrapped(network_state(size, seed=seed)), folder / name)
    torch.save(wrapped(fill(text(size), seed)), folder / "text_encoder.pth")
    return folder


def converted(folder: Path, **changes: object) -> Path:
    """A converted folder on a grid of 8 × 8 × 12 mm, so that a chest is a handful of small windows."""
    from reg2rg.convert import convert
    from reg2rg.convert.job import Request
    from reg2rg.convert.kinds import KINDS

    out = folder / "sat"
    convert(Request(KINDS["sat"], published(folder / "published"), out))
    config = json.loads((out / "config.json").read_text())
    config |= {"spacing": [8.0, 8.0, 12.0], "window": [64, 32, 32], **changes}
    (out / "config.json").write_text(json.dumps(config))
    return out
