"""DeepSpeed ZeRO-2 through accelerate: gradients and optimizer state are shared out, weights are whole on every process.

Precision is the recipe's: weights stay in their types, and bf16 is torch's autocast. DeepSpeed's own bf16 would turn the whole
model into bfloat16, the frozen encoder and what is learnt with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..model import weights
from ..model.composite import Reg2RGModel
from ..recipe import Optimizer
from .engine import Engine, grouped, launched_for

# what the paper trains with; a launcher's own configuration wins
ZERO2: dict[str, Any] = {"zero_optimization": {"stage": 2, "overlap_comm": True}}


def accelerator(precision: str | None, gpu: bool) -> Any:
    """An Accelerator whose distributed type is DeepSpeed. Raises UserError where the package is missing."""
    if not gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    configured = launched_for("DEEPSPEED")
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"  # as accelerate's launcher says it
    with contextlib.redirect_stdout(sys.stderr):  # its log goes to stdout, where results stand
        try:
            import deepspeed
        except ImportError as error:
            raise UserError(
                f"DeepSpeed can't be loaded ({error})", fix="Install it: pip install 'reg2rg[deepspeed]'"
            ) from error
        from accelerate import Accelerator
        from accelerate.utils import DeepSpeedPlugin, InitProcessGroupKwargs

        if not gpu:  # its collectives for CPUs are compiled at first use, for minutes; gloo's are there
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

        handlers: list[Any] = [] if gpu else [InitProcessGroupKwargs(backend="gloo")]
        plugin = None if configured else DeepSpeedPlugin(hf_ds_config=dict(ZERO2))
        return Accelerator(mixed_precision=precision, deepspeed_plugin=plugin, kwargs_handlers=handlers)


class Zero(Engine):
    """Several processes under DeepSpeed's engine, which clips, averages and steps by itself."""

    def prepare(self, model: Reg2RGModel, spec: Optimizer) -> None:
        """See `Engine.prepare`. Raises UserError for an optimizer that DeepSpeed can't share out."""
        if spec.name != "adamw":
            raise UserError("DeepSpeed shares out AdamW only", fix="Set training.optimizer.name=adamw, or train by DDP.")
        if self.spec.precision == "fp16":
            raise UserError("under DeepSpeed a recipe trains in bf16 or float32", fix="Set training.precision=bf16.")
        self._configure(spec)
        with contextlib.redirect_stdout(sys.stderr):
            super().prepare(model, spec)

    def _configure(self, spec: Optimizer) -> None:
        config = self.accelerator.state.deepspeed_plugin.deepspeed_config
        # our loop accumulates by itself, over passes that may differ in number of studies
        config |= {
            "train_micro_batch_size_per_gpu": self.spec.batch_size,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": spec.clip,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": False},
            "torch_autocast": {"enabled": self.spec.precision == "bf16", "dtype": "bfloat16"},
        }
        config.pop("train_batch_size", None)
        stage = config.get("zero_optimization", {}).get("stage")
        if stage not in (1, 2):
            fix = "Set zero_stage: 2 in the launcher's configuration, or train by FSDP."
            raise UserError(f"DeepSpeed was started with ZeRO stage {stage}; checkpoints know stages 1 and 2", fix=fix)

    def sharing(self, last: bool) -> Any:
        """See `Engine.sharing`."""
        self.wrapped.set_gradient_accumulation_boundary(last)
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """See `Engine.backward`; DeepSpeed's step follows at once, and does nothing before the last pass."""
        self.wrapped.backward(loss * self.world)
        self.wrapped.step()

    def step(self, clip: float) -> float:
        """See `Engine.step`: done already; the norm is known where DeepSpeed clips."""
        norm = self.wrapped.get_global_grad_norm() if clip else None
        return float(norm) if norm is not None else 0.0

    def weights(self, base: str | None) -> dict[str, Tensor]:
        """See `Engine.weights`."""
        from deepspeed.utils import safe_get_full_fp32_param

        trained = {n: safe_get_full_fp32_param(p) for n, p in self.model.named_parameters() if p.requires_grad}
        state = weights.own_state(self.model, base)
        return {name: trained.get(name, value) for name, value in state.items()}

    def optimizer_state(self) -> dict[str, Tensor]:
        """See `Engine.optimizer_state`."""
        from deepspeed.utils import safe_get_full_optimizer_state

        steps = [s["step"] for s in self._inner.state.values()] or [0]
        out = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                for key in ("exp_avg", "exp_avg_sq"):
                    out[f"{name}@{key}"] = safe_get_full_optimizer_state(parameter, key)
                out[f"{name}@step"] = torch.as_tensor(steps[0]).cpu().clone()
        return out

    @property
    def _inner(self) -> Any:
        return self.wrapped.optimizer.optimizer

    def restore_optimizer(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.restore_optimizer`. The shared-out state is made here, for DeepSpeed makes it at its first step only."""
        from deepspeed.utils import safe_set_full_optimizer_state

        by_name = grouped(state)
        if not by_name:
            return
        count = next(iter(by_name.values()))["step"]
        for group in self._inner.param_groups:
            for flat in group["params"]:
                moments = {k: torch.zeros_like(flat) for k in ("exp_avg", "exp_avg_sq")}
                self._inner.state[flat] = {"step": count.clone(), **moments}
        self.wrapped.optimizer._lazy_init_hp_params_optimizer_state()
        for name, parameter in self.model.named_parameters():
            for key in ("exp_avg", "exp_avg_sq"):
                if name in by_name:
                    safe_set_full_optimizer_state(parameter, by_name[name][key].to(self.device), key)
