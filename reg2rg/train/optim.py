"""Optimizers and learning-rate schedules as recipe data."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..model.composite import Reg2RGModel
from ..recipe import Optimizer, Schedule


def learning_rate_factor(schedule: Schedule, step: int, total: int) -> float:
    """The factor on every learning rate at optimizer step `step` (from 0) of `total`."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if schedule.name == "constant":
        return 1.0
    done = (step - schedule.warmup) / max(1, total - schedule.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def make_optimizers(model: Reg2RGModel, spec: Optimizer) -> list[torch.optim.Optimizer]:
    """AdamW on all trained parameters, or Muon on the decoder's hidden matrices and AdamW on the rest."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = _matrices(model) if spec.name == "muon" else []
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=spec.lr, betas=spec.betas, eps=1e-8, weight_decay=spec.weight_decay)
    ]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=spec.matrix_lr, weight_decay=spec.weight_decay, momentum=0.95))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def _matrices(model: Reg2RGModel) -> list[nn.Parameter]:
    """2-D weights of the decoder that are neither word table nor output: what orthogonalised steps are for."""
    tables = {
        id(m.weight) for m in (model.decoder.get_input_embeddings(), model.decoder.get_output_embeddings()) if m is not None
    }
    return [p for p in model.decoder.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in tables]


def set_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> float:
    """Scales every group's base rate; gives the first group's rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
    return float(optimizers[0].param_groups[0]["lr"])
