"""SAT's sizes and the facts that its weights were trained with: read from the tensors, kept in config.json beside them.

Shapes tell all but the number of heads; which norm stands before the attention is told by the one that training never touched.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reg2rg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

NAMES: dict[tuple[int, ...], str] = {(64, 64, 128, 256, 512, 768): "nano", (128, 128, 256, 512, 1024, 1536): "pro"}
FORMAT = 1
STEP = 32  # the deepest stage's side of a voxel in the input's voxels: windows are multiples of it


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """`features` of the six stages, `convs` in each; widths of the query decoder and its `layers`; what the input must be.

    `attention_norm` is the layer norm before the attention, `activation` that of the decoder's feed-forward part (relu, gelu).
    `spacing` in mm, `window` in voxels of it, `clip` in HU.
    """

    features: tuple[int, ...]
    convs: int
    channels: int
    width: int
    fused: int
    layers: int
    feed_forward: int
    mask_hidden: int
    heads: int = 8
    attention_norm: str = "norm2"
    activation: str = "relu"
    spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)
    window: tuple[int, int, int] = (288, 288, 96)
    clip: tuple[float, float] = (-500.0, 1000.0)

    @property
    def name(self) -> str:
        """nano, pro, or other."""
        return NAMES.get(self.features, "other")

    def to_json(self) -> dict[str, Any]:
        """The sizes as they stand in config.json."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Sizes:
        """The sizes of a config.json. Raises ValueError, KeyError or TypeError where they are none."""
        values: dict[str, Any] = {
            f.name: tuple(data[f.name]) if isinstance(data[f.name], list) else data[f.name]
            for f in dataclasses.fields(Sizes)
            if f.name in data
        }
        sizes = Sizes(**values)
        if sizes.attention_norm not in ("norm1", "norm2") or sizes.activation not in ("relu", "gelu"):
            raise ValueError(f"attention_norm '{sizes.attention_norm}' or activation '{sizes.activation}'")
        if len(sizes.features) != 6 or sizes.width % sizes.heads or len(sizes.spacing) != 3 or min(sizes.spacing) <= 0:
            raise ValueError(f"features {sizes.features}, width {sizes.width}, spacing {sizes.spacing}")
        check_window(sizes.window)
        return sizes


def check_window(window: tuple[int, ...]) -> None:
    """Raises ValueError where a window isn't multiples of 32, or too small for the deepest stage's norm."""
    if len(window) != 3 or any(side < STEP or side % STEP for side in window) or max(window) < 2 * STEP:
        raise ValueError(
            f"a window of {'×'.join(map(str, window))} voxels; its three sides are multiples of 32, one 64 or more"
        )


def sizes_of(tensors: Mapping[str, Tensor]) -> tuple[Sizes, list[str]]:
    """The sizes of a network's tensors by our names, and notes on what had to be taken for granted.

    Raises UserError where a size can't be told from them.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    encoder = r"backbone\.encoder\.stages\."
    found = {
        "convs": _count(shapes, rf"{encoder}\d+\.0\.convs\.(\d+)\."),
        "channels": _size(shapes, rf"{encoder}0\.0\.convs\.0\.conv\.weight", 1),
        "width": _size(shapes, r"transformer_decoder\.(layers\.\d+\.norm\d|norm)\.(weight|bias)", 0),
        "fused": _size(shapes, r"projection_layer\.0\.(weight|bias)", 0),
        "layers": _count(shapes, r"transformer_decoder\.layers\.(\d+)\."),
        "feed_forward": _size(shapes, r"transformer_decoder\.layers\.\d+\.linear1\.(weight|bias)", 0),
        "mask_hidden": _size(shapes, r"mask_embed_proj\.0\.(weight|bias)", 0),
    }
    sides = [_size(shapes, rf"{encoder}{i}\.0\.convs\.\d+\.(conv|norm)\.(weight|bias)", 0) for i in range(6)]
    if lacking := [*(name for name, size in found.items() if size is None), *["features"] * (None in sides)]:
        raise UserError(f"SAT's {', '.join(lacking)} can't be read from the weights: their keys are missing")
    norm, notes = _attention_norm(tensors)
    values: dict[str, Any] = {**found, "features": tuple(sides), "attention_norm": norm}
    sizes = Sizes(**values)
    if sizes.width % sizes.heads:
        raise UserError(f"the query decoder's width {sizes.width} isn't {sizes.heads} heads, as SAT has them")
    if sizes.name == "other":
        notes.append(f"stages of {sizes.features} features are neither SAT-Nano's nor SAT-Pro's")
    return sizes, notes


def _size(shapes: Mapping[str, tuple[int, ...]], pattern: str, axis: int) -> int | None:
    """The commonest size along an axis of the keys that match: one odd tensor is named by the check, and bends nothing."""
    sizes = Counter(s[axis] for key, s in shapes.items() if len(s) > axis and re.fullmatch(pattern, key))
    return sizes.most_common(1)[0][0] if sizes else None


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int | None:
    found = [int(match[1]) for key in shapes if (match := re.match(pattern, key))]
    return max(found) + 1 if found else None


def _attention_norm(tensors: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """Which of a layer's first two norms was trained: the one without a use still has equal weights and no bias."""
    used = {name: _trained(tensors, name) for name in ("norm1", "norm2")}
    if used["norm1"] and not used["norm2"]:
        return "norm1", []
    if used["norm1"] == used["norm2"]:
        return "norm2", ["which norm stands before the attention can't be told from the weights: norm2 is taken"]
    return "norm2", []


def _trained(tensors: Mapping[str, Tensor], name: str) -> bool:
    """Whether any layer's norm of that name has values that differ: before training all weights are one, all biases zero."""
    pattern = rf"transformer_decoder\.layers\.\d+\.{name}\.(weight|bias)"
    return any(bool((t != t.flatten()[0]).any()) for key, t in tensors.items() if re.fullmatch(pattern, key) and t.numel())


def dumps(data: Mapping[str, Any]) -> str:
    """config.json's text."""
    return json.dumps(data, indent=2) + "\n"
