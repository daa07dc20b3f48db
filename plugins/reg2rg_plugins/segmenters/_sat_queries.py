"""SAT's network: a U-Net, and a decoder that turns each text query into the vector whose dot product with a voxel is its logit.

The U-Net's six maps, pooled to 1/32 and joined, are the memory that the queries attend to: 9 × 9 × 3 tokens of a window of
288 × 288 × 96 voxels. Queries don't see each other, so any number may be asked at once. Modules are named as the published
keys.

What the published facts leave open, and what is done here: the positions are sines and cosines interleaved, a third of the
width for each axis (x, y, z), frequencies 10000^(-2i/third), added to the keys, not to the values; the feed-forward part's
activation is ReLU (`activation` in config.json).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._sat_config import Sizes
from ._sat_unet import UNet


class Layer(nn.Module):
    """Pre-norm cross-attention and feed-forward part. One of `norm1` and `norm2` has no use; it is there for its keys."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(sizes.width, sizes.heads, batch_first=True)
        self.linear1 = nn.Linear(sizes.width, sizes.feed_forward)
        self.linear2 = nn.Linear(sizes.feed_forward, sizes.width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(sizes.width) for _ in range(3))
        self.before, self.gelu = sizes.attention_norm, sizes.activation == "gelu"

    def forward(self, x: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        """(B, n, width) queries, (B, t, width) memory and the same with positions → (B, n, width)."""
        normed = self.norm1(x) if self.before == "norm1" else self.norm2(x)
        x = x + self.multihead_attn(normed, keys, memory, need_weights=False)[0]
        hidden = self.linear1(self.norm3(x))
        out: Tensor = x + self.linear2(F.gelu(hidden) if self.gelu else F.relu(hidden))
        return out


class QueryDecoder(nn.Module):
    """The layers and a last norm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        keys = memory + positions
        for layer in self.layers:
            queries = layer(queries, memory, keys)
        out: Tensor = self.norm(queries)
        return out


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs), nn.GELU())


class Network(nn.Module):
    """The whole of SAT but its text encoder, by the sizes of its weights."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = UNet(sizes.channels, sizes.features, sizes.convs)
        self.projection_layer = _two_layers(sum(sizes.features), sizes.fused, sizes.width)
        self.transformer_decoder = QueryDecoder(sizes)
        self.mask_embed_proj = _two_layers(sizes.width, sizes.mask_hidden, sizes.features[0])

    def forward(self, x: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) normalised windows, (n, width) queries → voxels' vectors (B, f, X, Y, Z) and queries' (B, n, f)."""
        maps = self.backbone.encoder(x.expand(-1, self.sizes.channels, -1, -1, -1))
        memory = self.memory(maps)
        places = positions(maps[-1].shape[2:], self.sizes.width).to(memory)
        found = self.transformer_decoder(queries.to(memory).expand(len(x), -1, -1), memory, places)
        return self.backbone.decoder(maps), self.mask_embed_proj(found)

    def memory(self, maps: list[Tensor]) -> Tensor:
        """The stages' maps averaged to the deepest one's grid, joined and projected: (B, t, width), z the fastest axis."""
        deepest = len(maps) - 1
        pooled = [F.avg_pool3d(m, 2 ** (deepest - i)) if i < deepest else m for i, m in enumerate(maps)]
        out: Tensor = self.projection_layer(torch.cat(pooled, dim=1).flatten(2).transpose(1, 2))
        return out


def positions(grid: tuple[int, ...] | torch.Size, width: int) -> Tensor:
    """Sinusoidal positions (x·y·z, width) of a grid of tokens, float32, z the fastest axis; see the module's docstring."""
    third = 2 * math.ceil(width / 6)
    rates = 10000.0 ** (-torch.arange(0, third, 2, dtype=torch.float32) / third)
    axes = []
    for axis, n in enumerate(grid):
        angles = torch.arange(n, dtype=torch.float32)[:, None] * rates
        waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (n, third), sine and cosine side by side
        shape = [1, 1, 1, third]
        shape[axis] = n
        axes.append(waves.reshape(shape).expand(*grid, third))
    return torch.cat(axes, dim=-1)[..., :width].reshape(-1, width)


def logits(voxels: Tensor, vectors: Tensor) -> Tensor:
    """Mask logits (B, n, X, Y, Z) of voxels' vectors (B, f, X, Y, Z) and queries' (B, n, f)."""
    return torch.einsum("bfxyz,bnf->bnxyz", voxels, vectors)
