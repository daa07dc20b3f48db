"""Sharding by torch's `fully_shard` (FSDP 2): every process keeps a part of what is trained, its gradients and moments.

SHARD_GRAD_OP, ZeRO-2's equal: gathered weights stay until the backward pass, and frozen ones are whole everywhere, since
sharing them out would save no gradient and cost their exchange at every step. Where accelerate's launcher asks for FULL_SHARD
(`fsdp_reshard_after_forward: true`), frozen weights are shared out too, and given back layer by layer. The model is wrapped
here in either case, on any device, so that losses stay in float32 and what is tested on a CPU is what a GPU runs.
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
        self.model = self.wrapped = model
        shard(model.to(self.device), self.device.type, self.world, self._full)
        self.optimizers = make_optimizers(model, spec)

    @property
    def _full(self) -> bool:
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        return bool(plugin is not None and plugin.reshard_after_forward is True)

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


def shard(model: Reg2RGModel, device: str, world: int, full: bool = False) -> None:
    """Shards a model in place among `world` processes: each layer of the decoder is a unit, the rest another.

    `full` shares out frozen weights as well; quantised ones are whole in any case.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device, (world,))
    kept = {p for p in model.parameters() if not p.is_floating_point() or not (full or p.requires_grad)}
    for layer in layers(model.decoder):
        fully_shard(layer, mesh=mesh, reshard_after_forward=full, ignored_params=kept)
    fully_shard(model, mesh=mesh, reshard_after_forward=full, ignored_params=kept)


def layers(decoder: Any) -> list[nn.Module]:
    """The decoder's layers, as its class names them for sharding."""
    base = decoder.get_base_model() if hasattr(decoder, "get_base_model") else decoder
    names = set(getattr(base, "_no_split_modules", None) or ())
    return [module for module in decoder.modules() if type(module).__name__ in names]
