"""The projection f_P as a recipe's data: its layers, its widths, and a chain that doesn't end at the decoder's width."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reg2rg import recipe as recipes
from reg2rg.errors import UserError
from reg2rg.model.visual import projection

LINEAR, NORM = nn.Linear, nn.LayerNorm


@pytest.mark.parametrize(
    ("name", "features", "kinds", "parameters"),
    [
        ("reg2rg", 768, [LINEAR], 3_149_824),
        ("radfm", 768, [LINEAR], 3_149_824),
        ("m3d", 768, [LINEAR, nn.GELU, LINEAR], 768 * 4096 + 4096 + 4096 * 4096 + 4096),
        ("medvint", 1024, [LINEAR, nn.ReLU, LINEAR], 1024 * 1024 + 1024 + 1024 * 4096 + 4096),
        ("r2gengpt", 1024, [LINEAR, NORM], 1024 * 4096 + 4096 + 2 * 4096),
    ],
)
def test_each_method_has_its_own(name: str, features: int, kinds: list[type], parameters: int) -> None:
    with torch.device("meta"):
        made = projection(recipes.load(name).projection, features, 4096)
        assert made(torch.zeros(1, 32, features)).shape == (1, 32, 4096)
    layers = [made] if isinstance(made, nn.Linear) else list(made)
    assert [type(layer) for layer in layers] == kinds
    assert sum(p.numel() for p in made.parameters()) == parameters


def test_no_layer_is_the_identity() -> None:
    x = torch.randn(1, 2, 8)
    assert torch.equal(projection((), 8, 8)(x), x)


@pytest.mark.parametrize("layers", [(), ("square", "relu"), ("norm",)])
def test_tokens_that_the_decoder_cannot_take_are_refused(layers: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="it leaves tokens 8 wide, and the decoder's are 16"):
        projection(layers, 8, 16)


def test_an_unknown_layer_is_a_fault_of_the_recipe() -> None:
    with pytest.raises(UserError, match=r"'projection\.1' is 'tanh'"):
        recipes.load(sets=["projection=[linear, tanh]"])
