"""The vocabulary of regions and findings: the order that files and bit masks use, and what data files may call them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.anatomy import FINDING_REGION, FINDINGS, PALETTE, REGION_ALIASES, REGIONS, region_name


def test_ten_regions_in_the_order_of_the_bits() -> None:
    assert len(REGIONS) == 10 and list(REGIONS) == sorted(REGIONS)
    assert REGIONS[9] == "trachea and bronchie"


def test_eighteen_findings_each_with_the_region_that_states_it() -> None:
    assert len(set(FINDINGS)) == 18
    assert (FINDINGS[0], FINDINGS[-1]) == ("Medical material", "Interlobular septal thickening")
    assert set(FINDING_REGION) == set(FINDINGS) and set(FINDING_REGION.values()) <= set(REGIONS)


def test_each_region_has_a_colour_of_its_own() -> None:
    assert set(PALETTE) == set(REGIONS) and len(set(PALETTE.values())) == 10
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in PALETTE.values())


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("lung", "lung"),
        (" Lung\n", "lung"),
        ("trachea_and_bronchie", "trachea and bronchie"),
        ("Trachea and  Bronchi", "trachea and bronchie"),
        ("oesophagus", "esophagus"),
        ("liver", None),
        ("", None),
        ("lung left", None),
    ],
)
def test_a_files_word_for_a_region(text: str, region: str | None) -> None:
    assert region_name(text) == region


@given(st.sampled_from([*REGIONS, *REGION_ALIASES]), st.booleans(), st.sampled_from([" ", "_", "  "]))
def test_case_and_blanks_are_free(name: str, upper: bool, gap: str) -> None:
    written = (name.upper() if upper else name).replace(" ", gap)
    assert region_name(f" {written} ") == REGION_ALIASES.get(name, name)


@given(st.text(max_size=30))
def test_any_text_is_a_region_or_none(text: str) -> None:
    assert region_name(text) in {None, *REGIONS}
