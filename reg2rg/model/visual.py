"""The visual side: volume encoder f_V, adapter f_A, geometry encoder f_M and projections f_P (Eqs. 3–7).

In: images (B, 1, H, W, D), textures (R, 1, H, W, D) and masks (R, 1, h, w, d) of all R regions of a batch at once. Out:
tokens in the decoder's width. Features of the volume encoder may come from a cache instead, while that encoder is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import plugins
from ..contracts import VisualTokens
from ..errors import UserError
from ..recipe import Recipe

OFFICIAL_DROPOUT = 0.1  # of the official volume encoder: behind its embedding, in attention and in the MLPs


class VisualModel(nn.Module):
    """All that stands between a study's views and the decoder's input, built from a recipe for a decoder of `width`."""

    def __init__(self, recipe: Recipe, width: int) -> None:
        super().__init__()
        views = recipe.views
        encoder = recipe.volume_encoder
        self.frozen, self.adapter_frozen = encoder.freeze, encoder.freeze and recipe.adapter.freeze
        self.drops_out = encoder.dropout == "official"
        if self.drops_out:
            _check_dropout(recipe)
        dropout = {"dropout": OFFICIAL_DROPOUT} if self.drops_out else {}
        self.volume_encoder: nn.Module = plugins.resolve(
            "volume-encoder", encoder.name, encoder.options, size=views.size, **dropout
        )
        features: int = self.volume_encoder.width  # type: ignore[assignment]
        self.adapter: nn.Module = plugins.resolve("adapter", recipe.adapter.name, recipe.adapter.options, width=features)
        self.projection = projection(recipe.projection, features, width)
        self.geometry_encoder: nn.Module | None = None
        self.geometry_projection: nn.Linear | None = None
        if recipe.geometry_encoder is not None:
            component = recipe.geometry_encoder
            size = views.geometry_size or views.size
            self.geometry_encoder = plugins.resolve("geometry-encoder", component.name, component.options, size=size)
            self.geometry_projection = nn.Linear(self.geometry_encoder.width, width)  # type: ignore[arg-type]
        # the learned embeddings of the opening and closing tags of image and region
        self.image_tags = nn.Parameter(torch.randn(2, width))
        self.region_tags = nn.Parameter(torch.randn(2, width))
        self.image_tokens: int = self.adapter.tokens if views.image else 0  # type: ignore[assignment]
        texture: Any = self.adapter.tokens if views.texture != "none" else 0
        geometry: Any = self.geometry_encoder.tokens if self.geometry_encoder else 0
        self.region_tokens: int = texture + geometry
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def _frozen_parts(self) -> list[nn.Module]:
        return [self.volume_encoder] * self.frozen + [self.adapter] * self.adapter_frozen

    def train(self, mode: bool = True) -> VisualModel:
        """What is frozen stays in eval mode: no dropout, no statistics. Only `volume_encoder.dropout: official` drops out."""
        super().train(mode)
        for part in self._frozen_parts():
            part.train(mode and self.drops_out and part is self.volume_encoder)
        return self

    def encode(self, volumes: Tensor) -> Tensor:
        """f_V, and f_A where it is frozen too: (N, 1, H, W, D) → (N, tokens, features). What a feature cache holds."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.volume_encoder(volumes)
            return self.adapter(features) if self.adapter_frozen else features

    def _project(self, features: Tensor) -> Tensor:
        return self.projection(features if self.adapter_frozen else self.adapter(features))

    def forward(
        self, images: Tensor | None, textures: Tensor | None, masks: Tensor | None, encoded: bool = False
    ) -> VisualTokens:
        """Views of a batch → tokens: images (B, 1, H, W, D) by Eq. 7, textures (R, 1, H, W, D) and masks (R, 1, h, w, d) by
        Eqs. 3–5, texture and geometry side by side. `encoded`: images and textures are what `encode` gave before.
        """
        dtype = self.image_tags.dtype  # volumes come as they were stored
        images, textures, masks = (None if x is None else x.to(dtype) for x in (images, textures, masks))
        image, *parts = [None if x is None else self._project(x if encoded else self.encode(x)) for x in (images, textures)]
        if self.geometry_encoder is not None and self.geometry_projection is not None and masks is not None:
            parts.append(self.geometry_projection(self.geometry_encoder(masks)))
        given = [p for p in parts if p is not None]
        return VisualTokens(image, torch.cat(given, dim=1) if given else None)


def projection(layers: Sequence[str], features: int, width: int) -> nn.Module:
    """f_P of a recipe's `projection`: `features` → the decoder's `width`. One layer alone is that layer, none is the identity.

    Raises UserError where the last width isn't the decoder's.
    """
    made: list[nn.Module] = []
    for name in layers:
        if name in ("linear", "square"):
            made.append(nn.Linear(features, width if name == "linear" else features))
            features = made[-1].out_features  # type: ignore[assignment]
        else:
            made.append({"relu": nn.ReLU, "gelu": nn.GELU}[name]() if name != "norm" else nn.LayerNorm(features))
    if features != width:
        what = f"it leaves tokens {features} wide, and the decoder's are {width}"
        raise UserError(what, f"projection={list(layers)}", "End it with 'linear'.")
    return made[0] if len(made) == 1 else nn.Sequential(*made)


def _check_dropout(recipe: Recipe) -> None:
    """`volume_encoder.dropout: official` needs an encoder that can drop out, and features that are computed each time."""
    where, name = "volume_encoder.dropout=official", recipe.volume_encoder.name
    if "dropout" not in plugins.parameters(plugins.target_of("volume-encoder", name)):
        raise UserError(f"the volume encoder '{name}' has no dropout", where, "Set volume_encoder.dropout=none.")
    if recipe.training.cache_features:
        what = "features that differ each time, since the frozen volume encoder drops out, can't be cached"
        raise UserError(what, where, "Set volume_encoder.dropout=none or training.cache_features=false.")
