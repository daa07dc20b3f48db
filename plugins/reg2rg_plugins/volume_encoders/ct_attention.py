"""The transformer of CT-ViT: depth-wise convolutions for places, cosine attention, gated feed-forward, continuous bias.

In: tokens (B, N, width) and the grid (b, t, h, w) that they come from. Out: tokens of the same shape. Parameter names are
those of the published key list. The list doesn't say how the parts are joined; that follows C-ViViT (Phenaki), which CT-ViT
descends from: GUESS that keys and values are made of tokens before their norm, and that each attention holds a norm of a
context which it never gets (`context_norm`, the 16 × 512 weights that the published count has over the listed keys).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..frozen import Linear

Grid = tuple[int, int, int, int]  # batch, depth, height, width in patches
SCALE = 8.0


class GainNorm(nn.Module):
    """LayerNorm with a learned gain and a constant zero shift, which the published files hold."""

    beta: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class Places(nn.Module):
    """Position-generating convolution: depth-wise 3 × 3 × 3, which in depth sees the patch itself and the two before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, groups=width)

    def forward(self, x: Tensor, grid: Grid, depth_last: bool) -> Tensor:
        """Tokens in the order (b, t, h, w), or (b, h, w, t) where `depth_last`."""
        b, t, h, w = grid
        volume = x.reshape(b, h, w, t, -1).permute(0, 4, 3, 1, 2) if depth_last else x.reshape(*grid, -1).permute(0, 4, 1, 2, 3)
        out = self.dsconv(F.pad(volume, (1, 1, 1, 1, 2, 0)))
        return out.permute((0, 3, 4, 2, 1) if depth_last else (0, 2, 3, 4, 1)).reshape(x.shape)


class CosineAttention(nn.Module):
    """Self-attention of unit queries and keys with learned scales; `bias` (heads, N, N) is added to its scores."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.context_norm = GainNorm(width), GainNorm(width)
        # empty, but the published files hold it
        self.null_kv = nn.Parameter(torch.zeros(heads, 0, head_dim), requires_grad=False)
        self.context_norm.requires_grad_(False)  # never used, so never learnt
        self.to_q = Linear(width, heads * head_dim, bias=False)
        self.to_kv = Linear(width, 2 * heads * head_dim, bias=False)
        self.q_scale, self.k_scale = nn.Parameter(torch.ones(head_dim)), nn.Parameter(torch.ones(head_dim))
        self.to_out = Linear(heads * head_dim, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        k, v = self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.to_q(self.norm(x)), k, v))
        q, k = F.normalize(q, dim=-1) * self.q_scale, F.normalize(k, dim=-1) * self.k_scale
        q, k = q.to(v.dtype), k.to(v.dtype)
        mask = None if bias is None else bias.to(v.dtype)
        return self.to_out(F.scaled_dot_product_attention(q, k, v, mask, scale=SCALE).transpose(1, 2).flatten(2))


class Gate(nn.Module):
    """The first half of the features times the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


def feed_forward(width: int) -> nn.Sequential:
    """LayerNorm, Linear to twice 8/3 of the width, gate, Linear back; places as in the published keys."""
    inner = int(4 * (2 / 3) * width)
    up, down = Linear(width, 2 * inner, bias=False), Linear(inner, width, bias=False)
    return nn.Sequential(nn.LayerNorm(width), up, Gate(), nn.Identity(), down)


class CTTransformer(nn.Module):
    """`depth` times x + places, x + attention, x + feed-forward, then a norm."""

    def __init__(self, width: int, depth: int, heads: int, head_dim: int) -> None:
        super().__init__()
        # place 2 is a cross-attention that CT-ViT doesn't have; the published keys count it
        self.layers = nn.ModuleList(
            nn.ModuleList([Places(width), CosineAttention(width, heads, head_dim), nn.Identity(), feed_forward(width)])
            for _ in range(depth)
        )
        self.norm_out = GainNorm(width)

    def forward(self, x: Tensor, grid: Grid, bias: Tensor | None = None, depth_last: bool = False) -> Tensor:
        for places, attention, _, mlp in cast(Any, self.layers):
            x = x + places(x, grid, depth_last)
            x = x + attention(x, bias)
            x = x + mlp(x)
        return self.norm_out(x)


class PositionBias(nn.Module):
    """A score for each head and pair of patches from their signed logarithmic distance, by a small network."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        steps = [nn.Sequential(nn.Linear(n, width), nn.LeakyReLU(0.1)) for n in (2, width)]
        self.net = nn.ModuleList([*steps, nn.Linear(width, heads)])

    def forward(self, height: int, width: int) -> Tensor:
        """(heads, N, N) for a grid of height × width = N patches; each of the few distances goes through once."""
        device = cast(nn.Linear, self.net[-1]).weight.device
        rows, columns = torch.arange(1 - height, height, device=device), torch.arange(1 - width, width, device=device)
        apart = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).float()
        x = torch.sign(apart) * torch.log(apart.abs() + 1)
        for layer in self.net:
            x = layer(x)
        y, z = (torch.arange(n, device=device) for n in (height, width))
        dy, dz = y[:, None] - y + height - 1, z[:, None] - z + width - 1
        picked = x[dy[:, None, :, None], dz[None, :, None, :]]  # (h, w, h, w, heads)
        return picked.flatten(2, 3).flatten(0, 1).permute(2, 0, 1)


def whole_patches(size: tuple[int, ...], patch: tuple[int, int, int]) -> list[int]:
    """Voxels to add before and behind each axis, last axis first as `F.pad` wants them, up to whole patches."""
    out: list[int] = []
    for n, p in zip(size, patch, strict=True):
        more = math.ceil(n / p) * p - n
        out = [more // 2, more - more // 2, *out]
    return out
