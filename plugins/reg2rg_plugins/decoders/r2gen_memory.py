"""The parts of R2Gen that a plain transformer doesn't have: the relational memory and the norms that it sets.

The memory is a few slots that walk along the text: at each word they attend to themselves and to the word, and gates say
what is kept. Each norm of the decoder takes a change of its gain and shift from the memory at that word.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention by four matrices: query, key, value, output. `mask` is True where a key may be seen."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        given = zip(self.linears, (query, key, key), strict=False)
        q, k, v = (linear(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2) for linear, x in given)
        out = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.linears[3](out.transpose(-3, -2).flatten(-2))


class RelationalMemory(nn.Module):
    """Slots of `width` that read a text word by word."""

    def __init__(self, width: int, slots: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.slots, self.width = slots, width
        self.attn = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.W, self.U = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)

    def step(self, word: Tensor, memory: Tensor) -> Tensor:
        """The memory (B, slots, width) after a word (B, width)."""
        word = word[:, None]
        new = memory + self.attn(memory, torch.cat([memory, word], dim=1))
        new = new + self.mlp(new)
        take, keep = (self.W(word) + self.U(memory.tanh())).sigmoid().chunk(2, dim=-1)
        return take * new.tanh() + keep * memory

    def forward(self, words: Tensor, before: Tensor | None = None) -> Tensor:
        """(B, T, width) → the memory at each word, (B, T, slots · width).

        It begins as the same unit vectors for all, or as what it was `before`, (B, slots · width).
        """
        start = torch.eye(self.slots, self.width, dtype=words.dtype, device=words.device).flatten().expand(len(words), -1)
        memory = (start if before is None else before).unflatten(1, (self.slots, self.width))
        out = []
        for t in range(words.shape[1]):
            memory = self.step(words[:, t], memory)
            out.append(memory.flatten(1))
        return torch.stack(out, dim=1)


class MemoryNorm(nn.Module):
    """LayerNorm whose gain and shift are changed by the memory, (B, T, slots · width), at each word."""

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.mlp_gamma, self.mlp_beta = (
            nn.Sequential(nn.Linear(slots * width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(2)
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        return (self.gamma + self.mlp_gamma(memory)) * normed + self.beta + self.mlp_beta(memory)
