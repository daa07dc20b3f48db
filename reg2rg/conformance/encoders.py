"""Checks of volume encoders, adapters and geometry encoders: shapes, independence of the batch, weights and gradients."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from . import SIZE, WIDTH, Subject, check, expect

BATCH = 2


def _module(part: Any) -> nn.Module:
    expect(isinstance(part, nn.Module), f"an object of type {type(part).__name__}")
    return part


def _whole(part: Any, name: str) -> int:
    value = getattr(part, name, None)
    expect(isinstance(value, int) and not isinstance(value, bool) and value > 0, f"{name} = {value!r}")
    return int(value)  # type: ignore[arg-type]


def _inputs(kind: str) -> Tensor:
    """A batch of two: volumes in [-1, 1], tokens, or masks in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    if kind == "adapter":
        return torch.randn(BATCH, 12, WIDTH, generator=generator)
    volumes = torch.rand(BATCH, 1, *SIZE, generator=generator) * 2 - 1
    return volumes if kind == "volume-encoder" else _boxes()


def _boxes() -> Tensor:
    """Two masks (2, 1, H, W, D): the same box in two places."""
    masks = torch.zeros(BATCH, 1, *SIZE)
    masks[0, :, 4:24, 4:24, 2:12] = 1
    masks[1, :, 40:60, 40:60, 18:28] = 1
    return masks


@torch.no_grad()
def _run(part: Any, x: Tensor) -> Tensor:
    out = _module(part).eval()(x)
    expect(isinstance(out, Tensor), f"forward gave {type(out).__name__}")
    return out


def _shape(out: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = out.ndim == len(shape) and all(w in (None, n) and n for n, w in zip(out.shape, shape, strict=True))
    expect(fits, f"{tuple(out.shape)}")
    expect(out.dtype == torch.float32, f"{out.dtype}")
    expect(bool(out.isfinite().all()), "values that aren't finite")


@check("volume-encoder", "it is an nn.Module with a whole number `width`")
def _volume_encoder(subject: Subject) -> None:
    _whole(_module(subject.part), "width")


@check("volume-encoder", f"volumes {(BATCH, 1, *SIZE)} in [-1, 1] become float32 ({BATCH}, tokens, width), finite")
def _volume_tokens(subject: Subject) -> None:
    _shape(_run(subject.part, _inputs("volume-encoder")), (BATCH, None, subject.part.width))


@check("adapter", "it is an nn.Module with a whole number `tokens`")
def _adapter(subject: Subject) -> None:
    _whole(_module(subject.part), "tokens")


@check("adapter", f"any number of tokens of width {WIDTH} becomes float32 ({BATCH}, tokens, {WIDTH}), finite")
def _adapter_tokens(subject: Subject) -> None:
    for count in (12, 5):
        _shape(_run(subject.part, _inputs("adapter")[:, :count]), (BATCH, subject.part.tokens, WIDTH))


@check("geometry-encoder", "it is an nn.Module with whole numbers `width` and `tokens`")
def _geometry_encoder(subject: Subject) -> None:
    _whole(_module(subject.part), "width")
    _whole(subject.part, "tokens")


@check(
    "geometry-encoder", f"masks {(BATCH, 1, *SIZE)} in [0, 1], empty ones too, become float32 ({BATCH}, tokens, width), finite"
)
def _geometry_tokens(subject: Subject) -> None:
    for masks in (_boxes(), 0.3 * _boxes(), torch.zeros(BATCH, 1, *SIZE)):
        _shape(_run(subject.part, masks), (BATCH, subject.part.tokens, subject.part.width))


@check("geometry-encoder", "it tells one place from another: a moved box gives other tokens")
def _geometry_differs(subject: Subject) -> None:
    first, second = _run(subject.part, _boxes())
    expect(not torch.allclose(first, second, atol=1e-6), "equal tokens for two places")


def _independent(subject: Subject, kind: str) -> None:
    x = _inputs(kind)
    together, alone = _run(subject.part, x), torch.cat([_run(subject.part, row[None]) for row in x])
    gap = (together - alone).abs().max().item()
    expect(gap < 1e-3, f"a difference of {gap:.2g}")


def _weights(subject: Subject, kind: str) -> None:
    fresh = _module(subject.build())
    fresh.load_state_dict(_module(subject.part).state_dict())
    gap = (_run(fresh, _inputs(kind)) - _run(subject.part, _inputs(kind))).abs().max().item()
    expect(gap < 1e-5, f"a difference of {gap:.2g}")


def _gradient(subject: Subject, kind: str) -> None:
    part = _module(subject.part).train()
    learned = [p for p in part.parameters() if p.requires_grad]
    if not learned:
        return  # a fixed transform has nothing to train
    part(_inputs(kind)).square().mean().backward()
    expect(any(p.grad is not None and bool(p.grad.any()) for p in learned), "no gradient in any parameter")


for _kind, _thing in (("volume-encoder", "volume"), ("adapter", "row of tokens"), ("geometry-encoder", "mask")):
    check(_kind, f"in eval mode each {_thing} of a batch gives what it gives alone")(
        functools.partial(_independent, kind=_kind)
    )
    check(_kind, "its weights, loaded into another build, give the same output")(functools.partial(_weights, kind=_kind))
    check(_kind, "a loss on its output reaches its parameters")(functools.partial(_gradient, kind=_kind))
