"""M3D's ViT: the published size at full size, MONAI's numbers with the same weights, places for other grids."""

from __future__ import annotations

import pytest
import torch
from reg2rg_plugins.volume_encoders.m3d_vit import M3DViT

from reg2rg.errors import UserError

CROSS_NORMS = 12 * 2 * 768  # of the 162 tensors that MONAI 1.6 has, 24 that no published file holds
SMALL = {"width": 24, "depth": 2, "heads": 3, "mlp": 40}


def test_it_has_the_published_size() -> None:
    with torch.device("meta"):
        model = M3DViT()
        state = model.state_dict()
        assert sum(p.numel() for p in model.parameters()) == 87_407_616 - CROSS_NORMS
        assert len(state) == 138
        assert model(torch.zeros(1, 1, 256, 256, 32)).shape == (1, 2048, 768)
        assert model(torch.zeros(1, 1, 256, 256, 64)).shape == (1, 16 * 16 * 16, 768)
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    assert shapes["patch_embedding.patch_embeddings.1.weight"] == (768, 1024)
    assert shapes["patch_embedding.position_embeddings"] == (1, 2048, 768)
    assert shapes["blocks.11.attn.qkv.weight"] == (2304, 768) and "blocks.0.attn.qkv.bias" not in shapes
    assert shapes["blocks.0.mlp.linear1.weight"] == (3072, 768)


@torch.no_grad()
def test_it_gives_what_monai_gives_with_the_same_weights() -> None:
    """Its axes are depth, height, width, in [0, 1]; ours height, width, depth, in [-1, 1]."""
    vit = pytest.importorskip("monai.networks.nets").ViT
    torch.manual_seed(0)
    theirs = vit(1, (8, 16, 24), (4, 8, 8), 24, 40, 2, 3, proj_type="perceptron", classification=True, num_classes=2).eval()
    ours = M3DViT((16, 24, 8), (8, 8, 4), **SMALL).eval()
    state = {k: torch.randn_like(v) * 0.3 for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict({k: v for k, v in state.items() if "norm_cross_attn" not in k and "classification" not in k})
    x = torch.rand(2, 1, 8, 16, 24)
    wanted = theirs(x)[1][-1]  # behind the last block
    got = ours(x.permute(0, 1, 3, 4, 2) * 2 - 1)
    torch.testing.assert_close(got, theirs.norm(wanted)[:, 1:], atol=2e-5, rtol=1e-4)


def test_places_are_learned_for_one_grid_and_interpolated_for_others() -> None:
    model = M3DViT((16, 16, 8), (8, 8, 4), **SMALL)
    table = model.patch_embedding
    assert table.places((2, 2, 2)) is table.position_embeddings
    ramp = torch.arange(2.0).view(2, 1, 1).expand(2, 2, 2).reshape(1, 8, 1).expand(-1, -1, 24)
    with torch.no_grad():
        table.position_embeddings.copy_(ramp)
    finer = table.places((4, 2, 2)).view(4, 2, 2, 24)
    torch.testing.assert_close(finer[:, 0, 0, 0], torch.tensor([0, 0.25, 0.75, 1]))
    assert model(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 16, 24)


def test_each_token_reads_its_own_patch_first() -> None:
    """Without blocks a token follows from its patch alone: depth slowest, then height, then width."""
    model = M3DViT((16, 16, 8), (8, 8, 4), width=24, depth=0, heads=3)
    base = torch.zeros(1, 1, 16, 16, 8)
    lit = base.clone()
    lit[:, :, :8, 8:, 4:] = 1
    changed = (model(lit) - model(base)).abs().sum(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [1 * 4 + 0 * 2 + 1]


def test_gradients_reach_all_weights() -> None:
    model = M3DViT((16, 16, 8), (8, 8, 4), **SMALL)
    model(torch.rand(2, 1, 16, 16, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_a_view_that_is_not_whole_patches_is_refused() -> None:
    with pytest.raises(UserError, match=r"a view of \(16, 16, 6\) voxels isn't whole patches"):
        M3DViT((16, 16, 8), (8, 8, 4), **SMALL)(torch.zeros(1, 1, 16, 16, 6))
    with pytest.raises(UserError, match="a width of 24 isn't 5 heads"):
        M3DViT(width=24, heads=5)
