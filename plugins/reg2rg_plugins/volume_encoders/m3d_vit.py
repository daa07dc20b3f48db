"""M3D's vision tower: a plain 3-D ViT with a class token and a final norm (M3D-CLIP, M3D-LaMed).

In: (B, 1, H, W, D) with values in [-1, 1]. Out: (B, d·h·w, width), depth slowest, the class token dropped. Parameter names
are those of the published 138 tensors. GUESS, stated nowhere: views in [-1, 1] are moved to the [0, 1] that the weights know
and turned to (D, H, W) without a flip; positions are interpolated where the grid isn't the one that the table was built for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reg2rg.errors import UserError

from ..frozen import Linear
from .vit3d import attend


class SelfAttention(nn.Module):
    """Multi-head self-attention; query, key and value in one bias-free matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out_proj = Linear(width, 3 * width, bias=False), Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = Linear(width, hidden), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.gelu(self.linear1(x)))


class Block(nn.Module):
    """x + attention(norm x), x + mlp(norm x)."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.mlp, self.norm1 = Mlp(width, mlp), nn.LayerNorm(width)
        self.attn, self.norm2 = SelfAttention(width, heads), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """Cuts (B, 1, D, H, W) into patches, maps each by one matrix and adds its place, learned for `grid`."""

    def __init__(self, patch: tuple[int, int, int], grid: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.patch, self.grid = patch, grid
        # place 0 is the cutting, which has no parameters; the published keys count it
        self.patch_embeddings = nn.Sequential(nn.Identity(), Linear(patch[0] * patch[1] * patch[2], width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, grid[0] * grid[1] * grid[2], width))
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def places(self, grid: tuple[int, int, int]) -> Tensor:
        """(1, d·h·w, width): the learned places, interpolated (trilinear) where `grid` is another."""
        if grid == self.grid:
            return self.position_embeddings
        table = self.position_embeddings.transpose(1, 2).unflatten(2, self.grid)
        return F.interpolate(table, size=grid, mode="trilinear", align_corners=False).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        (d, h, w), (p, q, r) = (n // p for n, p in zip(x.shape[2:], self.patch, strict=True)), self.patch
        patches = x[:, 0].reshape(-1, d, p, h, q, w, r).permute(0, 1, 3, 5, 2, 4, 6).reshape(len(x), d * h * w, p * q * r)
        return self.patch_embeddings(patches) + self.places((d, h, w))


class M3DViT(nn.Module):
    """3-D ViT; `patch` and `capacity`, the size in voxels that its places were learned for, are (H, W, D) as views are.

    Raises UserError for a volume that isn't whole patches.
    """

    def __init__(
        self,
        capacity: tuple[int, int, int] = (256, 256, 32),
        patch: tuple[int, int, int] = (16, 16, 4),
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp: int = 3072,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"a width of {width} isn't {heads} heads", fix="Set heads to a divisor of width.")
        self.patch, self.width = patch, width
        grid = tuple(n // p for n, p in zip(capacity, patch, strict=True))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embedding = PatchEmbedding((patch[2], patch[0], patch[1]), (grid[2], grid[0], grid[1]), width)
        self.blocks = nn.ModuleList(Block(width, heads, mlp) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        if any(n % p or not n for n, p in zip(x.shape[2:], self.patch, strict=True)):
            what = f"a view of {tuple(x.shape[2:])} voxels isn't whole patches of {self.patch}"
            raise UserError(what, fix="Set views.size to multiples.")
        tokens = self.patch_embedding((x.permute(0, 1, 4, 2, 3) + 1) / 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:]
