"""The region grammar: whatever the model wants, every slot is named once, with known names; free text stays free."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.generate.grammar import RegionGrammar
from reg2rg.model.alignment import read_back
from reg2rg.model.prompt import segment_encoder
from reg2rg.plugins import resolve

TINY = recipe.load("tiny")
CORPUS = [f"The region {i} is {r}: The {r} is clear and seen. Both are enlarged." for i, r in enumerate(REGIONS)]
_, TOKENIZER = resolve("decoder", "tiny", {"width": 32, "layers": 1, "heads": 2}).build(CORPUS)
ENCODE = segment_encoder(TOKENIZER)


def write(slots: list[int], seed: int, steps: int = 160, eos_bias: float = 0.0) -> tuple[list[str], RegionGrammar]:
    """A decoder of random wishes under the grammar, greedy."""
    generator = torch.Generator().manual_seed(seed)
    grammar = RegionGrammar(TINY, ENCODE, TOKENIZER.eos_token_id, slots)
    ids = torch.zeros(len(slots), 0, dtype=torch.long)
    ended = torch.zeros(len(slots), dtype=torch.bool)
    for _ in range(steps):
        scores = torch.randn(len(slots), len(TOKENIZER), generator=generator)
        scores[:, TOKENIZER.eos_token_id] += eos_bias
        chosen = grammar(ids, scores).argmax(-1)
        chosen[ended] = TOKENIZER.pad_token_id
        ids = torch.cat([ids, chosen[:, None]], 1)
        ended |= chosen == TOKENIZER.eos_token_id
    return TOKENIZER.batch_decode(ids, skip_special_tokens=True), grammar


@settings(max_examples=20)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=3), st.integers(0, 1000))
def test_every_slot_is_named_once_by_a_known_name(slots: list[int], seed: int) -> None:
    texts, grammar = write(slots, seed, eos_bias=2.5)
    for text, n, confidence in zip(texts, slots, grammar.confidences(), strict=True):
        names = [p.named for p in read_back(text, n, TINY)]
        assert len(set(names)) == n and set(names) <= set(REGIONS), text
        assert len(confidence) == n and all(0 <= c <= 1 for c in confidence)


def test_a_model_that_would_end_at_once_still_names_every_region() -> None:
    texts, _ = write([3], seed=1, eos_bias=50.0)
    assert [bool(p.named) for p in read_back(texts[0], 3, TINY)] == [True] * 3


def test_confidence_is_the_probability_among_all_names() -> None:
    grammar = RegionGrammar(TINY, ENCODE, TOKENIZER.eos_token_id, [1])
    wanted = ENCODE("The region 0 is heart:")[0]
    ids = torch.zeros(1, 0, dtype=torch.long)
    for token in wanted:
        scores = torch.zeros(1, len(TOKENIZER))
        scores[0, token] = 3.0
        assert int(grammar(ids, scores).argmax()) == token
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    grammar(ids, torch.zeros(1, len(TOKENIZER)))
    e = torch.e**3
    assert abs(grammar.confidences()[0][0] - float(e / (e + 9))) < 1e-3


def test_the_tokenizer_gives_texts_back() -> None:
    for text in CORPUS:
        assert TOKENIZER.decode(ENCODE(text)[0]) == text
