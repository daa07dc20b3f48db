"""Labeler `rules`: the eighteen CT-RATE findings by offline rules; sentence → clauses → mentions that aren't denied.

A finding that is only suspected ("consolidation?") counts as stated, as in the human labels. Sentences recur a lot between
reports, so each distinct one is read once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from reg2rg.anatomy import FINDINGS

from .clauses import clauses, sentences
from .findings import RULES, Rule
from .negation import denied, quiet

_BITS = {finding: 1 << i for i, finding in enumerate(FINDINGS)}


def _states(rule: Rule, clause: str, quiet_clause: str) -> bool:
    if rule.blank is not None:
        clause = rule.blank.sub(lambda match: "_" * len(match.group()), clause)
    if rule.needs is not None and not rule.needs.search(clause):
        return False
    if rule.unless is not None and rule.unless.search(clause):
        return False
    return any(not denied(quiet_clause, m.start(), m.end()) for m in rule.mention.finditer(clause))


@functools.lru_cache(maxsize=1 << 16)
def label_sentence(sentence: str) -> int:
    """The findings that a sentence of `clauses.sentences` states: bit i for FINDINGS[i]."""
    found = 0
    for clause in clauses(sentence):
        quiet_clause = quiet(clause)
        for rule in RULES:
            bit = _BITS[rule.finding]
            if not found & bit and _states(rule, clause, quiet_clause):
                found |= bit
    return found


class Rules:
    """The labeler; it has no options and no state."""

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """uint8 (n, 18): 1 where the text states the finding, columns as `reg2rg.anatomy.FINDINGS`."""
        masks = np.array([self._mask(text) for text in texts], dtype=np.int64)
        return ((masks[:, None] >> np.arange(len(FINDINGS))) & 1).astype(np.uint8)

    @staticmethod
    def _mask(text: str) -> int:
        mask = 0
        for sentence in sentences(text):
            mask |= label_sentence(sentence)
        return mask
