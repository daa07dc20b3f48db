"""The table of what the paper and its code differ in (docs/researchers.md): its keys exist, with the defaults that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reg2rg.recipe import load
from reg2rg.strict_yaml import parse

PAGE = Path(__file__).resolve().parent.parent / "docs" / "researchers.md"
SECTION = PAGE.read_text(encoding="utf-8").split("## Where the paper and its code differ")[1].split("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("| ")][1:]
KEYS = [(key, row[4]) for row in ROWS for key in re.findall(r"`([^`]+)`", row[3])]


def value_of(key: str) -> Any:
    data: Any = load("reg2rg").model_dump(mode="json")
    for part in key.split("."):
        data = data[part]
    return data


@pytest.mark.parametrize(("key", "told"), KEYS, ids=[key for key, _ in KEYS])
def test_each_key_has_the_default_that_the_table_names(key: str, told: str) -> None:
    if match := re.match(r"`([^`]+)`", told):
        assert value_of(key) == parse(match[1])
    else:
        assert isinstance(value_of(key), str)  # the wording, which the prompt fixtures pin


def test_each_other_value_of_the_table_is_one(tmp_path: Path) -> None:
    assert len(ROWS) >= 14
    others = [(key, value) for key, told in KEYS for value in re.findall(r"`([^`]+)`", told)[1:] if not value.startswith("--")]
    assert {key for key, _ in others} >= {"views.crop", "views.masks", "views.aspect", "report", "volume_encoder.dropout"}
    for key, value in others:
        assert load("reg2rg", sets=[f"{key}={value}"])
