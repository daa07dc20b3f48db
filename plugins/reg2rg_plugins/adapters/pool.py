"""Average pooling of a grid of tokens: the "spatial pooling" of M3D's projector, and the plainest way to fewer tokens.

In: (B, N, width). Out: (B, tokens, width), in the order that the tokens came in. No parameters.
"""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from reg2rg.errors import UserError


class Pool(nn.Module):
    """Means over equal boxes of a `grid` of tokens, `pooled` to a smaller one; both are written slowest axis first.

    Without a `grid` the tokens are one row, cut into prod(pooled) parts about as long as each other. Raises UserError where the
    tokens aren't the grid's, or where one of its sides isn't a multiple of the smaller one's.
    """

    def __init__(self, width: int, pooled: tuple[int, int, int] = (8, 2, 2), grid: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.width, self.pooled, self.grid, self.tokens = width, pooled, grid, prod(pooled)
        if grid is not None and any(n % m for n, m in zip(grid, pooled, strict=True)):
            raise UserError(f"a grid of {grid} tokens doesn't pool to {pooled}", fix="Each side must be a multiple.")

    def forward(self, x: Tensor) -> Tensor:
        rows = x.transpose(1, 2)
        if self.grid is None:
            return F.adaptive_avg_pool1d(rows, self.tokens).transpose(1, 2)
        if x.shape[1] != prod(self.grid):
            what = f"the encoder gives {x.shape[1]} tokens, not a grid of {self.grid}"
            raise UserError(what, "adapter.options.grid", "Set it to the encoder's for this views.size, slowest axis first.")
        if self.grid == self.pooled:
            return x
        kernel = tuple(n // m for n, m in zip(self.grid, self.pooled, strict=True))
        return F.avg_pool3d(rows.unflatten(2, self.grid), kernel).flatten(2).transpose(1, 2)  # type: ignore[arg-type]
