"""R2Gen behind a causal model's interface: published size, what each word may see, padding, memory, and generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reg2rg_plugins.decoders.r2gen_memory import MemoryNorm, RelationalMemory
from reg2rg_plugins.decoders.r2gen_model import R2GenConfig, R2GenForCausalLM, positions
from torch.nn import functional as F

from reg2rg.errors import UserError
from reg2rg.plugins import resolve

SOURCE = 3
CORPUS = ["Both lungs are clear. The heart is enlarged. ", "Both lungs are clear. No fracture is seen. "]


@pytest.fixture(scope="module")
def model() -> R2GenForCausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 20, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    return R2GenForCausalLM(R2GenConfig(**sizes, num_hidden_layers=2, slots=2, source=SOURCE)).eval()


def test_it_has_the_published_size() -> None:
    with torch.device("meta"):
        decoder = R2GenForCausalLM(R2GenConfig(vocab_size=1000 + 1))
    assert sum(p.numel() for p in decoder.parameters()) == 35_432_937


@torch.no_grad()
def test_each_word_sees_the_picture_and_what_stands_before_it(model: R2GenForCausalLM) -> None:
    x = torch.randn(1, 8, 16)
    logits = model(inputs_embeds=x).logits
    for changed in (0, 5):
        other = x.clone()
        other[:, changed] += 1
        moved = (model(inputs_embeds=other).logits - logits).abs().amax((0, 2)) > 1e-6
        first = SOURCE - 1 if changed < SOURCE else changed
        assert moved.tolist() == [t >= first for t in range(8)]
    assert not logits[:, : SOURCE - 1].any()


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(model: R2GenForCausalLM, side: str) -> None:
    long, short, padding = torch.randn(1, 9, 16), torch.randn(1, 7, 16), torch.full((1, 2, 16), 9.0)
    parts = [padding, short] if side == "left" else [short, padding]
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, :2] = 0
    given = mask if side == "left" else mask.flip(1)
    both = model(inputs_embeds=torch.cat([long, torch.cat(parts, dim=1)]), attention_mask=given).logits
    torch.testing.assert_close(both[:1], model(inputs_embeds=long).logits)
    own = both[1:, 2:] if side == "left" else both[1:, :7]
    torch.testing.assert_close(own, model(inputs_embeds=short).logits)


@torch.no_grad()
def test_generation_is_the_likeliest_word_after_each_prefix(model: R2GenForCausalLM) -> None:
    x = torch.randn(2, SOURCE, 16)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": 99}
    mask = torch.ones(2, SOURCE, dtype=torch.long)
    ids = model.generate(inputs_embeds=x, attention_mask=mask, **options)
    text = x
    for step in range(5):
        best = model(inputs_embeds=text).logits[:, -1].argmax(-1)
        assert torch.equal(ids[:, step], best)
        text = torch.cat([text, model.words(best)[:, None]], dim=1)


@torch.no_grad()
def test_beams_that_change_places_forget_nothing(model: R2GenForCausalLM) -> None:
    """Beam search without what is kept from word to word gives the same text."""
    x = torch.randn(2, SOURCE, 16)
    options = {
        "attention_mask": torch.ones(2, SOURCE),
        "num_beams": 3,
        "max_new_tokens": 6,
        "pad_token_id": 0,
        "eos_token_id": 99,
    }
    kept = model.generate(inputs_embeds=x, **options)
    anew = R2GenForCausalLM(model.config).eval()
    anew.load_state_dict(model.state_dict())
    anew._remember = lambda words, *_: anew.rm(words)
    assert torch.equal(kept, anew.generate(inputs_embeds=x, **options))


@torch.no_grad()
def test_the_memory_takes_one_step_a_word(model: R2GenForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, step = [], model.rm.step
    monkeypatch.setattr(model.rm, "step", lambda *given: steps.append(1) or step(*given))
    given = {"attention_mask": torch.ones(1, SOURCE), "max_new_tokens": 6, "pad_token_id": 0, "eos_token_id": 99}
    model.generate(inputs_embeds=torch.randn(1, SOURCE, 16), **given)
    assert len(steps) == 6


@torch.no_grad()
def test_the_picture_is_encoded_once_a_text(model: R2GenForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda x: calls.append(1) or encode(x))
    x = torch.randn(1, SOURCE, 16)
    model.generate(inputs_embeds=x, attention_mask=torch.ones(1, SOURCE), max_new_tokens=4, pad_token_id=0, eos_token_id=99)
    assert len(calls) == 1


def test_training_reaches_all_weights_and_lowers_the_loss(model: R2GenForCausalLM) -> None:
    torch.manual_seed(1)
    net, visual = R2GenForCausalLM(model.config).eval(), torch.randn(2, SOURCE, 16)
    words = torch.tensor([[3, 4, 5, 6, 0], [7, 8, 3, 9, 0]])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        embeds = torch.cat([visual, net.words(words)], dim=1)
        logits = net(inputs_embeds=embeds).logits[:, SOURCE - 1 : -1]
        loss = F.cross_entropy(logits.flatten(0, 1), words.flatten())
        optimizer.zero_grad()
        loss.backward()
        assert not [k for k, p in net.named_parameters() if p.grad is None]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
def test_the_memory_walks_along_the_text() -> None:
    torch.manual_seed(0)
    memory, words = RelationalMemory(8, 2, 2, 0.0), torch.randn(1, 4, 8)
    out = memory(words)
    first = torch.eye(2, 8)[None]
    torch.testing.assert_close(out[:, 0], memory.step(words[:, 0], first).flatten(1))
    other = words.clone()
    other[:, 2] += 1
    assert (memory(other) - out).abs().amax((0, 2)).gt(1e-6).tolist() == [False, False, True, True]


@torch.no_grad()
def test_the_memory_sets_gain_and_shift() -> None:
    norm, x, memory = MemoryNorm(8, 2), torch.randn(1, 3, 8), torch.randn(1, 3, 16)
    for part in (norm.mlp_gamma, norm.mlp_beta):
        for p in part.parameters():
            p.zero_()
    torch.testing.assert_close(norm(x, memory), F.layer_norm(x, (8,), eps=1e-6))
    norm.mlp_gamma[2].bias.fill_(1.0)
    norm.mlp_beta[2].bias.fill_(0.5)
    torch.testing.assert_close(norm(x, memory), 2 * F.layer_norm(x, (8,), eps=1e-6) + 0.5)


def test_positions_are_sines_and_cosines() -> None:
    table = positions(5, torch.zeros(1, 6))
    assert table.shape == (5, 6) and table[0].tolist() == [0, 1, 0, 1, 0, 1]
    three = torch.tensor(3.0)
    torch.testing.assert_close(table[3, :2], torch.stack([three.sin(), three.cos()]))


def test_rare_words_are_unknown_and_no_sign_stands_before_a_prompt() -> None:
    options = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}
    _, all_words = resolve("decoder", "r2gen", options).build(CORPUS)
    model, frequent = resolve("decoder", "r2gen", {**options, "threshold": 2}).build(CORPUS)
    assert len(frequent) < len(all_words) and model.config.vocab_size == len(frequent)
    assert frequent.bos_token_id is None and frequent.pad_token_id == frequent.eos_token_id == model.config.bos_token_id
    assert frequent.decode(frequent("Both lungs are clear.")["input_ids"]) == "Both lungs are clear."
    assert frequent.unk_token_id in frequent("The heart")["input_ids"]
    with pytest.raises(UserError, match="there are none"):
        resolve("decoder", "r2gen", options).build([])


def test_a_saved_model_is_loaded_by_its_type(model: R2GenForCausalLM, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).source == SOURCE
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    x = torch.randn(1, 6, 16)
    torch.testing.assert_close(again(inputs_embeds=x).logits, model(inputs_embeds=x).logits)
