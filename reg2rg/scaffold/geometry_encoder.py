"""A geometry encoder f_M: a region's uncropped mask to tokens (here: its size, centre and extent, mapped linearly).

In: (B, 1, H, W, D) soft mask in [0, 1]. Out: (B, tokens, width).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Moments(nn.Module):
    """Share of the view, centre and spread along each axis: seven numbers, then a linear map to one token."""

    tokens = 1

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(7, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W, D) → (B, 1, width)."""
        mask = x[:, 0]
        mass = mask.sum((1, 2, 3)).clamp(min=1e-6)
        facts = [mask.mean((1, 2, 3))]
        for axis in (1, 2, 3):
            place = torch.linspace(-1, 1, mask.shape[axis], device=x.device, dtype=x.dtype)
            profile = mask.sum([a for a in (1, 2, 3) if a != axis]) / mass[:, None]
            centre = (profile * place).sum(1)
            facts += [centre, (profile * (place - centre[:, None]).square()).sum(1)]
        return self.linear(torch.stack(facts, dim=1))[:, None]
