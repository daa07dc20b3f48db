"""Query decoder of MedVInT: learned queries read a picture's tokens through a DETR decoder.

In: (B, N, width). Out: (B, tokens, width). Parameter names are those of the published weights: 126.0 million in the decoder
for a width of 1024, 75.6 for 768. GUESS, from DETR: queries start at zero and are added, as places, before each attention;
the picture's tokens get no places of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reg2rg.errors import UserError


class QueryLayer(nn.Module):
    """Self-attention of the queries, attention to the tokens, feed-forward; each with a norm before it and a residual."""

    def __init__(self, width: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, mlp), nn.Linear(mlp, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, tokens: Tensor, queries: Tensor) -> Tensor:
        asked = self.norm1(x)
        x = x + self.dropout(self.self_attn(asked + queries, asked + queries, asked, need_weights=False)[0])
        asked = self.norm2(x) + queries
        x = x + self.dropout(self.multihead_attn(asked, tokens, tokens, need_weights=False)[0])
        return x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(self.norm3(x))))))


class _Decoder(nn.Module):
    """The layers and the norm behind them."""

    def __init__(self, width: int, depth: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(QueryLayer(width, heads, mlp, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)


class QueryDecoder(nn.Module):
    """`tokens` queries through `depth` layers. Raises UserError where `width` isn't whole heads."""

    def __init__(
        self, width: int, tokens: int = 32, depth: int = 12, heads: int = 8, mlp: int = 1024, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"a width of {width} isn't {heads} heads", "adapter.options.heads", "Set it to a divisor.")
        self.width, self.tokens = width, tokens
        self.query_embed = nn.Embedding(tokens, width)
        self.decoder = _Decoder(width, depth, heads, mlp, dropout)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query_embed.weight.expand(len(x), -1, -1)
        out = torch.zeros_like(queries)
        for layer in self.decoder.layers:
            out = layer(out, x, queries)
        return self.decoder.norm(out)
