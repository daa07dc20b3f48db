"""MaskConv: two strided convolutions on a small uncropped mask, the geometry encoder of the demo (Eq. 4).

In: (B, 1, H, W, D) soft mask in [0, 1]. Out: (B, 1, width).
"""

from __future__ import annotations

from torch import Tensor, nn


class MaskConv(nn.Module):
    """Convolutions of stride 2 with GELU, then one linear map of the whole grid (place must stay readable).

    `size` is the geometry view's (H, W, D) in voxels, filled from the recipe.
    """

    tokens = 1

    def __init__(self, size: tuple[int, int, int], channels: tuple[int, ...] = (16, 32), width: int = 64) -> None:
        super().__init__()
        self.width = width
        steps: list[nn.Module] = []
        grid = size
        for before, after in zip((1, *channels), channels, strict=False):
            steps += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.GELU()]
            grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2, (grid[2] + 1) // 2)
        self.body = nn.Sequential(*steps, nn.Flatten(), nn.Linear(channels[-1] * grid[0] * grid[1] * grid[2], width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, None]
