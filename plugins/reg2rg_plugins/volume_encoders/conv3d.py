"""Conv3D: strided convolutions for small volumes, the encoder of the demo.

In: (B, 1, H, W, D) in [-1, 1]. Out: (B, N, width) with N = H·W·D / 8^len(channels), plus a learned position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reg2rg.errors import UserError


class Conv3D(nn.Module):
    """Convolutions of stride 2 with GroupNorm and GELU, one for each entry of `channels`; then learned positions.

    `size` is the view's (H, W, D) in voxels, filled from the recipe; each axis must halve `len(channels)` times.
    """

    def __init__(self, size: tuple[int, int, int], channels: tuple[int, ...] = (16, 32, 64), groups: int = 4) -> None:
        super().__init__()
        factor = 2 ** len(channels)
        if any(n % factor for n in size):
            raise UserError(
                f"a view of {size} voxels can't be halved {len(channels)} times", fix="Set views.size to multiples."
            )
        self.width = channels[-1]
        steps: list[nn.Module] = []
        for before, after in zip((1, *channels), channels, strict=False):
            steps += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.GroupNorm(groups, after), nn.GELU()]
        self.body = nn.Sequential(*steps)
        tokens = (size[0] // factor) * (size[1] // factor) * (size[2] // factor)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, self.width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).flatten(2).transpose(1, 2) + self.positions
