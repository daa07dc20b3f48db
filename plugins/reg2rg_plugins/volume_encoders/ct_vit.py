"""CT-ViT, the volume encoder of CT2Rep: attention within each slab, then along the depth, then words of a codebook.

In: (B, 1, H, W, D) with values in [-1, 1]. Out: (B, t·h·w, width), depth slowest: each token is the codebook's nearest word.
480 × 480 × 240 voxels give 20 × 20 × 20 = 8000 × 512. Parameter names are those of the published key list; no trained weights
are published. The encoder half alone: the decoder half, its GAN parts and the first-frame embedding don't make features.
GUESS: a view that isn't whole patches is padded around with air (-1), as the authors' reader pads scans.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..frozen import Linear, full_precision
from .ct_attention import CTTransformer, PositionBias, whole_patches


class Words(nn.Module):
    """The words of a codebook, unit vectors that no gradient moves."""

    embed: Tensor

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embed", F.normalize(torch.randn(1, words, width), dim=-1))


class Codebook(nn.Module):
    """Each token becomes the word that points most in its direction; its gradient passes straight through.

    The words stay as they were loaded or drawn: the authors' moving average and commitment loss aren't taken over.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self._codebook = Words(words, width)

    def forward(self, x: Tensor) -> Tensor:
        words = self._codebook.embed[0].float()
        # a part of the tokens at a time, since each is compared with every word; in full precision, since words lie close
        with full_precision(x):
            found = [(part.float() @ words.T).argmax(-1) for part in x.detach().flatten(0, 1).split(1024)]
        nearest = words[torch.cat(found)].view_as(x).to(x.dtype)
        return x + (nearest - x).detach() if x.requires_grad else nearest


class CTViT(nn.Module):
    """CT-ViT's encoder; `patch` in voxels is (H, W, D) as views are.

    `scrambled` keeps an oddity of the authors' code, for the sake of weights trained with it: the convolutions of the
    transformer along the depth take tokens that lie column by column for slab by slab. Without it they read them as they lie.
    """

    def __init__(
        self,
        patch: tuple[int, int, int] = (24, 24, 12),
        width: int = 512,
        depth: int = 4,
        heads: int = 8,
        head_dim: int = 32,
        words: int = 8192,
        scrambled: bool = True,
    ) -> None:
        super().__init__()
        self.patch, self.width, self.scrambled = patch, width, scrambled
        voxels = patch[0] * patch[1] * patch[2]
        # place 0 is the cutting into patches, which has no parameters; the published keys count it
        self.to_patch_emb = nn.Sequential(nn.Identity(), nn.LayerNorm(voxels), Linear(voxels, width), nn.LayerNorm(width))
        self.spatial_rel_pos_bias = PositionBias(width, heads)
        self.enc_spatial_transformer = CTTransformer(width, depth, heads, head_dim)
        self.enc_temporal_transformer = CTTransformer(width, depth, heads, head_dim)
        self.vq = Codebook(words, width)

    def patches(self, x: Tensor) -> Tensor:
        """(B, 1, H, W, D) → (B, t, h, w, voxels of a patch), depth slowest inside a patch too."""
        x = F.pad(x, whole_patches(tuple(x.shape[2:]), self.patch), value=-1.0)[:, 0].permute(0, 3, 1, 2)
        (d, h, w), (p, q, r) = x.shape[1:], (self.patch[2], self.patch[0], self.patch[1])
        x = x.reshape(len(x), d // p, p, h // q, q, w // r, r).permute(0, 1, 3, 5, 2, 4, 6)
        return x.flatten(4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.to_patch_emb(self.patches(x))
        b, t, h, w, _ = tokens.shape
        bias = self.spatial_rel_pos_bias(h, w)
        tokens = self.enc_spatial_transformer(tokens.reshape(b * t, h * w, -1), (b, t, h, w), bias)
        tokens = tokens.view(b, t, h * w, -1).transpose(1, 2).reshape(b * h * w, t, -1)
        tokens = self.enc_temporal_transformer(tokens, (b, t, h, w), depth_last=not self.scrambled)
        tokens = tokens.view(b, h * w, t, -1).transpose(1, 2).reshape(b, t * h * w, -1)
        return self.vq(tokens)
