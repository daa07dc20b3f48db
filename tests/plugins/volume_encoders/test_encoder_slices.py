"""2-D encoders over slices: published sizes, transformers' numbers, and colour weights for many slices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reg2rg_plugins.volume_encoders import slices
from reg2rg_plugins.volume_encoders.pmc_clip import PmcClip
from reg2rg_plugins.volume_encoders.swin import PATCHES, Swin
from torch import nn

from reg2rg.errors import UserError

SMALL_SWIN: dict[str, Any] = {"embedding": 8, "depths": (1, 1), "heads": (1, 2), "window": 4}
SMALL_RESNET: dict[str, Any] = {"base": 8, "blocks": (1, 2, 1)}


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def small(kind: str, size: tuple[int, int, int]) -> Any:
    torch.manual_seed(0)
    return Swin(size, **SMALL_SWIN) if kind == "swin" else PmcClip(size, **SMALL_RESNET)


def test_the_cut_resnet_has_the_published_size() -> None:
    with torch.device("meta"):
        model = PmcClip()
        assert count(model) == 8_562_528 and model.width == 1024
        assert model(torch.zeros(1, 1, 512, 512, 3)).shape == (1, 1024, 1024)
        places = {key.split(".")[0] for key in model.state_dict()}
        assert places == {"0", "1", "3", "4", "6", "7", "10", "11", "12"}
        assert {"10.0.downsample.0.weight", "11.3.conv3.weight", "12.5.bn3.running_mean"} <= set(model.state_dict())
        many = PmcClip((256, 256, 64))
        assert many(torch.zeros(1, 1, 256, 256, 64)).shape == (1, 256, 1024)
        assert count(many) - count(model) == 61 * 32 * 9


def test_swin_base_has_the_published_size() -> None:
    with torch.device("meta"):
        model = Swin()
        assert count(model) == 86_743_224 and model.width == 1024
        assert model(torch.zeros(1, 1, 224, 224, 3)).shape == (1, 49, 1024)
        assert Swin((256, 256, 64))(torch.zeros(1, 1, 256, 256, 64)).shape == (1, 64, 1024)


@torch.no_grad()
def test_swin_is_transformers_own_on_normed_slices() -> None:
    ours = small("swin", (32, 32, 3)).eval()
    x = torch.rand(2, 1, 32, 32, 3)
    rgb = x[:, 0].permute(0, 3, 1, 2)
    mean, deviation = torch.tensor(slices.MEAN).view(3, 1, 1), torch.tensor(slices.DEVIATION).view(3, 1, 1)
    wanted = ours.swin(pixel_values=(rgb - mean) / deviation).last_hidden_state
    torch.testing.assert_close(ours(x * 2 - 1), wanted)


@pytest.mark.parametrize("kind", ["pmc-clip", "swin"])
@torch.no_grad()
def test_colour_weights_fit_any_number_of_slices(kind: str) -> None:
    """A stack of equal slices gives what the grey picture in colours gave, but for the colours' own norms."""
    colours, many = small(kind, (32, 32, 3)).eval(), small(kind, (32, 32, 16)).eval()
    many.load_state_dict(many.fitted(colours.state_dict()))
    slice_ = torch.rand(1, 1, 32, 32, 1) * 2 - 1
    wide = slices.picture(slice_.expand(-1, -1, -1, -1, 16))
    body = (lambda m, x: m.swin(pixel_values=x).last_hidden_state) if kind == "swin" else nn.Sequential.forward
    torch.testing.assert_close(body(many, wide), body(colours, wide[:, :3]), atol=1e-4, rtol=1e-4)
    own = colours.fitted(colours.state_dict())
    assert all(torch.equal(own[k], v) for k, v in colours.state_dict().items())


def test_the_first_convolution_is_the_one_that_is_fitted() -> None:
    swin, resnet = small("swin", (32, 32, 5)), small("pmc-clip", (32, 32, 5))
    assert swin.state_dict()[PATCHES].shape[1] == 5 and resnet.state_dict()["0.weight"].shape[1] == 5


@pytest.mark.parametrize("kind", ["pmc-clip", "swin"])
def test_slices_are_channels_and_all_weights_learn(kind: str) -> None:
    model = small(kind, (32, 32, 5)).train()
    out = model(torch.rand(2, 1, 32, 32, 5) * 2 - 1)
    assert out.shape[0] == 2 and out.shape[2] == model.width
    (out * torch.randn_like(out)).sum().backward()
    assert not [k for k, p in model.named_parameters() if p.grad is None]
    assert len(model.state_dict()) and model.channels == 5


@pytest.mark.parametrize("kind", ["pmc-clip", "swin"])
def test_another_depth_or_odd_sides_are_refused(kind: str) -> None:
    model = small(kind, (32, 32, 5))
    with pytest.raises(UserError, match="isn't 5 slices with sides that are multiples of"):
        model(torch.zeros(1, 1, 32, 32, 6))
    with pytest.raises(UserError, match=r"Set views\.size"):
        model(torch.zeros(1, 1, 30, 32, 5))


def test_windows_are_no_larger_than_the_coarsest_grid() -> None:
    model = Swin((16, 16, 4), embedding=8, depths=(1, 1), heads=(1, 1), window=7)
    assert model.swin.config.window_size == 2 and model(torch.zeros(1, 1, 16, 16, 4)).shape == (1, 4, 16)
