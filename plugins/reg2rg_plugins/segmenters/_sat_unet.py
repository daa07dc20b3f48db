"""SAT's U-Net: six stages of 3×3×3 convolutions, and back up to the full grid; modules are named as the published keys.

In: (B, 3, X, Y, Z), sides multiples of 32. Out: the six stages' maps, at 1/1 to 1/32, and the full-resolution map of as many
features as the first stage. The form is nnU-Net's plain convolutional U-Net (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Convolution (with bias), instance norm (affine), leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)
        self.nonlin = nn.LeakyReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.nonlin(self.norm(self.conv(x)))
        return out


class Stage(nn.Module):
    """`convs` blocks, of which the first changes width and, by `stride`, resolution."""

    def __init__(self, inputs: int, outputs: int, convs: int, stride: int = 1) -> None:
        super().__init__()
        first = Block(inputs, outputs, stride)
        self.convs = nn.Sequential(first, *(Block(outputs, outputs) for _ in range(convs - 1)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convs(x)
        return out


class Encoder(nn.Module):
    """(B, C, X, Y, Z) → each stage's map, the finest first; every stage but the first halves the sides."""

    def __init__(self, channels: int, features: Sequence[int], convs: int) -> None:
        super().__init__()
        inputs = (channels, *features[:-1])
        strides = (1, *[2] * (len(features) - 1))
        self.stages = nn.ModuleList(
            nn.Sequential(Stage(i, o, convs, s)) for i, o, s in zip(inputs, features, strides, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """The encoder's maps → the full-resolution map: upsampled by a transposed convolution, joined with the skip, convolved."""

    def __init__(self, features: Sequence[int], convs: int) -> None:
        super().__init__()
        pairs = list(pairwise(features[::-1]))
        self.stages = nn.ModuleList(Stage(2 * fine, fine, convs) for _, fine in pairs)
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(deep, fine, 2, stride=2) for deep, fine in pairs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Takes the maps out of the list, so that a large one is freed once it is used."""
        x = maps.pop()
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((up(x), maps.pop()), dim=1))
        return x


class UNet(nn.Module):
    """Encoder and decoder. The published decoder holds the encoder a second time, as an alias; ours doesn't."""

    def __init__(self, channels: int, features: Sequence[int], convs: int) -> None:
        super().__init__()
        self.encoder = Encoder(channels, features, convs)
        self.decoder = Decoder(features, convs)
