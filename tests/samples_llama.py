"""A small LLaMA folder as a user would have it, a recipe of small modules around it, and a sample to train or write on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reg2rg import recipe
from reg2rg.contracts import Study
from reg2rg.model.alignment import make_target
from reg2rg.model.batch import Sample
from reg2rg.model.composite import Reg2RGModel
from reg2rg.plugins import resolve
from reg2rg.recipe import Recipe

STUDY = Study("a", "train", {"lung": "Both lungs are clear.", "heart": "The heart is enlarged."})
WORDS = ["The region 0 is lung: Both lungs are clear. The region 1 is heart: The heart is enlarged. 2 3 4 5 6 7 8 9"]
SETS = [
    "views.size=[32,32,16]",
    "volume_encoder=conv3d",
    "adapter.options={tokens: 2, depth: 1}",
    "geometry_encoder=mask-conv",
    "decoder.dtype=float32",
]


def make_llama(folder: Path, words: Sequence[str] = WORDS, **options: Any) -> Path:
    """Writes config, random weights and tokenizer of a LLaMA of one layer."""
    shape = {"width": 64, "layers": 1, "heads": 2, "mlp": 64, **options}
    model, tokenizer = resolve("decoder", "tiny", shape).build(list(words))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def around(base: Path | str, *sets: str) -> Recipe:
    """The default recipe with small visual modules and the decoder at `base`."""
    return recipe.load("reg2rg", {"decoder": {"name": "hf", "options": {"path": str(base)}}}, [*SETS, *sets])


def sample(model: Reg2RGModel, target: bool = False) -> Sample:
    """The prompt of two regions with random views, and their target."""
    regions = ["heart", "lung"]
    made = make_target(regions, STUDY.region_reports, model.recipe) if target else None
    draw = torch.Generator().manual_seed(5)
    views = torch.rand(3, 1, 32, 32, 16, generator=draw) * 2 - 1
    masks = torch.rand(2, 1, 32, 32, 16, generator=draw)
    return Sample(model.prompts.build(regions, made), views[0], views[1:], masks)
