"""ViT3D: the 3-D vision transformer f_V of the paper (Eqs. 3 and 7), as RadFM defines it.

In: (B, C, H, W, D) with values in [-1, 1], C = 1 or `channels`. Out: (B, h·w·d, width), depth fastest. Parameter names are
those of the published weights, so that these load by their own keys. No class token, no final norm.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reg2rg.errors import UserError

from ..frozen import Kept, Linear, autocast_dtype, full_precision

_SCORES = 1 << 21  # attention weights held at once where they are written out: they stay in the cache


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q kᵀ / √d) v of (B, heads, N, d).

    In half precision on a CPU the three products and softmax one after the other take half the time of PyTorch's fused kernel,
    a group of heads at a time; where gradients or dropout are wanted, or elsewhere, it is the fused kernel.
    """
    half = q.dtype in (torch.bfloat16, torch.float16)
    if q.device.type != "cpu" or not half or dropout or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    (batch, heads, n, d), m = q.shape, k.shape[2]
    q, k, v = (t.flatten(0, 1).contiguous() for t in (q * d**-0.5, k, v))
    out = q.new_empty(batch * heads, n, d)
    group = max(1, min(len(q), _SCORES // (n * m)))
    scores = q.new_empty(group, n, m)
    for start in range(0, len(q), group):
        part = slice(start, start + group)
        held = scores[: len(q[part])]
        torch.bmm(q[part], k[part].transpose(1, 2), out=held)
        torch.bmm(torch.softmax(held, -1, out=held), v[part], out=out[part])
    return out.unflatten(0, (batch, heads))


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value in one bias-free matrix, heads as the outer index."""

    def __init__(self, width: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_qkv = Linear(width, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Sequential(Linear(heads * head_dim, width), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.to_qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = attend(q, k, v, self.dropout if self.training else 0.0)
        return self.to_out(y.transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), Linear(hidden, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class PreNorm(nn.Module):
    """LayerNorm in front of `fn`."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Transformer(nn.Module):
    """`depth` blocks of x + attention(norm x), x + mlp(norm x)."""

    def __init__(self, width: int, depth: int, heads: int, head_dim: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(width, Attention(width, heads, head_dim, dropout)),
                    PreNorm(width, FeedForward(width, mlp, dropout)),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for attention, mlp in cast(Any, self.layers):
            x = x + attention(x)
            x = x + mlp(x)
        return x


class Positions(nn.Module):
    """Learned 3-D positions: a row, a column and a depth vector of width/3 each, side by side.

    The tables are built for the largest grid; patch i of n reads row (i + 1)·⌊capacity / n⌋ - 1, the far end of its cell.
    """

    def __init__(self, capacity: tuple[int, int, int], width: int) -> None:
        super().__init__()
        rows, columns, depths = capacity
        self.row_embed = nn.Embedding(rows, width // 3)
        self.col_embed = nn.Embedding(columns, width // 3)
        self.dep_embed = nn.Embedding(depths, width // 3)
        for table in (self.row_embed, self.col_embed, self.dep_embed):
            nn.init.uniform_(table.weight)

    def forward(self, grid: tuple[int, int, int]) -> Tensor:
        """(h·w·d, width) for a grid of (h, w, d) patches."""
        picked = []
        for n, table in zip(grid, (self.row_embed, self.col_embed, self.dep_embed), strict=True):
            step = table.num_embeddings // n
            picked.append(table.weight[torch.arange(1, n + 1, device=table.weight.device) * step - 1])
        rows, columns, depths = picked
        h, w, d = grid
        return torch.cat(
            [
                rows[:, None, None].expand(h, w, d, -1),
                columns[None, :, None].expand(h, w, d, -1),
                depths[None, None, :].expand(h, w, d, -1),
            ],
            dim=-1,
        ).reshape(h * w * d, -1)


class ViT3D(nn.Module):
    """3-D vision transformer.

    `capacity` is the largest (H, W, D) in voxels that the positions are built for, `patch` the patch in voxels; `width`
    must be divisible by 3. `dropout` acts in training mode only. Raises UserError for a volume that isn't whole patches or
    is larger than the capacity.
    """

    def __init__(
        self,
        capacity: tuple[int, int, int] = (512, 512, 512),
        patch: tuple[int, int, int] = (32, 32, 4),
        channels: int = 3,
        width: int = 768,
        depth: int = 12,
        heads: int = 8,
        head_dim: int = 64,
        mlp: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % 3:
            raise UserError(f"the width {width} isn't divisible by 3", fix="Positions need a third of it for each axis.")
        self.patch, self.channels, self.width = patch, channels, width
        self.capacity = (capacity[0] // patch[0], capacity[1] // patch[1], capacity[2] // patch[2])
        features = channels * patch[0] * patch[1] * patch[2]
        # place 0 is the cutting into patches, which has no parameters; the published keys count it
        self.to_patch_embedding = nn.Sequential(
            nn.Identity(), nn.LayerNorm(features), Linear(features, width), nn.LayerNorm(width)
        )
        self.fold, self.places = Kept(), Kept()
        self.pos_embedding = Positions(self.capacity, width)
        self.dropout = nn.Dropout(dropout)
        self.transformer = Transformer(width, depth, heads, head_dim, mlp, dropout)

    def grid(self, size: tuple[int, ...]) -> tuple[int, int, int]:
        """Patches along (H, W, D) of a volume of `size` voxels."""
        grid = tuple(n // p for n, p in zip(size, self.patch, strict=True))
        if any(n % p or not n for n, p in zip(size, self.patch, strict=True)):
            raise UserError(
                f"a view of {tuple(size)} voxels isn't whole patches of {self.patch}", fix="Set views.size to multiples."
            )
        if any(g > c for g, c in zip(grid, self.capacity, strict=True)):
            raise UserError(f"a grid of {grid} patches is larger than the {self.capacity} that this encoder is built for")
        return grid[0], grid[1], grid[2]

    def patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W, D) → (B, h·w·d, p1·p2·p3·C), channel fastest."""
        b, c = x.shape[:2]
        h, w, d = self.grid(tuple(x.shape[2:]))
        p1, p2, p3 = self.patch
        x = x.reshape(b, c, h, p1, w, p2, d, p3).permute(0, 2, 4, 6, 3, 5, 7, 1)
        return x.reshape(b, h * w * d, p1 * p2 * p3 * c)

    def embed(self, x: Tensor) -> Tensor:
        """Patch embedding before positions: LayerNorm, Linear, LayerNorm."""
        _, norm, linear, out = cast(Any, self.to_patch_embedding)
        if x.shape[1] == self.channels:
            return self.to_patch_embedding(self.patches(x))
        # One grey channel stands for `channels` equal ones: mean and variance are the same, so the norm's scale and the
        # matrix fold into one channel, exactly, at a third of the work.
        own = (linear.weight, linear.bias, norm.weight, norm.bias)
        weight, bias = self.fold(lambda: self._folded(*own, autocast_dtype(x)), own, autocast_dtype(x))
        # a few rows of patches at a time stay in the cache
        parts = (self.patches(part) for part in x.split(2 * self.patch[0], dim=2))
        return out(torch.cat([F.linear(F.layer_norm(p, p.shape[-1:], eps=norm.eps), weight, bias) for p in parts], dim=1))

    def _folded(
        self, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype | None
    ) -> tuple[Tensor, Tensor]:
        """The patch matrix (width, voxels of a patch) and bias for one channel, in `dtype` or their own."""
        with full_precision(weight):
            one = (weight * scale).view(self.width, -1, self.channels).sum(-1)
            bias = F.linear(shift, weight, bias)
        return one.to(dtype or one.dtype), bias.to(dtype or bias.dtype)

    def forward(self, x: Tensor) -> Tensor:
        grid, tables = self.grid(tuple(x.shape[2:])), tuple(self.pos_embedding.parameters())
        tokens = self.embed(x) + self.places(lambda: self.pos_embedding(grid), tables, grid)
        return self.transformer(self.dropout(tokens))
