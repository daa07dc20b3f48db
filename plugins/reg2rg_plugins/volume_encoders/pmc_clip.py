"""PMC-CLIP's modified ResNet-50, cut before its fourth stage, as MedVInT takes it: a 2-D encoder over slices.

In: (B, 1, H, W, D) with values in [-1, 1], D slices as channels (see `slices`). Out: (B, h·w, width) at stride 16.
Parameters are named by their place in the published sequence (`0`, `1`, `3`, … `12`); 8,562,528 of them for three channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from reg2rg.errors import UserError

from .slices import picture, shared_out

EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; a stride is an average pool behind the 3×3 and before the shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            # the published names: the pool stands at "-1", the convolution at "0"
            parts = [("-1", self.pool), ("0", nn.Conv2d(inputs, outputs, 1, bias=False)), ("1", nn.BatchNorm2d(outputs))]
            self.downsample = nn.Sequential(OrderedDict[str, nn.Module](parts))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.pool(self.relu(self.bn2(self.conv2(y))))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def stem(channels: int, width: int) -> list[nn.Module]:
    """Places 0 to 9: three 3×3 convolutions, the first of stride 2, and an average pool of 2."""
    out: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1)):
        out += [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return [*out, nn.AvgPool2d(2)]


def stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` bottlenecks, the first with the stride."""
    rest = (Bottleneck(width * EXPANSION, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)


class PmcClip(nn.Sequential):
    """The cut ResNet; `base` is the width of its first stage, `blocks` the bottlenecks of the three stages.

    `channels` is the number of slices, the depth of the recipe's view unless said. Raises UserError for a view of another
    depth, and for sides that aren't multiples of 16.
    """

    def __init__(
        self,
        size: tuple[int, int, int] = (512, 512, 3),
        channels: int | None = None,
        base: int = 64,
        blocks: tuple[int, int, int] = (3, 4, 6),
    ) -> None:
        self_channels = channels or size[2]
        super().__init__(
            *stem(self_channels, base),
            stage(base, base, blocks[0], 1),
            stage(base * EXPANSION, 2 * base, blocks[1], 2),
            stage(2 * base * EXPANSION, 4 * base, blocks[2], 2),
        )
        self.channels, self.width = self_channels, 4 * base * EXPANSION

    def fitted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights for this number of slices."""
        return {k: shared_out(v, self.channels) if k == "0.weight" else v for k, v in weights.items()}

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.channels or x.shape[2] % 16 or x.shape[3] % 16:
            what = f"a view of {tuple(x.shape[2:])} voxels isn't {self.channels} slices with sides that are multiples of 16"
            raise UserError(what, fix="Set views.size, or volume_encoder.options.channels to its depth.")
        return super().forward(picture(x)).flatten(2).transpose(1, 2)
