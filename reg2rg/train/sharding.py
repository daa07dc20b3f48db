"""Sharding by torch's `fully_shard` (FSDP 2, ZeRO-2's equal): every process keeps a part of weights, gradients and optimizer.

Where accelerate was launched for FSDP, it wraps the model by its own plugin; under plain torchrun, also on CPU, the model is
wrapped here, layer by layer, and gathered layers stay gathered until the backward pass (SHARD_GRAD_OP).
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import UserError
from ..model.composite import Reg2RGModel
from ..recipe import Optimizer
from .engine import Engine
from .optim import make_optimizers


class Sharded(Engine):
    """Several processes, each with a part of the model."""

    def prepare(self, model: Reg2RGModel, spec: Optimizer) -> None:
        """See `Engine.prepare`. Raises UserError for what can't be sharded."""
        if spec.name != "adamw" or self.spec.precision == "fp16":
            fix = "Set training.optimizer.name=adamw and training.precision=bf16, or train by DDP."
            raise UserError("only AdamW in bf16 or float32 can be sharded", fix=fix)
        self.model = model
        if self._by_accelerate:
            self.wrapped, *self.optimizers = self.accelerator.prepare(model, *make_optimizers(model, spec))
            return
        shard(model.to(self.device), self.device.type, self.world)
        self.wrapped, self.optimizers = model, make_optimizers(model, spec)

    @property
    def _by_accelerate(self) -> bool:
        return str(self.accelerator.distributed_type).endswith("FSDP")

    def sharing(self, last: bool) -> Any:
        """See `Engine.sharing`."""
        self.wrapped.set_requires_gradient_sync(last)
        return contextlib.nullcontext()

    def clip(self, parameters: list[nn.Parameter], limit: float) -> Tensor:
        """See `Engine.clip`."""
        norm: Any = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def whole(self, tensor: Tensor) -> Tensor:
        """See `Engine.whole`; the pieces are gathered one tensor at a time, and kept by the main process alone."""
        if not isinstance(tensor, DTensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if self.main else full.new_empty(0)

    def placed(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """See `Engine.placed`."""
        if not isinstance(parameter, DTensor) or not value.ndim:
            return value
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)


def shard(model: Reg2RGModel, device: str, world: int) -> None:
    """Shards a model in place among `world` processes: each layer of the decoder is a unit, the rest another."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device, (world,))
    for layer in layers(model.decoder):
        fully_shard(layer, mesh=mesh, reshard_after_forward=False)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)


def layers(decoder: Any) -> list[nn.Module]:
    """The decoder's layers, as its class names them for sharding."""
    base = decoder.get_base_model() if hasattr(decoder, "get_base_model") else decoder
    names = set(getattr(base, "_no_split_modules", None) or ())
    return [module for module in decoder.modules() if type(module).__name__ in names]
