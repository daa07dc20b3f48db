"""Sliding windows over a volume, their votes weighted and averaged, merged into region bits slab by slab.

Steps of half a window, the last one moved back to the border, what is smaller than a window filled with zeros at its end.
Weights are a Gaussian of σ = side/8 around the window's middle voxel, its peak 10. A class is where the weighted average of its
probabilities p is above 0.5: where Σ w (p - ½) is above 0, so one sum a class is enough and no weights need be summed;
and p - ½ is half the hyperbolic tangent of half the logit.

Classes are merged into regions only once their average stands (the average of a maximum isn't the maximum of averages), but
that is soon: windows go upwards, and a slice that no later window touches is decided, merged and let go. So the sums take
classes × X × Y × (window's z) × 4 bytes, however many slices the volume has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Triple = tuple[int, int, int]
Run = Callable[[Tensor], tuple[Tensor, Tensor]]  # windows (B, 1, x, y, z) → voxels' vectors (B, f, x, y, z), classes' (B, n, f)
CHUNK = 8  # classes whose logits are computed at a time


def starts(length: int, side: int) -> list[int]:
    """Where the windows of one axis begin; one window where the length is no more than a side."""
    if length <= side:
        return [0]
    return [*range(0, length - side, side // 2), length - side]


def gaussian(window: Triple) -> Tensor:
    """The weights of a window's voxels, float32 (x, y, z); never zero, so that corners count where nothing else does."""
    lines = [torch.exp(-((torch.arange(n) - n // 2) ** 2) / (2 * (n / 8) ** 2)) for n in window]
    return 10.0 * lines[0][:, None, None] * lines[1][None, :, None] * lines[2][None, None, :]


class Slab:
    """The sums of the classes over the slices that windows still reach: `sums` (n, X, Y, window's z), the lowest at `floor`."""

    def __init__(self, bits: np.ndarray, shape: Triple, window: Triple, device: torch.device) -> None:
        self.bits, self.weights, self.floor = bits, gaussian(window).to(device), 0
        self.sums = torch.zeros((len(bits), *shape[:2], window[2]), device=device)
        self.out = np.zeros(shape, dtype=np.uint16)

    def add(self, corner: tuple[int, int], voxels: Tensor, vectors: Tensor) -> None:
        """Adds one window's votes: voxels' vectors (f, x, y, z), classes' vectors (n, f)."""
        shape = voxels.shape[1:]
        flat = voxels.flatten(1)
        place = tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=False))
        for i in range(0, len(vectors), CHUNK):
            votes = (vectors[i : i + CHUNK] @ flat).float().reshape(-1, *shape)
            self.sums[(slice(i, i + CHUNK), *place)] += votes.mul_(0.5).tanh_().mul_(self.weights)

    def rise(self, floor: int) -> None:
        """Decides and merges the slices below `floor`, and moves the sums of those above it down."""
        n = min(floor - self.floor, self.sums.shape[3])
        done = self.out[:, :, self.floor : self.floor + n]
        for bits, sums in zip(self.bits, self.sums, strict=True):  # class by class: no second copy of all sums
            done |= np.where((sums[:, :, :n] > 0).cpu().numpy(), bits, np.uint16(0))
            sums[:, :, : -n or None] = sums[:, :, n:].clone()
            sums[:, :, -n:] = 0
        self.floor = floor


@torch.inference_mode()
def slide(image: Tensor, bits: np.ndarray, run: Run, window: Triple, batch: int = 1) -> np.ndarray:
    """The bits (uint16, one a class) of the classes that lie at each voxel, joined: uint16 (X, Y, Z) of an image (X, Y, Z).

    `run` is the network; `batch` windows are given to it at a time.
    """
    pads = [max(side - n, 0) for n, side in zip(image.shape, window, strict=True)]
    padded = F.pad(image, (0, pads[2], 0, pads[1], 0, pads[0]))
    x, y, z = padded.shape
    slab = Slab(bits, (x, y, z), window, image.device)
    for floor, corners in _by_height((x, y, z), window):
        if floor:
            slab.rise(floor)
        for i in range(0, len(corners), batch):
            some = corners[i : i + batch]
            crops = [padded[a : a + window[0], b : b + window[1], floor : floor + window[2]] for a, b in some]
            voxels, vectors = run(torch.stack(crops)[:, None])
            for corner, v, q in zip(some, voxels, vectors, strict=True):
                slab.add(corner, v, q)
    slab.rise(z)
    return slab.out[tuple(slice(0, n) for n in image.shape)]


def _by_height(shape: Triple, window: Triple) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each height that windows begin at, upwards, with their corners (x, y)."""
    x, y, z = (starts(n, side) for n, side in zip(shape, window, strict=True))
    for floor, group in groupby(product(z, x, y), key=lambda corner: corner[0]):
        yield floor, [(a, b) for _, a, b in group]
