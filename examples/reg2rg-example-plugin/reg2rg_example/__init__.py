"""Offers a metric and a volume encoder to reg2rg: registration only, so that listing plugins imports nothing heavy."""

from __future__ import annotations

import reg2rg
from reg2rg.hookspecs import Register


@reg2rg.hookimpl
def register_metrics(register: Register) -> None:
    """One metric."""
    register("vocabulary", "reg2rg_example.vocabulary:Vocabulary", summary="share of the references' words ever used")


@reg2rg.hookimpl
def register_volume_encoders(register: Register) -> None:
    """One volume encoder."""
    register("axial-slices", "reg2rg_example.axial_slices:AxialSlices", summary="2-D convolutions on slices, mixed along z")
