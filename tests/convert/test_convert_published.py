"""The published sizes, by their shapes alone: every key has its place, and the recipe is the paper's."""

from __future__ import annotations

from pathlib import Path

import torch
from official_files import PUBLISHED, Pieces, pieces, reg2rg, shapes_alone

from reg2rg import recipe as recipes
from reg2rg.convert import keys, run
from reg2rg.convert.job import Request
from reg2rg.convert.kinds import KINDS
from reg2rg.convert.language import Base, configuration
from reg2rg.convert.shapes import Shapes
from reg2rg.convert.tables import LAYOUTS


def count(*parts: dict[str, torch.Tensor]) -> int:
    return sum(v.numel() for part in parts for v in part.values())


def published() -> Pieces:
    return pieces(PUBLISHED, words=torch.float16, numbers=shapes_alone)


def test_the_samples_are_of_the_published_sizes() -> None:
    """The official modules' own counts: 66.2, 37.8 and 6.6 million, and 52,780,943 to train."""
    p = published()
    assert (count(p.vision), len(p.vision)) == (66_208_000, 141)
    assert (count(p.perceiver), len(p.perceiver)) == (37_802_496, 69)
    assert (count(p.mask), len(p.mask)) == (6_569_359, 42)
    assert count(p.perceiver, p.mask, p.rest, p.lora) == 52_780_943


def test_the_published_model_has_its_place(tmp_path: Path) -> None:
    tensors = reg2rg(published(), twin=False)
    found = keys.sort(LAYOUTS["reg2rg"], tensors, tmp_path)
    recipe, notes = run._recipe(found, Request(KINDS["reg2rg"], tmp_path, tmp_path / "out"))
    assert notes == [], "sizes, view and adapters are the paper's"
    default = recipes.load("reg2rg")
    assert recipe.views == default.views and recipe.decoder.lora == default.decoder.lora
    assert recipe.decoder.dtype == "float16" and recipe.decoder.name == default.decoder.name
    shapes = Shapes(found.ours, "decoder.")
    config, more = configuration(shapes, Base("none", None, None, False), tmp_path, recipe.decoder.dtype)
    assert more == [] and (config["num_attention_heads"], config["num_hidden_layers"]) == (32, 32)
    assert config["num_key_value_heads"] == 32 and config["intermediate_size"] == 11008
    wanted = run.blueprint(recipe, config)
    keys.check(found, wanted, tmp_path)
    assert sum(shape.numel() for shape in wanted.values()) == count(published().llama) + 66_208_000 + 52_780_943
