"""Swin transformer (transformers' own) as R2GenGPT takes it: a 2-D encoder over slices.

In: (B, 1, H, W, D) with values in [-1, 1], D slices as channels (see `slices`). Out: (B, h·w, width) at stride 32, normed:
49 × 1024 for Swin-Base at 224 × 224. 86,743,224 parameters for three channels. Loaded lazily: it imports transformers.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from reg2rg.errors import UserError

from .slices import picture, shared_out

PATCHES = "swin.embeddings.patch_embeddings.projection.weight"


class Swin(nn.Module):
    """Swin-Base by default: windows of 7 × 7 patches of 4 × 4 pixels.

    `size` is the recipe's view, whose depth is the number of `channels` unless said. GUESS, in the comparison form: 256 × 256
    pixels, which aren't whole windows, are padded inside, as transformers does. Where a view's coarsest grid is smaller than
    `window`, windows are as small as that grid, and published weights don't fit.
    """

    def __init__(
        self,
        size: tuple[int, int, int] = (224, 224, 3),
        channels: int | None = None,
        patch: int = 4,
        embedding: int = 128,
        depths: tuple[int, ...] = (2, 2, 18, 2),
        heads: tuple[int, ...] = (4, 8, 16, 32),
        window: int = 7,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels, self.stride = channels or size[2], patch * 2 ** (len(depths) - 1)
        coarsest = max(1, min(size[:2]) // self.stride)
        config = SwinConfig(
            image_size=size[:2],  # type: ignore[arg-type]
            patch_size=patch,
            num_channels=self.channels,
            embed_dim=embedding,
            depths=list(depths),
            num_heads=list(heads),
            window_size=min(window, coarsest),
            drop_path_rate=drop_path,
        )
        self.swin = SwinModel(config, add_pooling_layer=False)
        self.width: int = embedding * 2 ** (len(depths) - 1)

    def fitted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights for this number of slices."""
        return {k: shared_out(v, self.channels) if k == PATCHES else v for k, v in weights.items()}

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.channels or x.shape[2] % self.stride or x.shape[3] % self.stride:
            what = f"a view of {tuple(x.shape[2:])} voxels isn't {self.channels} slices with sides that are multiples of "
            raise UserError(f"{what}{self.stride}", fix="Set views.size, or volume_encoder.options.channels to its depth.")
        return self.swin(pixel_values=picture(x)).last_hidden_state
