"""Prompts equal the official ones to the token; targets are read back as they were written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from golden import cases
from golden_case import Case
from golden_data import prompt_recipe, token_counts
from hypothesis import given
from hypothesis import strategies as st

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.errors import UserError
from reg2rg.model.alignment import finding_weights, make_target, read_back, slot_order, strip_prefixes
from reg2rg.model.prompt import PromptBuilder

OFFICIAL = recipe.load("reg2rg")


class LlamaTokenizer(SimpleNamespace):
    """What the builder asks of a tokenizer; the ids come from the model file."""

    def __len__(self) -> int:
        return 32000


def builder(shared: Path) -> PromptBuilder:
    tokenizer = LlamaTokenizer(vocab_file=str(shared / "data/llama-tokenizer/tokenizer.model"), bos_token_id=1, eos_token_id=2)
    return PromptBuilder(OFFICIAL, tokenizer, image_tokens=32, region_tokens=33)


def test_the_default_wording_is_the_official_one(shared: Path) -> None:
    for folder in cases(shared, "prompt"):
        case = Case(folder)
        assert prompt_recipe(case).prompt == OFFICIAL.prompt and token_counts(case) == (32, 33), folder.name


def test_what_only_looks_like_a_tag_is_text(shared: Path) -> None:
    make = builder(shared)
    for text in ("a<image32>b", "a<region330>b", "<image01>", "<region99999999>"):
        target = make_target(("lung",), {"lung": text}, OFFICIAL)
        last = make.encode(f". {OFFICIAL.prompt.instruction} {target.text}")[0]
        assert list(make.build(("lung",), target).ids)[-len(last) - 1 : -1] == last, text
    real = make_target(("lung",), {"lung": "see <region329>"}, OFFICIAL)
    assert 32000 + 4 + 32 + 329 in make.build(("lung",), real).ids


def test_spans_hold_the_visual_rows(shared: Path) -> None:
    prompt = builder(shared).build(("lung", "heart"))
    assert [s.slot for s in prompt.spans] == [-1, 0, 1]
    assert [s.stop - s.start for s in prompt.spans] == [32, 33, 33]
    rows = [i for s in prompt.spans for i in prompt.ids[s.start : s.stop]]
    assert rows == list(range(32004, 32004 + 32 + 66))


def test_loss_weights_follow_the_slots(shared: Path) -> None:
    make = builder(shared)
    target = make_target(("lung", "heart"), {"lung": "Clear.", "heart": "Large heart."}, OFFICIAL)
    prompt = make.build(("lung", "heart"), target, weights=(1.0, 2.0))
    heavy = [i for i, w in zip(prompt.ids, prompt.weights, strict=True) if w == 2.0]
    alone = make.encode("The region 1 is heart: Large heart. ")[0]
    assert heavy == alone


def test_a_prompt_that_cannot_fit_is_refused(shared: Path) -> None:
    short = recipe.load("reg2rg", sets=["prompt.max_length=100"])
    tokenizer = LlamaTokenizer(vocab_file=str(shared / "data/llama-tokenizer/tokenizer.model"), bos_token_id=1, eos_token_id=2)
    with pytest.raises(UserError, match=r"prompt\.max_length = 100"):
        PromptBuilder(short, tokenizer, 32, 33).build(REGIONS)


sentences = st.from_regex(r"[A-Z][a-z]{1,8}( [a-z]{1,8}){0,6}\.", fullmatch=True)


@given(st.permutations(REGIONS), st.dictionaries(st.sampled_from(REGIONS), sentences))
def test_a_target_is_read_back(order: list[str], reports: dict[str, str]) -> None:
    text = make_target(order, reports, OFFICIAL).text
    parts = read_back(text, len(order), OFFICIAL)
    assert [p.named for p in parts] == order
    assert [p.text for p in parts] == [reports.get(region, "") for region in order]
    assert strip_prefixes(text, OFFICIAL) == " ".join(r for region in order if (r := reports.get(region, "")))


def test_read_back_keeps_missing_and_odd_slots() -> None:
    parts = read_back("The region 1 is lung: Clear. The region 7 is heart: Large. The region 1 is liver: Odd.", 2, OFFICIAL)
    assert [(p.named, p.text) for p in parts] == [("", ""), ("liver", "Odd.")]


def test_slot_order_depends_on_its_key_alone() -> None:
    assert slot_order(REGIONS, False, 1) == REGIONS
    assert slot_order(REGIONS, True, 1, 2, "a") == slot_order(REGIONS, True, 1, 2, "a")
    assert len({slot_order(REGIONS, True, 1, epoch, "a") for epoch in range(5)}) > 1


def test_finding_weights() -> None:
    assert finding_weights(("heart", "lung"), {"Cardiomegaly": 1, "Emphysema": 0}, 2.0) == (2.0, 1.0)
    assert finding_weights(("heart",), {"Cardiomegaly": 1}, 1.0) == ()


def test_a_text_without_any_prefix_gives_unnamed_slots() -> None:
    assert [(p.named, p.text) for p in read_back("Free text.", 2, OFFICIAL)] == [("", ""), ("", "")]
