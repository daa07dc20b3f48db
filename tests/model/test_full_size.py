"""The recipe `reg2rg` at full size, on the meta device: the parameter counts of the published system."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_models import Vocabulary

from reg2rg import recipe
from reg2rg.model.composite import Reg2RGModel, prepare_decoder

LLAMA_2_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}


@pytest.fixture(scope="module")
def model() -> Reg2RGModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = recipe.load("reg2rg")
    with torch.device("meta"):
        decoder = LlamaForCausalLM(LlamaConfig(vocab_size=32000, max_position_embeddings=4096, **LLAMA_2_7B))
        prepared = prepare_decoder(decoder, settings.decoder, training=True)
        return Reg2RGModel(settings, prepared, Vocabulary(32000))


def count(part: Any) -> int:
    return sum(p.numel() for p in (part.parameters() if hasattr(part, "parameters") else part))


def test_each_visual_module_has_its_published_size(model: Reg2RGModel) -> None:
    visual = model.visual
    assert count(visual.volume_encoder) == 66_208_000
    assert count(visual.adapter) == 37_802_496
    assert count(visual.projection) == 3_149_824
    assert count(visual.geometry_encoder) == 6_569_359
    assert count(visual.geometry_projection) == 1_048_576
    assert count([visual.image_tags, visual.region_tags]) == 16_384
    assert count(visual) == 66_208_000 + 37_802_496 + 3_149_824 + 6_569_359 + 1_048_576 + 16_384


def test_what_is_trained_has_its_published_size(model: Reg2RGModel) -> None:
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(n for name, n in trained.items() if name.startswith("decoder.")) == 4_194_304
    assert all("lora_" in name for name in trained if name.startswith("decoder."))
    assert sum(trained.values()) == 52_780_943
    assert count(model) == 66_208_000 + 52_780_943 + 6_738_415_616  # LLaMA-2-7B


def test_a_study_gives_the_published_tokens(model: Reg2RGModel) -> None:
    assert (model.visual.image_tokens, model.visual.region_tokens) == (32, 33)
    views = model.recipe.views
    assert (views.size, views.geometry_size) == ((256, 256, 64), None)
    encoder: Any = model.visual.volume_encoder
    assert encoder.grid(views.size) == (8, 8, 16)
    assert model.prompts.first_region_row == 36 and model.decoder.get_input_embeddings().weight.shape == (32000, 4096)
