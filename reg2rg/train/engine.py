"""How the processes of a run share a model: alone, DDP, sharded (FSDP) or DeepSpeed ZeRO-2, behind one surface.

accelerate starts and joins the processes and knows the devices; this module asks it for what the recipe wants, and stops the
run where something else would come about. Weights and optimizer state leave an engine whole and under their own names, so that
a checkpoint of one kind and number of processes is resumed by any other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..model import weights
from ..model.batch import Batch
from ..model.composite import Reg2RGModel
from ..recipe import Optimizer, Training
from .optim import make_optimizers

_LAUNCH = "Start it as docs/scale.md shows, or set training.distributed=auto."


def accelerated() -> bool:
    """Whether torch sees a GPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


class Engine:
    """One process alone, or several under DDP; the base of the other kinds."""

    def __init__(self, accelerator: Any, spec: Training) -> None:
        self.accelerator, self.spec = accelerator, spec
        self.rank, self.world, self.device = accelerator.process_index, accelerator.num_processes, accelerator.device
        self.main: bool = accelerator.is_main_process
        self.model: Reg2RGModel
        self.wrapped: Any
        self.optimizers: list[Any]

    def prepare(self, model: Reg2RGModel, spec: Optimizer) -> None:
        """Puts a built model on the devices and makes its optimizers; `wrapped` is what is called from now on."""
        self.model = model
        self.wrapped, *self.optimizers = self.accelerator.prepare(model, *make_optimizers(model, spec))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The model's answer to a batch, in the recipe's precision."""
        with self.accelerator.autocast():
            return self.wrapped(batch.to(self.device))

    def sharing(self, last: bool) -> Any:
        """The context of a pass, forward and backward: processes exchange their gradients at the `last` one of a step."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss, this process's share of its step's mean."""
        self.accelerator.backward(loss * self.world)  # gradients are averaged over the processes, hence the factor

    def step(self, clip: float) -> float:
        """Clips the gradients, makes the optimizers' steps; gives the gradients' norm before clipping."""
        parameters = [p for p in self.wrapped.parameters() if p.requires_grad]
        norm = self.clip(parameters, clip) if clip else torch.zeros(())
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def clip(self, parameters: list[nn.Parameter], limit: float) -> Tensor:
        """Scales the gradients to a norm of at most `limit`."""
        return self.accelerator.clip_grad_norm_(parameters, limit)

    def sum(self, value: Tensor) -> float:
        """A number summed over the processes."""
        return float(self.accelerator.reduce(value, "sum"))

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor that may be shared out among processes, in one piece; every process must ask for it."""
        return tensor

    def weights(self, base: str | None) -> dict[str, Tensor]:
        """What a run folder holds of the model, on the main process; every process must ask for it."""
        return weights.own_state(self.model, base, self.whole)

    def optimizer_state(self) -> dict[str, Tensor]:
        """The optimizers' state as `parameter@key`, whole."""
        out = {}
        for optimizer, name, parameter in self._optimized():
            for key, value in optimizer.state.get(parameter, {}).items():
                out[f"{name}@{key}"] = self.whole(value) if isinstance(value, Tensor) else torch.tensor(value)
        return out

    def _optimized(self) -> Iterator[tuple[Any, str, nn.Parameter]]:
        """Each optimizer with its parameters and their names."""
        names = {p: n for n, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                yield from ((optimizer, names[parameter], parameter) for parameter in group["params"])

    def restore_optimizer(self, state: Mapping[str, Tensor]) -> None:
        """Puts back what `optimizer_state` gave."""
        by_name = grouped(state)
        for optimizer, name, parameter in self._optimized():
            optimizer.state[parameter] = {k: self.placed(v, parameter) for k, v in by_name.get(name, {}).items()}

    def placed(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """A whole tensor of a parameter's state, where and how that parameter lies; counters stay on the CPU."""
        return value.to(parameter.device) if value.ndim else value


def grouped(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`parameter@key` → parameter → key."""
    out: dict[str, dict[str, Tensor]] = {}
    for full, value in state.items():
        name, _, key = full.rpartition("@")
        out.setdefault(name, {})[key] = value
    return out


def start(spec: Training) -> Engine:
    """Joins the processes that were started and gives the engine that the recipe asks for.

    Raises UserError where what runs isn't what the recipe, or the launcher, asked for.
    """
    deepspeed = spec.distributed == "deepspeed" or launched_for("DEEPSPEED")
    accelerator = _deepspeed(spec) if deepspeed else _plain(spec)
    started, world = int(os.environ.get("WORLD_SIZE", "1")), accelerator.num_processes
    if world != started:
        raise UserError(f"{started} processes were started, but they don't train together", fix="Start them with torchrun.")
    runs = _kind(accelerator, spec)
    asked = "fsdp" if spec.distributed == "auto" and launched_for("FSDP") else spec.distributed
    if asked not in ("auto", runs):
        who = "the launcher" if spec.distributed == "auto" else f"the recipe's training.distributed={asked}"
        found = "one process trains alone" if runs == "none" else f"{world} processes train by {runs}"
        what = f"{who} asks for {asked}" if spec.distributed == "auto" else f"{who} is not what runs"
        raise UserError(f"{what}: {found}", fix=_LAUNCH)
    if runs == "fsdp":
        from .sharding import Sharded

        return Sharded(accelerator, spec)
    if runs == "deepspeed":
        from .zero import Zero

        return Zero(accelerator, spec)
    return Engine(accelerator, spec)


def launched_for(kind: str) -> bool:
    """Whether accelerate's launcher asks for FSDP or DEEPSPEED, by the environment that it makes."""
    return os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() == "true"


def _precision(spec: Training) -> str | None:
    return None if spec.precision == "no" else spec.precision


def _plain(spec: Training) -> Any:
    from accelerate import Accelerator

    # without an accelerator it must be told, or several processes train alone side by side
    return Accelerator(mixed_precision=_precision(spec), cpu=not accelerated())


def _deepspeed(spec: Training) -> Any:
    if "LOCAL_RANK" not in os.environ:
        raise UserError("DeepSpeed was asked for, but no launcher started this process", fix=_LAUNCH)
    from .zero import accelerator

    return accelerator(_precision(spec), accelerated())


def _kind(accelerator: Any, spec: Training) -> str:
    """How the processes share the model now."""
    from accelerate.utils import DistributedType

    known = {DistributedType.NO: "none", DistributedType.FSDP: "fsdp", DistributedType.DEEPSPEED: "deepspeed"}
    kind = known.get(accelerator.distributed_type, "ddp")
    if kind == "ddp" and accelerator.num_processes == 1:
        return "none"  # torchrun's single process
    # torch shards by itself wherever processes run together; accelerate does it on accelerators only
    return "fsdp" if kind == "ddp" and spec.distributed == "fsdp" else kind
