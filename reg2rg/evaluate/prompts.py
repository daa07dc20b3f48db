"""Predictions that hold their own prompt, as a decoder's output does where the prompt was not cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .rows import cell

PROMPT_COLUMNS = ("Question", "prompt", "instruction")


class Prompts:
    """Takes prompts off predictions where the file has a column of prompts, and counts them."""

    def __init__(self, columns: Sequence[str]) -> None:
        lower = {c.lower(): c for c in columns}
        self.column = next((lower[c.lower()] for c in PROMPT_COLUMNS if c.lower() in lower), None)
        self.alone, self.before = 0, 0

    def without(self, text: str, row: Mapping[str, Any]) -> str:
        """The prediction behind its prompt; "" where it is the prompt alone."""
        prompt = cell(row.get(self.column)) if self.column else ""
        if not prompt or not text.startswith(prompt):
            return text
        rest = text[len(prompt) :].strip()
        self.alone += not rest
        self.before += bool(rest)
        return rest

    def notes(self) -> list[str]:
        """What was found, in sentences."""
        found = []
        if self.alone:
            found.append(f"{self.alone} predictions only repeat their prompt (column '{self.column}') and count as empty.")
        if self.before:
            found.append(f"{self.before} predictions begin with their prompt (column '{self.column}'), which is not scored.")
        return found
