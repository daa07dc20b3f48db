"""QLoRA: 4-bit base weights under trained adapters: one step, a run without the base, loaded again; and what is refused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from samples_llama import SETS, around, make_llama, sample
from training import Small

from reg2rg import Reg2RG, recipe
from reg2rg.errors import UserError
from reg2rg.generate.decoding import write
from reg2rg.model import weights
from reg2rg.model.batch import collate
from reg2rg.model.composite import Reg2RGModel, build_decoder, build_model
from reg2rg.plugins import resolve

Run = Callable[..., subprocess.CompletedProcess[str]]
NF4 = "decoder.quantization=nf4"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def four_bits() -> None:
    pytest.importorskip("bitsandbytes", reason="the extra qlora isn't installed")


def quantized(model: Any) -> list[str]:
    return [n for n, p in model.named_parameters() if type(p).__name__ == "Params4bit"]


def step(model: Reg2RGModel) -> float:
    """One step of AdamW on what is trained; gives the loss before it."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    total, count = model(collate([sample(model, target=True)], model.tokenizer.pad_token_id))
    loss = (total / count).sum()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@pytest.mark.usefixtures("four_bits")
@pytest.mark.parametrize("checkpointing", ["true", "false"])
def test_adapters_learn_over_four_bit_weights(llama: Path, checkpointing: str) -> None:
    chosen = around(llama, NF4, f"decoder.gradient_checkpointing={checkpointing}", "decoder.lora.dropout=0")
    model, base = build_model(chosen)
    assert base == str(llama)
    names = quantized(model)
    assert len(names) == 7 and all("proj" in n for n in names), "every matrix of the layer, neither table nor output"
    assert model.decoder.get_base_model().is_gradient_checkpointing == (checkpointing == "true")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    losses = [step(model) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert {n for n in moved if n.startswith("decoder.")} == {n for n in before if "lora_" in n}


@pytest.mark.usefixtures("four_bits")
def test_four_bits_are_near_the_whole_weights(llama: Path) -> None:
    """Rounding shows, and is small: 4-bit normal floats keep a random matrix to about a tenth."""
    whole, coarse = (build_model(around(llama, *extra))[0].eval() for extra in ((), (NF4,)))
    embeds = torch.randn(1, 6, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = (m.decoder(inputs_embeds=embeds).logits for m in (whole, coarse))
    assert 0 < float((a - b).norm() / a.norm()) < 0.2


@pytest.mark.usefixtures("four_bits")
def test_a_run_holds_adapters_and_quantizes_its_base_again(llama: Path, tmp_path: Path) -> None:
    model, base = build_model(around(llama, NF4))
    step(model)
    weights.save(model, tmp_path / "run", base, {})
    names = load_file(tmp_path / "run" / "model.safetensors").keys()
    assert all("lora_" in n for n in names if n.startswith("decoder."))
    found = Reg2RG.from_pretrained(tmp_path / "run")
    assert len(quantized(found.model)) == 7 and len(found.warnings) == 1
    spec = model.recipe.generation.model_copy(update={"max_new_tokens": 8})
    texts = [write(m.eval(), [sample(m)], spec)[0].text for m in (model, found.model)]
    assert texts[0] == texts[1] != ""


@pytest.mark.usefixtures("four_bits")
def test_products_are_in_the_recipes_type(llama: Path) -> None:
    model, _ = resolve("decoder", "hf", {"path": str(llama)}, dtype="bfloat16", quantization="nf4").build()
    settings = model.config.quantization_config
    assert (settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant) == ("nf4", True)
    assert settings.bnb_4bit_compute_dtype is torch.bfloat16 and model.get_input_embeddings().weight.dtype is torch.bfloat16


@pytest.mark.usefixtures("four_bits")
def test_the_command_trains_and_writes_with_four_bits(small: Small, llama: Path, tmp_path: Path, reg2rg: Run) -> None:
    run = tmp_path / "run"
    sets = [word for key in (*SETS, NF4, "decoder.dtype=bfloat16", "training.accumulation=2") for word in ("--set", key)]
    done = reg2rg("train", "--data", small.store, "--out", run, "--decoder", llama, "--max-steps", 1, *sets)
    assert done.returncode == 0, done.stderr
    assert "bitsandbytes" not in done.stderr and "kernels" not in done.stderr
    assert json.loads((run / "config.json").read_text())["base"] == str(llama)
    done = reg2rg("generate", run, "--data", small.store, "--out", tmp_path / "r.jsonl", "--max-new-tokens", 4)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.jsonl").read_text().count("\n") > 1


def test_without_the_package_one_sentence_says_what_to_install(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else real(name, *a))
    with pytest.raises(UserError, match=r"decoder.quantization: .*bitsandbytes.*pip install 'reg2rg\[qlora\]'"):
        build_decoder(around(llama, NF4).decoder)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["decoder.lora=none"], "without adapters"),
        (["decoder=tiny"], "the decoder 'tiny' has no 4-bit weights"),
        (["decoder=none-such"], "no decoder is called 'none-such'"),
    ],
)
def test_what_cannot_be_quantized_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_decoder(recipe.load("reg2rg", sets=[NF4, *sets]).decoder)
