"""What frozen modules keep between calls: seen to be right, and made anew whenever the weights are others."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from reg2rg_plugins import frozen
from reg2rg_plugins.adapters.perceiver import Perceiver
from reg2rg_plugins.volume_encoders import vit3d
from reg2rg_plugins.volume_encoders.vit3d import ViT3D, attend
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

SMALL: dict[str, Any] = {
    "capacity": (32, 32, 16),
    "patch": (8, 8, 4),
    "width": 48,
    "depth": 2,
    "heads": 2,
    "head_dim": 16,
    "mlp": 64,
}
VOLUME = torch.rand(2, 1, 16, 24, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def encoder(seed: int = 0, frozen: bool = True) -> ViT3D:
    torch.manual_seed(seed)
    model = ViT3D(**SMALL).eval().requires_grad_(not frozen)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def three_channels(model: ViT3D) -> Tensor:
    """What must come out: three equal channels through the published form, which folds and keeps nothing."""
    return copy.deepcopy(model)(VOLUME.expand(-1, 3, -1, -1, -1))


def load(model: ViT3D) -> None:
    model.load_state_dict(encoder(1).state_dict())


def assign(model: ViT3D) -> None:
    model.load_state_dict(encoder(2).state_dict(), assign=True)


def write(model: ViT3D) -> None:
    for parameter in model.parameters():
        parameter.mul_(1.5)


def cast_and_back(model: ViT3D) -> None:
    model.bfloat16()
    model.float()


def exchange(model: ViT3D) -> None:
    linear: Any = model.to_patch_embedding[2]
    linear.weight = nn.Parameter(linear.weight.detach() * 2, requires_grad=False)


@pytest.mark.parametrize("change", [load, assign, write, cast_and_back, exchange])
@torch.no_grad()
def test_changed_weights_are_seen(change: Callable[[ViT3D], None]) -> None:
    model = encoder()
    before = model(VOLUME)
    assert torch.equal(model(VOLUME), before)
    change(model)
    after = model(VOLUME)
    assert not torch.allclose(after, before, atol=1e-4)
    assert torch.allclose(after, three_channels(model), atol=1e-4)


@torch.no_grad()
def test_a_frozen_encoder_folds_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    plain = ViT3D._folded
    monkeypatch.setattr(ViT3D, "_folded", lambda *given: made.append(1) or plain(*given))
    model = encoder()
    for _ in range(3):
        model(VOLUME)
    assert len(made) == 1
    model(VOLUME[..., :4])
    assert len(made) == 1
    copy.deepcopy(model)(VOLUME)
    pickle.loads(pickle.dumps(model))(VOLUME)
    assert len(made) == 3


@torch.no_grad()
def test_positions_follow_the_grid() -> None:
    model = encoder()
    model(VOLUME)
    other = VOLUME[:, :, :, :16]
    assert torch.allclose(model(other), copy.deepcopy(model)(other.expand(-1, 3, -1, -1, -1)), atol=1e-4)


def test_training_sees_every_step_and_gets_the_plain_gradients() -> None:
    model = encoder(frozen=False)
    with torch.no_grad():
        model(VOLUME)  # nothing may be kept of weights that learn
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        twin = copy.deepcopy(model)
        model(VOLUME).square().mean().backward()
        twin(VOLUME.expand(-1, 3, -1, -1, -1)).square().mean().backward()
        for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
            if other.grad is not None:
                assert torch.allclose(parameter.grad, other.grad, atol=1e-5), name  # type: ignore[arg-type]
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            assert torch.allclose(model(VOLUME), three_channels(model), atol=1e-4)


def test_what_inference_kept_is_not_trained_with() -> None:
    model = encoder()
    with torch.inference_mode():
        model(VOLUME)
    volume = VOLUME.clone().requires_grad_()
    model(volume).sum().backward()
    assert volume.grad is not None


@torch.no_grad()
def test_autocast_keeps_casts_of_frozen_weights_alone() -> None:
    model, free = encoder(), encoder(frozen=False)
    exact = model(VOLUME)
    with torch.autocast("cpu", torch.bfloat16):
        low, again, unkept = model(VOLUME), model(VOLUME), free(VOLUME)
    assert low.dtype == torch.float32  # the residual stream stays whole
    assert torch.equal(low, again) and torch.equal(low, unkept)
    assert 0 < (low - exact).abs().max() < 0.02 * exact.abs().max()
    assert torch.equal(model(VOLUME), exact)
    linear: Any = model.transformer.layers[0][0].fn.to_qkv
    assert linear.kept._value is not None
    assert free.transformer.layers[0][0].fn.to_qkv.kept._value is None  # type: ignore[index, union-attr]


@pytest.mark.parametrize("held", [1 << 21, 40 * 40 * 3])
@torch.no_grad()
def test_attention_in_half_precision_is_attention(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(vit3d, "_SCORES", held)  # all heads at once, or three at a time
    q, k, v = torch.randn(3, 2, 4, 40, 16, generator=torch.Generator().manual_seed(0)).unbind()
    low = attend(*(t.bfloat16() for t in (q, k, v)))
    assert low.dtype == torch.bfloat16 and low.shape == q.shape
    assert torch.allclose(low.float(), F.scaled_dot_product_attention(q, k, v), atol=0.05)


def test_published_names_are_the_only_ones() -> None:
    names = [*encoder().state_dict(), *Perceiver(48, depth=1).state_dict()]
    assert not [n for n in names if "kept" in n or "fold" in n or "places" in n]
    assert "transformer.layers.1.1.fn.net.3.bias" in names and "layers.0.0.to_kv.weight" in names


def textbook(model: Perceiver, media: Tensor) -> Tensor:
    """The Perceiver with keys and values of every token."""
    latents = model.latents.expand(len(media), -1, -1)
    for attention, mlp in model.layers:  # type: ignore[misc]
        own = attention.norm_latents(latents)
        k, v = F.linear(torch.cat([attention.norm_media(media), own], dim=1), attention.to_kv.weight).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for t in (attention.to_q(own), k, v))
        latents = latents + attention.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        latents = latents + mlp(latents)
    return model.norm(latents)


@pytest.mark.parametrize("tokens", [3, 70])
def test_perceiver_equals_the_textbook_with_its_gradients(tokens: int) -> None:
    torch.manual_seed(3)
    model = Perceiver(48, tokens=tokens, depth=2, heads=2, head_dim=16)
    media = torch.randn(2, 50, 48, requires_grad=True)
    ours, wanted = model(media), textbook(model, media)
    assert torch.allclose(ours, wanted, atol=1e-5)
    inputs = [media, *model.parameters()]
    pairs = zip(torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(wanted.sum(), inputs), strict=True)
    assert all(torch.allclose(a, b, atol=2e-4) for a, b in pairs)


def test_perceiver_learns_under_autocast() -> None:
    torch.manual_seed(3)
    model, media = Perceiver(48, tokens=3, depth=1, heads=2, head_dim=16), torch.randn(2, 50, 48)
    with torch.autocast("cpu", torch.bfloat16):
        model(media).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_an_inference_tensor_is_never_kept() -> None:
    with torch.inference_mode():
        source, kept, made = torch.ones(2), frozen.Kept(), []
        for _ in range(2):
            kept(lambda: made.append(1), (source,))
    assert len(made) == 2


@pytest.fixture
def each_warning() -> Iterator[None]:
    """PyTorch says a warning of its own every time, and each is an error."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("each_warning")
@torch.no_grad()
def test_fake_weights_are_kept_without_a_warning() -> None:
    kept, made = frozen.Kept(), []
    with FakeTensorMode():
        source, other = (nn.Parameter(torch.ones(2), requires_grad=False) for _ in range(2))
        for given in (source, source, other):
            kept(lambda: made.append(1), (given,))
    assert len(made) == 2


@torch.no_grad()
def test_values_moved_to_another_place_are_seen() -> None:
    """What `parameter.data = …` puts there has the parameter's version; only its place tells."""
    source, kept = nn.Parameter(torch.ones(2), requires_grad=False), frozen.Kept()
    first = kept(lambda: source.sum().item(), (source,))
    source.data = torch.zeros(2)
    assert (first, kept(lambda: source.sum().item(), (source,))) == (2, 0)
