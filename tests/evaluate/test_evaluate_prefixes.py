"""Region prefixes: the golden cases exactly, and what no text may break."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reg2rg.anatomy import REGIONS
from reg2rg.evaluate.prefixes import flatten_tail, has_prefixes, mentions, parse_by_name, plain, rm_region_text, slots

SECTIONS = st.lists(
    st.tuples(st.sampled_from(REGIONS), st.text(alphabet="abc de.,", min_size=1, max_size=30).filter(str.strip)),
    min_size=1,
    max_size=6,
    unique_by=lambda section: section[0],
)


def test_golden_cases(shared: Path) -> None:
    seen = 0
    for file in sorted((shared / "golden" / "metrics").glob("*/case.json")):
        for case in json.loads(file.read_text(encoding="utf-8")).get("cases", []):
            if "rm_region_text" in case:
                seen += 1
                assert rm_region_text(case["input"]) == case["rm_region_text"]
                assert parse_by_name(case["input"]) == case["parse_by_name"]
    assert seen


@given(SECTIONS)
def test_what_is_written_with_prefixes_is_read_back(sections: list[tuple[str, str]]) -> None:
    text = "".join(f"The region {i} is {region}: {body} " for i, (region, body) in enumerate(sections))
    assert parse_by_name(text) == {region: body.strip() for region, body in sections}
    assert [m.name for m in mentions(text)] == [region for region, _ in sections]
    assert not has_prefixes(plain(text))


@given(st.text(max_size=80))
def test_no_text_breaks_the_readers(text: str) -> None:
    for reader in (plain, parse_by_name, mentions, slots, flatten_tail):
        reader(text)


def test_ctrg_tail_becomes_plain_sentences() -> None:
    text = "The region 0 is lung: Clear. The other report is: {pleura: No effusion.}{other: }"
    assert plain(text) == "Clear. No effusion."
    assert plain("The region 0 is lung: Clear. The other report is {heart: Normal: yes.}") == "Clear. Normal: yes."
    assert [m.text for m in mentions(text)] == ["Clear."]


def test_a_name_without_its_colon_does_not_swallow_the_next_slot() -> None:
    assert slots("The region 0 is lung Clear. The region 1 is heart: Normal.") == {1: "heart"}


def test_the_last_mention_of_a_slot_wins() -> None:
    assert slots("The region 0 is bone: a. The region 0 is heart : b.") == {0: "heart"}
