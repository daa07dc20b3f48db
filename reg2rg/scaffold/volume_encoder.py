"""A volume encoder f_V: a CT view to tokens (here: two strided convolutions).

In: (B, 1, H, W, D) in [-1, 1]. Out: (B, N, width), here N = H·W·D / 16³.
"""

from __future__ import annotations

from torch import Tensor, nn


class SmallConv(nn.Module):
    """Two convolutions of stride 4 with GELU between; `width` features a token."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.body = nn.Sequential(nn.Conv3d(1, width // 2, 4, stride=4), nn.GELU(), nn.Conv3d(width // 2, width, 4, stride=4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W, D) → (B, N, width)."""
        return self.body(x).flatten(2).transpose(1, 2)
