"""An architecture read from its tensors' shapes: options of our plugins and the language model's configuration.

What shapes can't tell (heads, patch sides, rotary base) comes from the recipe, the plugins' defaults or a config.json. A size
is the one that most tensors agree on, so that one odd tensor is named by the check instead of bending the whole model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from .. import plugins
from ..errors import UserError

VISION_HEAD, LLAMA_HEAD = 64, 128
PUBLISHED = 4096  # the width from which on LLaMAs were published, all with heads of 128

# facts of Llama 2, where no config.json says otherwise
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# plugin → its size options: a pattern of keys, and the axis of the shape that tells
SIZES: dict[str, dict[str, tuple[str, int]]] = {
    "vit3d": {
        "width": (r"to_patch_embedding\.2\.weight|to_patch_embedding\.3\.\w+|transformer\.layers\.\d+\.\d\.norm\.\w+", 0),
        "mlp": (r"transformer\.layers\.\d+\.1\.fn\.net\.0\.\w+", 0),
    },
    "perceiver": {"tokens": (r"latents", 0), "width": (r"norm\.\w+|layers\.\d+\.0\.norm_\w+\.\w+", 0)},
}
SIZES["mask-vit"] = SIZES["vit3d"]
SIZES |= {
    "m3d-vit": {"width": (r"cls_token|norm\.weight", -1), "mlp": (r"blocks\.\d+\.mlp\.linear1\.\w+", 0)},
    "ct-vit": {"width": (r"to_patch_emb\.[23]\.\w+|\w+\.norm_out\.gamma", 0), "words": (r"vq\._codebook\.embed", 1)},
    "pmc-clip": {"base": (r"6\.weight|10\.\d+\.conv1\.weight", 0)},
    "query-decoder": {"tokens": (r"query_embed\.weight", 0), "mlp": (r"decoder\.layers\.\d+\.linear1\.\w+", 0)},
    "swin": {"embedding": (r"swin\.embeddings\.norm\.\w+", 0)},
}

# an adapter's key whose second axis is the width that it reads
READS = r"latents|query_embed\.weight"


class Shapes:
    """The shapes of some tensors by name, asked for the size that most agree on."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self.known = {k.removeprefix(prefix): tuple(v.shape) for k, v in tensors.items() if k.startswith(prefix)}

    def _sizes(self, pattern: str, axis: int) -> Iterator[int]:
        for key, shape in self.known.items():
            if len(shape) > axis and re.fullmatch(pattern, key):
                yield shape[axis]

    def size(self, pattern: str, axis: int) -> int | None:
        """The commonest size along `axis` of the keys that match; None where there are none."""
        found = Counter(self._sizes(pattern, axis)).most_common(1)
        return found[0][0] if found else None

    def count(self, pattern: str) -> int | None:
        """One more than the largest number in the first group of the keys that match."""
        found = [int(match[1]) for key in self.known if (match := re.match(pattern, key))]
        return max(found) + 1 if found else None


def options(plugin: str, kind: str, shapes: Shapes, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options with which `plugin` (a `kind` of plugin) has these shapes; `given` are those that the recipe sets.

    Raises UserError where shapes and given options contradict each other; `where` is the recipe's section.
    """
    known = plugins.parameters(plugins.target_of(kind, plugin))
    facts = {**{k: p.default for k, p in known.items()}, **given}
    out = {k: found for k, (pattern, axis) in SIZES[plugin].items() if (found := shapes.size(pattern, axis)) is not None}
    return READERS.get(plugin, _vit)(shapes, facts, out, where)


def _vit(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    out |= _whole("depth", shapes.count(r"transformer\.layers\.(\d+)\."))
    inner = shapes.size(r"transformer\.layers\.\d+\.0\.fn\.to_out\.0\.weight", 1)
    out |= _heads(inner, int(facts.get("head_dim", VISION_HEAD)), where)
    patch, channels = tuple(int(p) for p in facts["patch"]), int(facts.get("channels", 1))
    values = shapes.size(r"to_patch_embedding\.2\.weight|to_patch_embedding\.1\.\w+", -1)
    _patch_of(values, patch, channels, where)
    tables = [shapes.size(rf"pos_embedding\.{axis}_embed\.weight", 0) for axis in ("row", "col", "dep")]
    if all(tables):
        out["capacity"] = [int(n or 0) * p for n, p in zip(tables, patch, strict=True)]
    return {**out, "patch": list(patch), **({"channels": channels} if "channels" in facts else {})}


def _perceiver(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    out |= _whole("depth", shapes.count(r"layers\.(\d+)\."))
    out |= _heads(shapes.size(r"layers\.\d+\.0\.to_q\.weight", 0), int(facts.get("head_dim", VISION_HEAD)), where)
    hidden, width = shapes.size(r"layers\.\d+\.1\.1\.weight", 0), out.pop("width", None)
    if hidden and width:
        out["mlp_ratio"] = hidden // width
    return out


def _m3d(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    out |= _whole("depth", shapes.count(r"blocks\.(\d+)\."))
    patch, capacity = tuple(int(p) for p in facts["patch"]), tuple(int(n) for n in facts["capacity"])
    _patch_of(shapes.size(r"patch_embedding\.patch_embeddings\.1\.weight", 1), patch, 1, where)
    places = shapes.size(r"patch_embedding\.position_embeddings", 1)
    if places is not None and places != math.prod(n // p for n, p in zip(capacity, patch, strict=True)):
        what = f"the checkpoint has {places} places, not those of {capacity} voxels in patches of {patch}"
        raise UserError(what, fix=f"Say the size that it was trained at with: --set {where}.options.capacity=[H,W,D]")
    return {**out, "patch": list(patch), "capacity": list(capacity), "heads": int(facts["heads"])}


def _ct_vit(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    patch = tuple(int(p) for p in facts["patch"])
    _patch_of(shapes.size(r"to_patch_emb\.2\.weight|to_patch_emb\.1\.\w+", -1), patch, 1, where)
    out |= _whole("depth", shapes.count(r"enc_spatial_transformer\.layers\.(\d+)\."))
    out |= _whole("head_dim", shapes.size(r".*\.1\.[qk]_scale", 0))
    out |= _whole("heads", shapes.size(r".*\.1\.null_kv", 0))
    return {**out, "patch": list(patch)}


def _resnet(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    counts = [shapes.count(rf"{stage}\.(\d+)\.") for stage in (10, 11, 12)]
    channels = shapes.size(r"0\.weight", 1)
    return {**out, **({"blocks": counts} if all(counts) else {}), **_unless(channels, COLOURS)}


def _query_decoder(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    return {**out, **_whole("depth", shapes.count(r"decoder\.layers\.(\d+)\.")), "heads": int(facts["heads"])}


def _swin(shapes: Shapes, facts: Mapping[str, Any], out: dict[str, Any], where: str) -> dict[str, Any]:
    stages = range(shapes.count(r"swin\.encoder\.layers\.(\d+)\.") or 0)
    block, table = r"swin\.encoder\.layers\.{}\.blocks\.", r"attention\.relative_position_bias\.relative_position_bias_table"
    depths = [shapes.count(block.format(i) + r"(\d+)\.") for i in stages]
    heads = [shapes.size(block.format(i) + r"\d+\." + table, 1) for i in stages]
    if stages and all(depths) and all(heads):
        out |= {"depths": depths, "heads": heads}
    entries = shapes.size(rf".*\.{table}", 0)  # (2 · window - 1)²
    window = None if entries is None else (math.isqrt(entries) + 1) // 2
    patch, channels = (shapes.size(r"swin\.embeddings\.patch_embeddings\.projection\.weight", axis) for axis in (2, 1))
    return {**out, **_whole("patch", patch), **_whole("window", window), **_unless(channels, COLOURS)}


COLOURS = 3  # the channels of pictures, which published 2-D encoders are built for


def _unless(channels: int | None, usual: int) -> dict[str, int]:
    return {} if channels in (None, usual) else _whole("channels", channels)


def _patch_of(values: int | None, patch: tuple[int, ...], channels: int, where: str) -> None:
    """Raises UserError where a patch of the checkpoint has other values than these sides make."""
    if values is not None and values != math.prod(patch) * channels:
        raise UserError(
            f"a patch of the checkpoint has {values} values, but {patch} voxels with {channels} channel"
            f"{'s' * (channels != 1)} make {math.prod(patch) * channels}",
            fix=f"Say its sides with: --set {where}.options.patch=[H,W,D]",
        )


def _whole(name: str, value: int | None) -> dict[str, int]:
    return {} if value is None else {name: value}


def _heads(inner: int | None, head: int, where: str) -> dict[str, int]:
    if inner is None:
        return {}
    if inner % head:
        raise UserError(
            f"attention of the {where.replace('_', ' ')} has {inner} values, which aren't heads of {head}",
            fix=f"Say the width of a head with: --set {where}.options.head_dim=N",
        )
    return {"heads": inner // head, "head_dim": head}


# plugin → how its options are read from shapes; the others are ViTs of the paper's kind
READERS = {
    "perceiver": _perceiver,
    "m3d-vit": _m3d,
    "ct-vit": _ct_vit,
    "pmc-clip": _resnet,
    "query-decoder": _query_decoder,
    "swin": _swin,
}


def lora(shapes: Shapes) -> dict[str, Any] | None:
    """Rank and target modules of the adapters in a decoder's keys; None where it has none."""
    rank = shapes.size(r".*\.lora_A\.default\.weight", 0)
    if rank is None:
        return None
    targets = {match[1] for key in shapes.known if (match := re.fullmatch(r".*\.(\w+)\.lora_A\.default\.weight", key))}
    usual = targets == {"q_proj", "v_proj"}  # peft's own choice for LLaMA, which the recipe leaves open
    return {"r": rank, **({} if usual else {"target_modules": sorted(targets)})}


_MODEL = r"(?:base_model\.model\.)?model\."


def llama_sizes(shapes: Shapes) -> dict[str, int]:
    """What the shapes of a LLaMA's layers tell of its configuration. Raises UserError where there are none."""
    found = {
        "vocab_size": shapes.size(rf"{_MODEL}embed_tokens\.weight|(base_model\.model\.)?lm_head\.weight", 0),
        "hidden_size": shapes.size(rf"{_MODEL}(embed_tokens|layers\.\d+\.mlp\.gate_proj)\.weight", 1),
        "intermediate_size": shapes.size(rf"{_MODEL}layers\.\d+\.mlp\.gate_proj\.weight", 0),
        "num_hidden_layers": shapes.count(rf"{_MODEL}layers\.(\d+)\."),
    }
    if lacking := [name for name, size in found.items() if size is None]:
        raise UserError(f"the language model's {', '.join(lacking)} can't be read from the weights: its layers are missing")
    return {name: size for name, size in found.items() if size is not None}


def llama(shapes: Shapes) -> tuple[dict[str, Any], list[str]]:
    """A LLaMA's configuration from its shapes alone, and a note where heads had to be taken for granted.

    Raises UserError where the number of heads is anyone's guess.
    """
    sizes = llama_sizes(shapes)
    hidden = sizes["hidden_size"]
    head = min(LLAMA_HEAD, hidden)
    queries = shapes.size(rf"{_MODEL}layers\.\d+\.self_attn\.q_proj(\.base_layer)?\.weight", 0) or hidden
    keys = shapes.size(rf"{_MODEL}layers\.\d+\.self_attn\.k_proj(\.base_layer)?\.weight", 0) or queries
    if queries % head or keys % head:
        raise UserError(
            f"the language model's width {queries} isn't heads of {head}, as a LLaMA of 7 billion has them",
            fix="Give its config.json: --decoder FOLDER, or beside the weights.",
        )
    note = f"the language model's heads are taken to be {head} wide; a config.json beside the weights would say"
    heads = {"num_attention_heads": queries // head, "num_key_value_heads": keys // head}
    extra = {"head_dim": head} if queries != hidden else {}
    return {**LLAMA, **sizes, **heads, **extra}, [note] * (hidden < PUBLISHED)
