"""Part encode: one 256×256×64 grey volume through f_V and f_A at full size.

Limit: the official matrix products, those of attention included, with the 12,288-wide patch of three channels, in the same
type, results written in place. Plain way: the same modules as textbooks write them, three equal channels, float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reg2rg import plugins

from .timing import Row, Settings, measure

FULL = {"capacity": (512, 512, 512), "patch": (32, 32, 4), "width": 768, "depth": 12, "heads": 8, "head_dim": 64, "mlp": 2048}
QUICK = {"capacity": (64, 64, 32), "patch": (16, 16, 4), "width": 48, "depth": 2, "heads": 2, "head_dim": 16, "mlp": 64}
LATENTS, DEPTH, RATIO = 32, 6, 4


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 by itself."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def draw(module: torch.nn.Module) -> torch.nn.Module:
    """Weights of trained size: matrices N(0, 1/inputs), tables and latents N(0, 1/4), norms near 1; frozen."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            std = 0.5 if parameter.shape[0] < parameter.shape[1] and parameter.shape[0] <= 128 else parameter[0].numel() ** -0.5
            torch.nn.init.normal_(parameter, std=std)
        elif parameter.mean() > 0.5:
            torch.nn.init.normal_(parameter, 1.0, 0.1)
        else:
            torch.nn.init.normal_(parameter, 0.0, 0.02)
    return module.eval().requires_grad_(False)


def build(quick: bool) -> tuple[Any, Any, Tensor]:
    """f_V, f_A and a volume."""
    torch.manual_seed(0)
    shape = QUICK if quick else FULL
    encoder = draw(plugins.resolve("volume-encoder", "vit3d", shape))
    heads = {"heads": shape["heads"], "head_dim": shape["head_dim"], "tokens": LATENTS, "depth": DEPTH, "mlp_ratio": RATIO}
    adapter = draw(plugins.resolve("adapter", "perceiver", heads, width=shape["width"]))
    return encoder, adapter, torch.rand(1, 1, *((32, 32, 16) if quick else (256, 256, 64))) * 2 - 1


def products(quick: bool, dtype: torch.dtype, voxels: tuple[int, ...]) -> Callable[[], None]:
    """The official matrix products, in their number and shapes, on buffers made beforehand."""
    s: dict[str, Any] = QUICK if quick else FULL
    width, inner, heads, d = s["width"], s["heads"] * s["head_dim"], s["heads"], s["head_dim"]
    patch = 3 * int(torch.tensor(s["patch"]).prod())
    n = 3 * int(torch.tensor(voxels).prod()) // patch
    jobs: list[tuple[Tensor, Tensor, Tensor]] = []

    def product(*shape: int, times: int = 1) -> None:
        *batch, rows, inputs, outputs = shape
        a, b = torch.randn(*batch, rows, inputs).to(dtype), torch.randn(*batch, outputs, inputs).to(dtype)
        jobs.extend([(a, b.transpose(-1, -2), torch.empty(*batch, rows, outputs, dtype=dtype))] * times)

    product(n, patch, width)
    for _ in range(s["depth"]):
        product(n, width, 3 * inner)
        product(heads, n, d, n)
        product(heads, n, n, d)
        product(n, inner, width)
        product(n, width, s["mlp"])
        product(n, s["mlp"], width)
    for _ in range(DEPTH):
        product(LATENTS, width, inner)
        product(n + LATENTS, width, 2 * inner)
        product(heads, LATENTS, d, n + LATENTS)
        product(heads, LATENTS, n + LATENTS, d)
        product(LATENTS, inner, width)
        product(LATENTS, width, RATIO * width)
        product(LATENTS, RATIO * width, width)

    def run() -> None:
        for a, b, out in jobs:
            torch.matmul(a, b, out=out)

    return run


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return torch.matmul(weights, v).transpose(1, 2).flatten(2)


def plain(encoder: Any, adapter: Any, volume: Tensor) -> Tensor:
    """The textbook's way: grey repeated to three channels, attention weights written out, keys and values of all tokens."""
    x = encoder.to_patch_embedding(encoder.patches(volume.repeat(1, 3, 1, 1, 1)))
    x = x + encoder.pos_embedding(encoder.grid(tuple(volume.shape[2:])))
    for attention, mlp in encoder.transformer.layers:
        part = attention.fn
        x = part.to_out(_attention(*F.linear(attention.norm(x), part.to_qkv.weight).chunk(3, dim=-1), part.heads)) + x
        x = mlp.fn(mlp.norm(x)) + x
    latents = adapter.latents.expand(len(x), -1, -1)
    for attention, mlp in adapter.layers:
        own = attention.norm_latents(latents)
        k, v = F.linear(torch.cat([attention.norm_media(x), own], dim=1), attention.to_kv.weight).chunk(2, dim=-1)
        latents = attention.to_out(_attention(F.linear(own, attention.to_q.weight), k, v, attention.heads)) + latents
        latents = mlp(latents) + latents
    return adapter.norm(latents)


@torch.inference_mode()
def run(variant: str, settings: Settings) -> Row | None:
    """The row of `float32`, or of `bfloat16` (autocast, as training computes), which is None where the processor lacks it."""
    half = variant == "bfloat16"
    if half and not has_bfloat16():
        return None
    encoder, adapter, volume = build(settings.quick)

    def ours(low: bool = half) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if low else contextlib.nullcontext():
            return adapter(encoder(volume))

    dtype = torch.bfloat16 if half else torch.float32
    others: dict[str, Callable[[], object]] = {"float32": lambda: ours(False)} if half else {}
    if settings.plain:
        others["plain"] = lambda: plain(encoder, adapter, volume)
    row = measure(ours, products(settings.quick, dtype, tuple(volume.shape[2:])), settings.runs, **others)
    if half:
        exact = ours(False)
        difference = ours().float() - exact
        row["error"] = float(difference.abs().max() / exact.abs().max())
        row["error_rms"] = float(difference.square().mean().sqrt() / exact.abs().max())
    if settings.plain:
        row["times_faster"] = row["plain_seconds"] / row["seconds"]
    return row
