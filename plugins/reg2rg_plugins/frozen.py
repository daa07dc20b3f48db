"""What a frozen part computes from its weights alone, kept from call to call: folded matrices, low-precision copies.

Nothing is kept that could still be trained or whose change can't be seen: gradients must be off, every source frozen, and
each source is compared by identity, place and version, so that loading weights, moving a module or changing its type makes the
value anew. (Writing through `parameter.data` in place is the one change that PyTorch doesn't count.)
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn import functional as F


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The type that autocast computes products of `x` in; None where autocast is off."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):  # shapes alone, on the meta device
        return None
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def full_precision(x: Tensor) -> contextlib.AbstractContextManager[None]:
    """Without autocast on the device of `x`, whatever is around."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()


class Kept(nn.Module):
    """One value made from parameters. A module without weights, so that moving or casting the whole drops it too."""

    def __init__(self) -> None:
        super().__init__()
        self._drop()

    def _drop(self) -> None:
        self._seen: Any = None
        self._value: Any = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Kept:
        self._drop()
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": None, "_value": None}

    def forward(self, make: Callable[[], Any], sources: tuple[Tensor, ...], how: object = None) -> Any:
        """`make()`, or what it gave before where `sources`, frozen, and `how` it is made are still the same."""
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or any(s.requires_grad or s.is_inference() for s in sources)
        ):
            return make()
        now = (how, *((_place(s), s._version, s.dtype, s.device) for s in sources))
        if self._seen is None or self._seen[0] != now or any(r() is not s for r, s in zip(self._seen[1], sources, strict=True)):
            self._value, self._seen = make(), (now, tuple(weakref.ref(s) for s in sources))
        return self._value


def _place(x: Tensor) -> int:
    """Where the values lie; 0 for a fake tensor, which has none and warns when it is asked."""
    return 0 if isinstance(x, FakeTensor) else x.data_ptr()


class Linear(nn.Linear):
    """`nn.Linear` that, frozen and under autocast, keeps its cast weights; the same keys, the same results."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.kept = Kept()

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias, where nothing is learnt in the type that autocast computes with for `x`."""
        dtype = autocast_dtype(x)
        own = (self.weight,) if self.bias is None else (self.weight, self.bias)
        if dtype not in (None, self.weight.dtype) and not torch.is_grad_enabled():
            own = self.kept(lambda: tuple(p.to(dtype) for p in own), own, dtype)
        return own[0], own[1] if len(own) > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.weights(x))
