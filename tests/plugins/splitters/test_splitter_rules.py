"""The rules splitter: every sentence once, none invented, the right region; and its agreement with RadGenome-ChestCT."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import splitters as harness
from hypothesis import given
from hypothesis import strategies as st
from reg2rg_plugins.splitters.anatomy_words import PRIORITY, SHARED, WORDS
from reg2rg_plugins.splitters.rules import Rules, assign, region_of, regions_of
from reg2rg_plugins.splitters.sentences import sentences

from reg2rg.anatomy import REGIONS

OWN = {
    "abdomen": "A cyst is seen in the right lobe of the liver.",
    "bone": "No lytic lesion is seen in the vertebrae.",
    "breast": "Both breasts are symmetric.",
    "esophagus": "A sliding type hiatal hernia is seen.",
    "heart": "Pericardial effusion was not observed.",
    "lung": "A nodule is seen in the right upper lobe.",
    "mediastinum": "No enlarged lymph node is seen in the mediastinum.",
    "pleura": "Pleural effusion is seen on the left.",
    "thyroid": "A nodule is seen in the right lobe of the thyroid gland.",
    "trachea and bronchie": "The trachea and both main bronchi are open.",
}
SEVERAL = {
    "The wall of the thoracic aorta is calcified.": {"mediastinum", "abdomen"},
    "Stents are seen in the coronary arteries, and plaques in the aorta.": {"mediastinum", "abdomen", "heart"},
    "The heart and the mediastinal vascular tree are of normal size.": {"mediastinum", "heart"},
    "The abdominal aorta is wide.": {"abdomen", "mediastinum"},
    "The aortic valve is calcified.": {"heart"},
    "A lymph node lies beside the aorta.": {"mediastinum"},
}


def test_the_word_lists_cover_the_ten_regions() -> None:
    assert set(WORDS) == set(PRIORITY) == set(REGIONS)
    assert {region for shared in SHARED for region in shared.regions} <= set(REGIONS)


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_gets_its_sentence(region: str) -> None:
    assert regions_of(OWN[region]) == (region,)


@pytest.mark.parametrize("sentence", SEVERAL)
def test_shared_structures_belong_to_several_regions(sentence: str) -> None:
    assert set(regions_of(sentence)) == SEVERAL[sentence]
    assert Rules().split(sentence) == {regions_of(sentence)[0]: sentence}
    assert "abdominal" not in sentence or regions_of(sentence)[0] == "abdomen"
    assert Rules(several=True).split(sentence) == dict.fromkeys(filter(SEVERAL[sentence].__contains__, REGIONS), sentence)


def test_a_report_is_split_in_the_order_of_regions_with_followers_kept() -> None:
    report = f"{OWN['lung']} It measures 5 mm. {OWN['abdomen']}\n{OWN['lung']}"
    assert list(Rules().split(report).items()) == [
        ("abdomen", OWN["abdomen"]),
        ("lung", f"{OWN['lung']} It measures 5 mm. {OWN['lung']}"),
    ]


def test_a_hint_counts_only_where_nothing_came_before() -> None:
    advice = "A control by ultrasound is recommended."
    assert region_of(advice) == "abdomen"
    assert Rules().split(f"{OWN['thyroid']} {advice}") == {"thyroid": f"{OWN['thyroid']} {advice}"}


def test_sentences_of_no_region_are_left_out_until_one_is_known() -> None:
    assert Rules().split("Comparison was made. Clinical data are given.") == {}
    assert Rules().split("") == {}


def test_background_is_left_out_and_a_heading_starts_anew() -> None:
    report = f"Clinical history: Cancer of the lung.\nFindings: {OWN['bone']}\nImpression: Nothing else was found."
    assert Rules().split(report) == {"bone": OWN["bone"]}
    assert Rules().split(f"Examination: {OWN['bone']}") == {"bone": OWN["bone"]}, "a report under one heading isn't lost"
    found = f"Examination: {OWN['bone']} {OWN['lung']} Impression: {OWN['heart']}"
    assert set(Rules().split(found)) == {"bone", "lung", "heart"}, "nor one whose findings have no heading of their own"


@given(st.lists(st.sampled_from([*OWN.values(), *SEVERAL, "It is stable.", "Compared with before.", "FINDINGS:"]), max_size=12))
def test_every_sentence_is_used_at_most_once_and_none_is_invented(parts: list[str]) -> None:
    report = "\n".join(parts)
    assigned = assign(report)
    assert [text for text, _ in assigned] == sentences(report)
    written = [s for text in Rules().split(report).values() for s in re.split(r"(?<=\.) ", text)]
    assert sorted(written) == sorted(text for text, regions in assigned if regions)


@given(st.text(max_size=200))
def test_any_text_is_split_into_its_own_words(text: str) -> None:
    parts = Rules(several=True).split(text)
    assert set(parts) <= set(REGIONS) and all(part.strip() for part in parts.values())
    plain = " ".join(text.split())
    assert all(s in plain for part in parts.values() for s in sentences(part))


def test_agreement_with_radgenome_by_folds_of_patients(shared: Path) -> None:
    """The protocol of benchmarks/splitters.py; docs/splitters.md has the tables."""
    pairs = harness.read_pairs(shared / "data" / "text-reg2rg-regions500" / "regions500.csv")
    test = harness.measure(Rules(), pairs, 0)
    assert (test["unseen"]["n"], test["all"]["n"], test["all"]["several"]) == (562, 1492, 127)
    assert test["unseen"]["any_hit"] >= 0.93 and test["unseen"]["strict"] >= 0.85
    assert test["in_context"] >= 0.965
    five = harness.measure(Rules(), pairs, None)
    assert five["unseen"]["n"] == 2847 and five["unseen"]["any_hit"] >= 0.945 and five["unseen"]["strict"] >= 0.905
    assert {region for region, row in five["unseen"]["per_region"].items() if row["f1"] < 0.88} == {"trachea and bronchie"}
