"""What the fixtures don't say about the paper's modules: equal channels, the end token's attention, the encoder's dropout."""

from __future__ import annotations

import pytest
import torch
from golden_models import GivenRows
from torch import nn

from reg2rg import plugins, recipe
from reg2rg.errors import UserError
from reg2rg.model.batch import Batch
from reg2rg.model.prompt import IGNORE
from reg2rg.model.visual import VisualModel

SMALL = {"capacity": [32, 32, 16], "patch": [8, 8, 4], "width": 48, "depth": 2}


@torch.no_grad()
def test_one_grey_channel_equals_three_equal_ones() -> None:
    model = plugins.resolve("volume-encoder", "vit3d", SMALL)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.rand(2, 1, 16, 16, 8)
    assert torch.allclose(model.embed(x), model.embed(x.expand(-1, 3, -1, -1, -1)), atol=2e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attending_the_end_token_changes_no_labels_loss_and_no_gradient(attention: str) -> None:
    """The official code leaves the end token unattended, ours attends it: it is the last input and no label is read from it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = GivenRows(LlamaForCausalLM(LlamaConfig(**sizes, attn_implementation=attention)), torch.randn(9, 32)).eval()
    lengths = (12, 17)  # with the end token; the first study is padded
    ids, labels = torch.randint(3, 60, (2, 17)), torch.full((2, 17), IGNORE)
    ids[:, 2:5] = torch.tensor([60, 64, 68])
    ours = torch.zeros(2, 17, dtype=torch.long)
    for b, n in enumerate(lengths):
        ids[b, n - 1], ids[b, n:], ours[b, :n] = 2, 0, 1
        labels[b, 7:n] = ids[b, 7:n]
    official = ours.clone()
    official[torch.arange(2), torch.tensor(lengths) - 1] = 0
    nothing, first = torch.zeros(0, dtype=torch.long), torch.tensor([7, 7])
    found = []
    for mask in (ours, official):
        model.zero_grad()
        total, count = model(Batch(ids, mask, labels, torch.ones(2, 17), None, None, None, nothing, nothing, first, False))
        assert count.tolist() == [5, 10]
        total.sum().backward()
        found.append([total.detach(), *(p.grad for p in model.decoder.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def visual(**encoder: object) -> VisualModel:
    settings = recipe.load("reg2rg", {"volume_encoder": {"options": SMALL, **encoder}, "views": {"size": [16, 16, 8]}})
    return VisualModel(settings, 24)


def test_a_frozen_encoder_has_no_dropout_and_no_gradient_while_the_model_trains() -> None:
    model = visual().train()
    assert model.training and model.adapter.training and not any(m.training for m in model.volume_encoder.modules())
    assert not any(p.requires_grad for p in model.volume_encoder.parameters())
    assert all(p.requires_grad for p in model.adapter.parameters())
    x = torch.rand(1, 1, 16, 16, 8)
    once, twice = model.encode(x), model.encode(x)
    assert torch.equal(once, twice) and not once.requires_grad
    assert model.forward(x, None, None).image.requires_grad  # the adapter learns


def test_official_dropout_acts_in_a_frozen_encoder_while_training_only() -> None:
    model = visual(dropout="official").train()
    rates = {m.p for m in model.volume_encoder.modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.1} and all(m.training for m in model.volume_encoder.modules())
    x = torch.rand(1, 1, 16, 16, 8)
    once, twice = model.encode(x), model.encode(x)
    assert not torch.equal(once, twice) and not once.requires_grad
    model.eval()
    assert torch.equal(model.encode(x), model.encode(x))
    same = visual()
    same.load_state_dict(model.state_dict())
    assert torch.equal(model.encode(x), same.eval().encode(x))


def test_dropout_that_cannot_be_is_refused() -> None:
    changes = {"volume_encoder": {"options": SMALL, "dropout": "official"}, "training": {"cache_features": True}}
    with pytest.raises(UserError, match=r"can't be cached.*dropout=none or training\.cache_features=false"):
        VisualModel(recipe.load("reg2rg", changes), 24)
    with pytest.raises(UserError, match="'conv3d' has no dropout"):
        VisualModel(recipe.load("reg2rg", {"volume_encoder": {"name": "conv3d", "dropout": "official"}}), 24)
