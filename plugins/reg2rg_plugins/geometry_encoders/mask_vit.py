"""MaskViT: the lightweight geometry encoder f_M (Eq. 4), a three-layer ViT3D on the uncropped mask.

In: (B, 1, H, W, D) soft mask in [0, 1]. Out: (B, 1, width), the mean of its tokens.
"""

from __future__ import annotations

from torch import Tensor

from ..volume_encoders.vit3d import ViT3D


class MaskViT(ViT3D):
    """ViT3D with one channel whose tokens are averaged into one geometry token."""

    tokens = 1

    def __init__(
        self,
        capacity: tuple[int, int, int] = (256, 256, 64),
        patch: tuple[int, int, int] = (32, 32, 16),
        width: int = 255,
        depth: int = 3,
        heads: int = 8,
        head_dim: int = 64,
        mlp: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(capacity, patch, 1, width, depth, heads, head_dim, mlp, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(dim=1, keepdim=True)
