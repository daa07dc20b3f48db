"""Cutting a report into sentences: nothing lost, nothing doubled, order kept; and the habits of radiology reports."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reg2rg_plugins.splitters.sentences import cut, sentences

# what the rules look at, in any order
PARTS = [
    "Findings:", "TECHNIQUE", "History: ", "1. ", "2) ", "- ", "• ", "a) ", "\n", "\n\n", "\r\n", "\t", " ", ". ", "? ", "! ",
    "Dr. ", "3.5 mm. ", "(cyst? node?) ", "( ", ") ", "the 2. rib ", "clear", "Heart ", "liver.Heart ", "e.g. ",
    "\u2028", "ığüşöç ", "…", ".",
]  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PARTS), max_size=30).map("".join)))
def test_the_pieces_of_any_text_are_the_text(report: str) -> None:
    pieces = cut(report)
    assert "".join("".join(p.text.split()) for p in pieces) == "".join(report.split())
    assert all(p.text and p.text == " ".join(p.text.split()) for p in pieces)
    assert sentences(report) == [p.text for p in pieces if p.kind in ("sentence", "background")]


CUTS: dict[str, tuple[str, list[str]]] = {
    "plain": ("Trachea is open. Heart is normal.", ["Trachea is open.", "Heart is normal."]),
    "small letters": ("lungs clear. heart normal", ["lungs clear.", "heart normal"]),
    "decimals": ("A nodule of 3.5 mm is seen. It is stable.", ["A nodule of 3.5 mm is seen.", "It is stable."]),
    "unit with a full stop": ("It measures 5 mm. in diameter. Stable.", ["It measures 5 mm. in diameter.", "Stable."]),
    "abbreviations": ("Discussed with Dr. Smith. No. 3 is new.", ["Discussed with Dr. Smith.", "No. 3 is new."]),
    "an answer": ("Nodules? No. Heart normal.", ["Nodules?", "No.", "Heart normal."]),
    "ordinals": ("Fractures of the 2. and 3. ribs. Old.", ["Fractures of the 2. and 3. ribs.", "Old."]),
    "brackets": ("A lesion (cyst? node?) is seen. Stable.", ["A lesion (cyst? node?) is seen.", "Stable."]),
    "a bracket left open": ("A lesion (cyst? is seen. Stable.", ["A lesion (cyst?", "is seen.", "Stable."]),
    "quotes": ('He said "clear." Stable.', ['He said "clear."', "Stable."]),
    "no blank": ("No effusion.Heart is normal.", ["No effusion.", "Heart is normal."]),
    "no end mark": ("Lungs clear\nHeart normal", ["Lungs clear", "Heart normal"]),
    "wrapped lines": ("A nodule in the right\nupper lobe,\nStable", ["A nodule in the right upper lobe, Stable"]),
    "bullets": ("- Lungs clear\n• Heart normal\n", ["Lungs clear", "Heart normal"]),
    "numbers": ("1. No mass.\n2. Small cyst. 3) Stable.", ["No mass.", "Small cyst.", "Stable."]),
    "a line that ends as a heading would": ("No other\nfindings", ["No other findings"]),
    "a heading without blank": ("FINDINGS:Lungs clear.", ["Lungs clear."]),
    "headings": ("FINDINGS\nLungs clear.\nImpression: Normal.", ["Lungs clear.", "Normal."]),
    "an organ as heading": ("Lungs:\nClear.\nHEART: normal", ["Lungs: Clear.", "HEART: normal"]),
    "nothing": (" \n\t ", []),
}


@pytest.mark.parametrize("name", CUTS)
def test_habits_of_reports(name: str) -> None:
    report, wanted = CUTS[name]
    assert sentences(report) == wanted


def test_sections_of_background_end_at_a_heading_or_an_empty_line() -> None:
    report = "Technique: A scan.\nHistory: Lung cancer. Cough.\nFindings: Clear.\nComparison: none.\n\nHeart normal."
    of = {p.text: p.kind for p in cut(report)}
    assert [of[t] for t in ("A scan.", "Lung cancer.", "Cough.", "none.")] == ["background"] * 4
    assert [of[t] for t in ("Clear.", "Heart normal.")] == ["sentence"] * 2 and of["Findings:"] == "heading"


@pytest.mark.parametrize("unit", [".", "(", "a. ", "1. ", "- ", "-", "x:\n", "history: ", "(a? ", "\n"])
def test_time_grows_with_the_length_alone(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        start = time.process_time()
        pieces = cut(text)
        taken = time.process_time() - start
        assert "".join("".join(p.text.split()) for p in pieces) == "".join(text.split())
        return taken

    small, large = (min(seconds(length) for _ in range(3)) for length in (20_000, 200_000))
    assert large < 30 * (small + 0.02)  # a square would be 100 times
