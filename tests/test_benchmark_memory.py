"""benchmarks/memory.py: what it counts on fake tensors is what real tensors take, and its tables stand in docs/scale.md."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import memory
import memory_step as counting
import pytest
from samples_llama import make_llama

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.model.composite import build_decoder, prepare_decoder
from reg2rg.model.visual import VisualModel

ROOT = Path(__file__).resolve().parent.parent
DIMS = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
SMALL = recipe.load(
    "reg2rg",
    sets=[
        "views.size=[64,64,16]",
        "volume_encoder.options.depth=2",
        "adapter.options={depth: 2}",
        "geometry_encoder=mask-conv",
    ],
)
LENGTH = 800


@pytest.fixture(scope="module")
def steps() -> dict[str, Any]:
    """The default recipe at full size."""
    chosen = recipe.load("reg2rg")
    return {kind: counting.step(chosen, memory.LLAMA2_7B, kind == "nf4", 2048) for kind in ("bfloat16", "nf4")}


@pytest.mark.parametrize("four_bits", [False, True])
def test_fake_tensors_are_counted_as_real_ones(monkeypatch: pytest.MonkeyPatch, four_bits: bool) -> None:
    fake = counting.step(SMALL, DIMS, four_bits, LENGTH)
    monkeypatch.setattr(counting, "FakeTensorMode", contextlib.nullcontext)
    assert counting.step(SMALL, DIMS, four_bits, LENGTH) == fake
    assert 0 < fake.kept < fake.passes


def test_checkpointing_keeps_a_layers_input_alone() -> None:
    """One layer more costs its input in the forward pass; without gradient checkpointing it costs far more."""

    def kept(layers: int, checkpointing: bool = True) -> int:
        decoder = SMALL.decoder.model_copy(update={"gradient_checkpointing": checkpointing})
        chosen = SMALL.model_copy(update={"decoder": decoder})
        return counting.step(chosen, {**DIMS, "num_hidden_layers": layers}, False, LENGTH).kept

    layer_input = LENGTH * DIMS["hidden_size"] * 2
    assert kept(4) - kept(3) == pytest.approx(layer_input, rel=0.05)  # and bfloat16 copies of its adapters
    assert kept(4, False) - kept(3, False) > 8 * layer_input


def test_the_four_bit_stand_in_takes_what_bitsandbytes_takes(tmp_path: Path) -> None:
    """Activations to the byte, weights but for the offsets of the scales."""
    pytest.importorskip("bitsandbytes", reason="the extra qlora isn't installed")
    llama = make_llama(tmp_path / "llama", width=128, layers=3, heads=2, mlp=256)
    spec = SMALL.decoder.model_copy(update={"name": "hf", "options": {"path": str(llama)}, "quantization": "nf4"})
    language, tokenizer, _ = build_decoder(spec)
    language = prepare_decoder(language, spec, training=True)
    real = counting.counted(language, VisualModel(SMALL, 128), SMALL, LENGTH)
    stand_in = counting.step(SMALL, {**DIMS, "vocab_size": len(tokenizer)}, True, LENGTH)
    assert (real.kept, real.passes) == (stand_in.kept, stand_in.passes)
    states = [p.quant_state for p in language.parameters() if type(p).__name__ == "Params4bit"]
    scales = sum(counting.size([s.absmax, s.state2.absmax, s.state2.code, s.code, s.offset]) for s in states)
    assert real.base + scales == pytest.approx(stand_in.base, abs=16 * len(states))


def test_the_default_recipe_is_counted_whole(steps: dict[str, Any]) -> None:
    """Known sizes: 6.74 thousand million base weights, LoRA of rank 8 on query and value, AdamW's two moments."""
    whole, coarse = steps["bfloat16"], steps["nf4"]
    assert whole.base == pytest.approx(2 * 6_738_415_616, rel=1e-6) and 3 < whole.base / coarse.base < 3.2
    assert whole.gradients == whole.trained and whole.optimizer == 2 * whole.trained and coarse.trained == whole.trained
    assert whole.views == 21 * 256 * 256 * 64 * 4
    assert whole.kept > 32 * 2048 * 4096 * 2
    longer, shorter = (memory.verdict(n, 23.9) for n in (24.0, 22.0))
    assert (longer, shorter) == ("**does not fit**", "fits")


def test_sharing_out_follows_its_rules(steps: dict[str, Any]) -> None:
    s = steps["bfloat16"]
    needs = {setting.name: setting.need(s, setting.cards) for setting in memory.SETTINGS}
    assert needs["1 × 24 GB"] == needs["1 × 80 GB"] == s.alone + memory.ALLOWANCE
    assert needs["2 × 24 GB, DDP"] - needs["1 × 24 GB"] == s.gradients + memory.EXCHANGE
    half = (s.gradients + s.optimizer - s.trained) / 2
    assert needs["2 × 24 GB, ZeRO-2"] == pytest.approx(needs["1 × 24 GB"] - half + memory.BUCKETS + memory.EXCHANGE)
    assert needs["2 × 24 GB, FSDP FULL_SHARD"] < needs["2 × 24 GB, FSDP SHARD_GRAD_OP"] < needs["2 × 24 GB, DDP"]
    bucket = json.loads((ROOT / "examples" / "launch" / "deepspeed-zero2.json").read_text())["zero_optimization"]
    assert 2 * 4 * bucket["reduce_bucket_size"] == memory.BUCKETS
    assert all((ROOT / "examples" / "launch" / setting.launch).is_file() for setting in memory.SETTINGS)


def test_the_tables_of_the_page_are_these(steps: dict[str, Any]) -> None:
    text = memory.PAGE.read_text(encoding="utf-8")
    assert memory.page(text, memory.markdown(memory.table(steps, 2048))) == text, "python benchmarks/memory.py --write"


def test_the_prompt_has_as_many_words_as_it_counts(shared: Path) -> None:
    from reg2rg_plugins.decoders.hf import load_tokenizer

    from reg2rg.model.prompt import PromptBuilder

    tokenizer = load_tokenizer(str(shared / "data" / "llama-tokenizer"))
    prompt = PromptBuilder(recipe.load("reg2rg"), tokenizer, 32, 33).build(REGIONS)
    words = sum(i < len(tokenizer) for i in prompt.ids)
    assert words == counting.WORDS and len(prompt.ids) == words + counting.TAGS + 32 + 33 * len(REGIONS)
