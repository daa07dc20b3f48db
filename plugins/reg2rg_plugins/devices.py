"""Where a plugin computes: the device that an option names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reg2rg.errors import UserError

if TYPE_CHECKING:
    import torch


def device_of(name: str, mps: bool = False) -> torch.device:
    """The device called `name` as torch writes it; `auto` is a GPU where there is one (Apple's only with `mps`), else the CPU.

    Raises UserError where there is none of that name.
    """
    import torch

    if name == "auto":
        apple = mps and torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if apple else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter where torch is built without CUDA
        raise UserError(f"there is no device '{name}'", "device", "Choose cpu, or see: reg2rg doctor") from error
