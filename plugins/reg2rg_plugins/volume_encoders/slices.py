"""Volumes as pictures of many channels, for 2-D encoders, and RGB weights for them.

The paper feeds 2-D methods the volume "as a multi-channel image" and says no more. GUESS: one axial slice a channel, values
moved from [-1, 1] to [0, 1] and normed by ImageNet's figures; with three slices these are the three colours' own, else their
means. The first convolution of RGB weights is averaged over its colours and shared out, so that a stack of equal slices gives
what the grey picture gave; it must be trained on, since all slices look alike to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COLOURS = len(MEAN)


def picture(volumes: Tensor) -> Tensor:
    """(B, 1, H, W, D) in [-1, 1] → (B, D, H, W), normed as ImageNet's pictures are."""
    x = (volumes[:, 0].permute(0, 3, 1, 2) + 1) / 2
    mean, deviation = x.new_tensor(MEAN)[:, None, None], x.new_tensor(DEVIATION)[:, None, None]
    if x.shape[1] != COLOURS:
        mean, deviation = mean.mean(), deviation.mean()
    return (x - mean) / deviation


def shared_out(weight: Tensor, channels: int) -> Tensor:
    """A first convolution (out, 3, kh, kw) for `channels` slices: the mean of its colours, scaled to the same sum."""
    if weight.shape[1] == channels:
        return weight
    mean = weight.mean(1, keepdim=True) * (weight.shape[1] / channels)
    return torch.cat([mean] * channels, dim=1)
