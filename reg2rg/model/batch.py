"""Studies → one batch of tensors: dynamic padding, and the regions of all studies side by side.

In: `Sample`s (what the encoders get, in slot order, and a `Prompt`). Out: `Batch`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..contracts import Prompt
from .prompt import IGNORE


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One study: `image` (1, H, W, D), `textures` (n, 1, H, W, D), `masks` (n, 1, h, w, d) in slot order, and its prompt.

    Where `encoded` is True, image and textures are features of the volume encoder, (N, f) and (n, N, f), instead.
    """

    prompt: Prompt
    image: Tensor | None
    textures: Tensor | None
    masks: Tensor | None
    encoded: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Batch:
    """Padded ids (B, T) with attention, labels and loss weights; images (B, …), and textures and masks (R, …) of all regions.

    Volumes stay as they were stored (a cache holds half precision). `study` and `slot` (R,) say where each region belongs;
    `lengths` (B,) are the prompts' lengths.
    """

    ids: Tensor
    attention: Tensor
    labels: Tensor
    weights: Tensor
    images: Tensor | None
    textures: Tensor | None
    masks: Tensor | None
    study: Tensor
    slot: Tensor
    lengths: Tensor
    encoded: bool

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        moved = {
            f.name: v.to(device, non_blocking=True) if isinstance(v := getattr(self, f.name), Tensor) else v
            for f in dataclasses.fields(self)
        }
        return dataclasses.replace(self, **moved)  # type: ignore[arg-type]

    def share_memory(self) -> Batch:
        """The batch in memory that other processes can read."""
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), Tensor):
                value.share_memory_()
        return self

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from where a GPU fetches it while computing."""
        pinned = {f.name: v.pin_memory() for f in dataclasses.fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return dataclasses.replace(self, **pinned)  # type: ignore[arg-type]


def collate(samples: Sequence[Sample], pad: int, left: bool = False) -> Batch:
    """Pads to the longest text of the batch: right for training, `left` for generation."""
    prompts = [s.prompt for s in samples]
    longest = max(len(p.ids) for p in prompts)

    def padded(rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> Tensor:
        out = torch.full((len(rows), longest), fill, dtype=dtype)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(None, len(row))
            out[i, place] = torch.tensor(row, dtype=dtype)
        return out

    regions = [len(p.regions) for p in prompts]
    return Batch(
        ids=padded([p.ids for p in prompts], pad, torch.long),
        attention=padded([[1] * len(p.ids) for p in prompts], 0, torch.long),
        labels=padded([p.labels for p in prompts], IGNORE, torch.long),
        weights=padded([p.weights for p in prompts], 0.0, torch.float32),
        images=_joined([s.image for s in samples], stack=True),
        textures=_joined([s.textures for s in samples]),
        masks=_joined([s.masks for s in samples]),
        study=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(regions)),
        slot=torch.cat([torch.arange(n) for n in regions]),
        lengths=torch.tensor([p.prompt_length for p in prompts]),
        encoded=samples[0].encoded,
    )


def _joined(parts: Sequence[Tensor | None], stack: bool = False) -> Tensor | None:
    given = [p for p in parts if p is not None]
    if not given:
        return None
    return torch.stack(given) if stack else torch.cat(given)
