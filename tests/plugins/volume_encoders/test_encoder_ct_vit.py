"""CT-ViT: the published size, words of the codebook, padding with air, and the two ways of its convolution along the depth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reg2rg_plugins.volume_encoders.ct_attention import CTTransformer, Places, PositionBias
from reg2rg_plugins.volume_encoders.ct_vit import CTViT
from torch import nn
from torch.nn import functional as F

SMALL: dict[str, Any] = {"patch": (8, 8, 4), "width": 24, "depth": 1, "heads": 2, "head_dim": 8, "words": 16}


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_it_has_the_published_size() -> None:
    """The published count is of encoder, decoder and pixel heads; a decoder's transformers mirror the encoder's."""
    with torch.device("meta"):
        model = CTViT()
        assert model(torch.zeros(1, 1, 480, 480, 240)).shape == (1, 8000, 512)
        assert model(torch.zeros(1, 1, 256, 256, 64)).shape == (1, 6 * 11 * 11, 512)
    frame, patch = 24 * 24, 24 * 24 * 12
    first_frame = 2 * frame + (frame * 512 + 512) + 2 * 512
    pixels = (512 * patch + patch) + (512 * frame + frame)
    mirror = count(model.enc_spatial_transformer) + count(model.enc_temporal_transformer)
    assert count(model) + mirror + first_frame + pixels == 50_161_608
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    at = "enc_spatial_transformer.layers.3"
    assert shapes["to_patch_emb.2.weight"] == (512, 6912) and shapes["vq._codebook.embed"] == (1, 8192, 512)
    assert shapes[f"{at}.1.to_q.weight"] == (256, 512) and shapes[f"{at}.1.to_kv.weight"] == (512, 512)
    assert shapes[f"{at}.1.to_out.weight"] == (512, 256) and shapes[f"{at}.3.1.weight"] == (2730, 512)
    assert shapes[f"{at}.3.4.weight"] == (512, 1365)
    parts = ("0.dsconv.weight", "1.null_kv", "1.q_scale", "1.k_scale", "1.norm.gamma", "1.norm.beta", "3.0.weight")
    assert {f"{at}.{part}" for part in parts} <= set(shapes)


@torch.no_grad()
def test_each_token_is_the_word_that_points_its_way() -> None:
    torch.manual_seed(0)
    book = CTViT(**SMALL).vq
    words = book._codebook.embed[0]
    x = torch.randn(2, 5, 24)
    best = F.cosine_similarity(x[:, :, None], words, dim=-1).argmax(-1)
    assert torch.equal(book(x), words[best])
    assert torch.equal(book(x), book(3 * x))


def test_gradients_pass_the_codebook_to_all_that_is_learned() -> None:
    torch.manual_seed(0)
    model = CTViT(**SMALL)
    x = torch.rand(2, 1, 16, 16, 12) * 2 - 1
    out = model(x)
    torch.testing.assert_close(out, model.requires_grad_(False)(x))
    model = CTViT(**SMALL)
    (model(x) * torch.randn(2, 12, 24)).sum().backward()
    learned = {k: p for k, p in model.named_parameters() if p.requires_grad}
    # one bias of all positions alike changes no softmax
    assert [k for k, p in learned.items() if p.grad is None or not p.grad.any()] in ([], ["spatial_rel_pos_bias.net.2.bias"])
    assert {k.rsplit(".", 1)[0].rsplit(".", 1)[-1] for k, p in model.named_parameters() if not p.requires_grad} == {
        "context_norm",
        "1",
    }


@torch.no_grad()
def test_a_view_is_padded_around_with_air_to_whole_patches() -> None:
    torch.manual_seed(0)
    model = CTViT(**SMALL)
    x = torch.rand(1, 1, 12, 15, 7)
    whole = torch.full((1, 1, 16, 16, 8), -1.0)
    whole[:, :, 2:14, 0:15, 0:7] = x
    assert torch.equal(model(x), model(whole))


@torch.no_grad()
def test_the_position_bias_is_of_the_distance_alone() -> None:
    torch.manual_seed(0)
    bias = PositionBias(24, 2)(3, 4).view(2, 3, 4, 3, 4)
    assert torch.equal(bias[:, 0, 0, 1, 2], bias[:, 1, 1, 2, 3])
    assert not torch.equal(bias[:, 0, 0, 1, 2], bias[:, 1, 2, 0, 0])


@pytest.mark.parametrize("depth_last", [False, True])
@torch.no_grad()
def test_places_see_the_patch_and_what_lies_before_it_in_depth(depth_last: bool) -> None:
    torch.manual_seed(0)
    places, grid = Places(3), (1, 4, 3, 3)

    def read(x: torch.Tensor) -> torch.Tensor:  # (1, 4, 3, 3, 3) in and out
        if depth_last:
            rows = x.permute(0, 2, 3, 1, 4).reshape(9, 4, 3)
            return places(rows, grid, True).view(1, 3, 3, 4, 3).permute(0, 3, 1, 2, 4)
        return places(x.reshape(4, 9, 3), grid, False).view(x.shape)

    x = torch.randn(1, *grid[1:], 3)
    other = x.clone()
    other[:, 2, 1, 1] += 1
    changed = (read(x) - read(other)).abs().amax((0, 2, 3, 4)) > 1e-6
    assert changed.tolist() == [False, False, True, True]


@torch.no_grad()
def test_the_official_convolution_along_the_depth_takes_columns_for_slabs() -> None:
    """What it computes is a convolution of the tokens in their order in memory, as if that were slab by slab."""
    torch.manual_seed(0)
    layer, grid = CTTransformer(24, 1, 2, 8), (2, 3, 2, 2)
    x = torch.randn(8, 3, 24)  # (b · h · w, t, width)
    slabs = layer(x.reshape(6, 4, 24), grid)
    scrambled, straight = layer(x, grid), layer(x, grid, depth_last=True)
    assert not torch.allclose(scrambled, straight)
    places = layer.layers[0][0]
    assert torch.equal(places(x, grid, False).flatten(), places(x.reshape(6, 4, 24), grid, False).flatten())
    assert slabs.shape == (6, 4, 24)


@torch.no_grad()
def test_volumes_of_a_batch_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    for scrambled in (True, False):
        model, x = CTViT(**SMALL, scrambled=scrambled), torch.rand(2, 1, 16, 24, 8)
        assert torch.equal(model(x)[1], model(x[1:])[0])
