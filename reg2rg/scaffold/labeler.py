"""A labeler: report texts to the eighteen findings (here: a finding is there when its name is, and no "no" stands before it).

In: n texts. Out: uint8 (n, 18), columns as `reg2rg.anatomy.FINDINGS`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from reg2rg.anatomy import FINDINGS


class Keywords:
    """The finding's own words, in any sentence without a negation."""

    def __init__(self, negations: tuple[str, ...] = ("no", "without")) -> None:
        self.negations = frozenset(negations)

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """uint8 (n, 18) of 0 and 1."""
        return np.array([self._one(text) for text in texts], dtype=np.uint8).reshape(-1, len(FINDINGS))

    def _one(self, text: str) -> list[bool]:
        sentences = [s for s in re.split(r"[.;\n]", text.lower()) if not self.negations & set(s.split())]
        return [any(finding.lower() in s for s in sentences) for finding in FINDINGS]
