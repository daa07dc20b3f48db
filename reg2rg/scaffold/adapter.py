"""An adapter f_A: the volume encoder's tokens to few (here: means of runs of tokens).

In: (B, N, width), any N. Out: (B, tokens, width).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Pooling(nn.Module):
    """Means of `tokens` runs of equal length, then a linear map; `width` is filled with the volume encoder's."""

    def __init__(self, width: int, tokens: int = 8) -> None:
        super().__init__()
        self.tokens = tokens
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) → (B, tokens, width)."""
        return self.linear(F.adaptive_avg_pool1d(x.transpose(1, 2), self.tokens).transpose(1, 2))
