"""Perceiver resampler f_A (Eqs. 3 and 7): many tokens to few.

In: (B, N, width). Out: (B, tokens, width). Learned latents attend to the input and to themselves; parameter names are those
of the published weights.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..frozen import Linear, autocast_dtype


class PerceiverAttention(nn.Module):
    """Cross-attention of latents to concat[media, latents]; both normed, the residual is added by the caller."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = Linear(width, heads * head_dim, bias=False)
        self.to_kv = Linear(width, 2 * heads * head_dim, bias=False)
        self.to_out = Linear(heads * head_dim, width, bias=False)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm_latents(latents)
        both = torch.cat([self.norm_media(media), latents], dim=1)
        # Few latents ask many tokens, so each head's key and value matrices are moved to the latents' side:
        # q·(K x) = (Kᵀ q)·x and Σ a V x = V Σ a x. The same numbers for half the products, and no key or value is stored.
        keys, values = self.to_kv.weights(both)[0].unflatten(0, (2, self.heads, -1))  # (heads, head_dim, width) each
        seen = both.to(autocast_dtype(both) or both.dtype)
        q = self.to_q(latents).unflatten(-1, (self.heads, -1)) * keys.shape[1] ** -0.5
        asked = torch.einsum("blhe,hew->bhlw", q, keys).flatten(1, 2)  # (B, heads·tokens, width)
        weights = (asked @ seen.transpose(1, 2)).softmax(-1)
        found = (weights @ seen).unflatten(1, (self.heads, -1))
        return self.to_out(torch.einsum("bhlw,hew->blhe", found, values).flatten(2))


class Perceiver(nn.Module):
    """`tokens` latents through `depth` layers of attention and feed-forward (× `mlp_ratio`, exact GELU, no bias).

    Small latents (`latent_std`) let the input speak from the first step, which training from scratch needs: at 1 the
    tokens of all inputs are nearly the same at first.
    """

    def __init__(
        self,
        width: int,
        tokens: int = 32,
        depth: int = 6,
        heads: int = 8,
        head_dim: int = 64,
        mlp_ratio: int = 4,
        latent_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width
        self.latents = nn.Parameter(latent_std * torch.randn(tokens, width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(width, heads, head_dim),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        Linear(width, mlp_ratio * width, bias=False),
                        nn.GELU(),
                        Linear(mlp_ratio * width, width, bias=False),
                    ),
                ]
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, media: Tensor) -> Tensor:
        latents = self.latents.expand(media.shape[0], -1, -1)
        for attention, mlp in cast(Any, self.layers):
            latents = latents + attention(media, latents)
            latents = latents + mlp(latents)
        return self.norm(latents)
