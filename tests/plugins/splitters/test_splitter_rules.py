"""The rules splitter: every sentence once, none invented, the right region; and its agreement with RadGenome-ChestCT."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reg2rg_plugins.splitters.anatomy_words import PRIORITY, WORDS
from reg2rg_plugins.splitters.rules import Rules, region_of

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


def test_the_word_lists_cover_the_ten_regions() -> None:
    assert set(WORDS) == set(PRIORITY) == set(REGIONS)


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_gets_its_sentence(region: str) -> None:
    assert region_of(OWN[region]) == region


def test_a_report_is_split_in_the_order_of_regions_with_followers_kept() -> None:
    report = f"{OWN['lung']} It measures 5 mm. {OWN['abdomen']}\n{OWN['lung']}"
    assert Rules().split(report) == {
        "abdomen": OWN["abdomen"],
        "lung": f"{OWN['lung']} It measures 5 mm. {OWN['lung']}",
    }


def test_sentences_of_no_region_are_left_out_until_one_is_known() -> None:
    assert Rules().split("Comparison was made. Clinical data are given.") == {}
    assert Rules().split("") == {}


@given(st.lists(st.sampled_from([*OWN.values(), "It is stable.", "Compared with before."]), max_size=12))
def test_every_sentence_is_used_at_most_once_and_none_is_invented(parts: list[str]) -> None:
    split = Rules().split(" ".join(parts))
    written = [s for text in split.values() for s in re.split(r"(?<=\.) ", text)]
    start = next((i for i, s in enumerate(parts) if region_of(s)), len(parts))
    assert sorted(written) == sorted(parts[start:])


def test_agreement_with_radgenome_on_unseen_sentences(shared: Path) -> None:
    """Fold 0 by patient, sentences that the other folds don't have: see docs/labelers.md."""
    gold: dict[tuple[str, str], set[str]] = defaultdict(set)
    with (shared / "data" / "text-reg2rg-regions500" / "regions500.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for sentence in re.split(r"(?<=[.!?])\s+", row["Sentence"].strip()):
                if sentence:
                    gold[row["Volumename"], sentence].add(row["Anatomy"])
    fold = {key: int(re.findall(r"\d+", key[0])[0]) % 5 for key in gold}
    known = {key[1] for key in gold if fold[key]}
    unseen = {key: regions for key, regions in gold.items() if fold[key] == 0 and key[1] not in known}
    assert len(unseen) == 562
    assert sum(region_of(key[1]) in regions for key, regions in unseen.items()) / len(unseen) >= 0.89
    assert sum({region_of(key[1])} == regions for key, regions in unseen.items()) / len(unseen) >= 0.81
