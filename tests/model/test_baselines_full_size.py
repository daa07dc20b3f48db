"""The compared methods' recipes at full size on the meta device: tokens of the paper's form, and of each method's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_models import Vocabulary

from reg2rg import recipe as recipes
from reg2rg.model.visual import VisualModel

PAPER = ["radfm", "m3d", "ct2rep", "medvint", "r2gengpt", "ct2rep-r2gen"]
# recipe → voxels of its view, tokens of its encoder, tokens that the decoder reads, the decoder's width
OWN = {
    "radfm-native": ((256, 256, 64), 1024, 32, 5120),
    "m3d-native": ((256, 256, 32), 2048, 256, 4096),
    "ct2rep-native": ((480, 480, 240), 8000, 8000, 512),
    "medvint-native": ((512, 512, 3), 1024, 32, 4096),
    "r2gengpt-native": ((224, 224, 3), 49, 49, 4096),
}


def seen(spec: recipes.Recipe, width: int) -> tuple[VisualModel, torch.Size]:
    """The visual model and the shape of the tokens that it makes of two volumes."""
    with torch.device("meta"):
        model = VisualModel(spec, width).eval()
        tokens = model(torch.zeros(2, 1, *spec.views.size), None, None)
    assert tokens.regions is None and tokens.image is not None
    return model, tokens.image.shape


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_comparison_form(name: str) -> None:
    """Sec. IV-B: 256 × 256 × 64, 32 visual tokens, LLaMA2-7B, global features alone."""
    spec = recipes.load(name)
    assert spec.views.size == (256, 256, 64) and spec.decoder.name == ("r2gen" if name == "ct2rep-r2gen" else "llama2-7b")
    width = 512 if name == "ct2rep-r2gen" else 4096
    model, shape = seen(spec, width)
    assert shape == (2, 32, width) and (model.image_tokens, model.region_tokens) == (32, 0)


@pytest.mark.parametrize("name", OWN)
def test_each_methods_own_form(name: str) -> None:
    spec = recipes.load(name)
    size, tokens, read, width = OWN[name]
    assert spec.views.size == size
    model, shape = seen(spec, width)
    assert shape == (2, read, width)
    with torch.device("meta"):
        encoder: Any = model.volume_encoder
        assert encoder(torch.zeros(1, 1, *size)).shape == (1, tokens, encoder.width)


@pytest.mark.parametrize("name", ["ct2rep-r2gen", "ct2rep-native"])
def test_r2gen_reads_all_visual_tokens_and_nothing_else(name: str) -> None:
    spec = recipes.load(name)
    model, _ = seen(spec, 512)
    assert spec.decoder.options["source"] == model.image_tokens
    assert spec.prompt.image == "{visual}" and not spec.prompt.lead_in + spec.prompt.region + spec.prompt.instruction
    assert spec.prompt.max_length >= model.image_tokens + spec.generation.max_new_tokens


@pytest.mark.parametrize("name", [*PAPER, *OWN])
def test_no_region_stands_in_the_prompt(name: str) -> None:
    from reg2rg.model.prompt import VISUAL, PromptBuilder

    spec = recipes.load(name)
    text = PromptBuilder(spec, Vocabulary(32000), 32, 0).prompt_text(10)
    assert text.count(VISUAL) == 1 and "region" not in text
