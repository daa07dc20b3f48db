"""Pooling and the query decoder: published sizes, order of tokens, and what is refused."""

from __future__ import annotations

import pytest
import torch
from reg2rg_plugins.adapters.pool import Pool
from reg2rg_plugins.adapters.query_decoder import QueryDecoder
from torch import nn

from reg2rg.errors import UserError


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_pooling_takes_the_mean_of_each_box() -> None:
    x = torch.randn(2, 4 * 4 * 2, 3)
    pooled = Pool(3, (2, 2, 1), (4, 4, 2))
    boxes = x.view(2, 2, 2, 2, 2, 1, 2, 3).mean((2, 4, 6)).view(2, 4, 3)
    torch.testing.assert_close(pooled(x), boxes)
    assert pooled.tokens == 4 and not list(pooled.parameters())


def test_m3d_pools_to_its_published_tokens() -> None:
    assert Pool(768, (4, 8, 8), (8, 16, 16))(torch.zeros(1, 2048, 768)).shape == (1, 256, 768)
    assert Pool(768, (8, 2, 2), (16, 16, 16))(torch.zeros(1, 4096, 768)).shape == (1, 32, 768)


def test_a_grid_pooled_to_itself_is_left_alone() -> None:
    x = torch.randn(1, 8, 3)
    assert torch.equal(Pool(3, (2, 2, 2), (2, 2, 2))(x), x)


def test_without_a_grid_the_tokens_are_one_row() -> None:
    x = torch.arange(12.0).view(1, 12, 1)
    assert Pool(1, (1, 1, 4))(x).flatten().tolist() == [1, 4, 7, 10]


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"a grid of \(4, 4, 3\) tokens doesn't pool to \(2, 2, 2\)"):
        Pool(3, (2, 2, 2), (4, 4, 3))
    with pytest.raises(UserError, match=r"the encoder gives 9 tokens, not a grid of \(2, 2, 2\)"):
        Pool(3, (1, 1, 1), (2, 2, 2))(torch.zeros(1, 9, 3))


def test_the_query_decoder_has_the_published_size() -> None:
    with torch.device("meta"):
        wide, narrow = QueryDecoder(1024), QueryDecoder(768, heads=12)
        assert [round(count(m.decoder) / 1e6, 1) for m in (wide, narrow)] == [126.0, 75.6]
        assert wide.query_embed.weight.shape == (32, 1024)
        assert wide(torch.zeros(1, 256, 1024)).shape == (1, 32, 1024)
        keys = set(wide.state_dict())
        for part in (
            "self_attn.in_proj_weight",
            "multihead_attn.in_proj_weight",
            "linear1.weight",
            "linear2.bias",
            "norm3.weight",
        ):
            assert f"decoder.layers.11.{part}" in keys
        assert "decoder.norm.weight" in keys


def test_its_queries_read_the_picture_in_any_order() -> None:
    torch.manual_seed(0)
    model = QueryDecoder(16, tokens=4, depth=2, heads=2, mlp=24).eval()
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(model(x), model(x[:, torch.randperm(9)]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(x)[0], model(x)[1])
    model.train()(x).square().sum().backward()
    assert not [k for k, p in model.named_parameters() if p.grad is None]


def test_a_width_that_is_not_whole_heads_is_refused() -> None:
    with pytest.raises(UserError, match="a width of 1024 isn't 12 heads"):
        QueryDecoder(1024, heads=12)
