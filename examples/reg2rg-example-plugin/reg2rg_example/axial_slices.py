"""AxialSlices: reads a CT slice by slice, as radiologists do, and mixes the slices afterwards.

In: (B, 1, H, W, D) in [-1, 1], D along the body. Out: (B, N, width), N = H/8 · W/8 · D/4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reg2rg.errors import UserError

PLANE, BODY = 8, 4  # voxels to a token in the slice and along the body


class AxialSlices(nn.Module):
    """Depthwise-separable convolutions on every slice, one depthwise convolution along the body, learned positions.

    `size` is the recipe's view (H, W, D), filled by reg2rg. Raises UserError where it isn't whole tokens.
    """

    def __init__(self, size: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        if size[0] % PLANE or size[1] % PLANE or size[2] % BODY:
            raise UserError(f"a view of {size} voxels isn't whole tokens", fix=f"Use multiples of {PLANE}, {PLANE}, {BODY}.")
        self.width = width
        self.slices = nn.Sequential(
            nn.Conv2d(1, width // 2, 4, stride=4),
            nn.GroupNorm(1, width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width // 2, 4, stride=2, padding=1, groups=width // 2),
            nn.Conv2d(width // 2, width, 1),
            nn.GELU(),
        )
        self.along = nn.Conv1d(width, width, BODY, stride=BODY, groups=width)
        tokens = (size[0] // PLANE) * (size[1] // PLANE) * (size[2] // BODY)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W, D) → (B, N, width), the body axis fastest."""
        batch, _, _, _, depth = x.shape
        planes = self.slices(x.permute(0, 4, 1, 2, 3).flatten(0, 1))  # (B·D, width, h, w)
        columns = planes.unflatten(0, (batch, depth)).permute(0, 3, 4, 2, 1).flatten(0, 2)  # (B·h·w, width, D)
        return self.along(columns).unflatten(0, (batch, -1)).transpose(2, 3).flatten(1, 2) + self.positions
