"""A report as clauses: sentences, then the parts of a sentence that one negation can reach.

CT-RATE's reports are translated from Turkish: several findings share a sentence, the verb comes late ("X was observed, Y was
not detected"), and impressions are lists in quotation marks or bullets.
"""

from __future__ import annotations

import re

_QUOTES = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "•": "\n", "·": "\n"})
_SENTENCE = re.compile(r'(?<=[.!?;])\s+|\s*"\s*|\s*[\n\r]+\s*|(?<=[a-z])\.(?=[A-Z])|(?<=\))\.(?=\S)')
_BLANKS = re.compile(r"\s+")
_INVERTED = re.compile(r"^((?:\w+ ){1,3})- ?no ")  # "pericardial effusion - no thickening was detected": both denied
_GROUND_GLASS = re.compile(r"ground[- ]?glass|frosted glass|ice glass|\bggos?\b")

# a comma or "and" ends a clause only between two parts that can stand alone
_STRONG = re.compile(
    r";|,?\s+\b(?:but|however|although|though|whereas|while|yet)\b\s*,?|\bapart from (?:this|these|that)\b,?|\bin addition\b,?"
)
_WEAK = re.compile(r",\s+(?:and\s+)?|\s+and\s+")
_FINITE = re.compile(
    r"(?<!which )(?<!that )\b(?:is|are|was|were|has|have|had|can(?:not)?|could|may|might|should|does|did|do)\b"
)
_OPENS = re.compile(r"^(?:no|without|neither|nor|there)\b")


def sentences(text: str) -> list[str]:
    """Lower-case sentences with plain quotes, single blanks and one spelling of ground glass."""
    found = []
    for part in _SENTENCE.split(text.translate(_QUOTES)):
        sentence = _BLANKS.sub(" ", part).strip(" -*\t").lower()
        if sentence:
            found.append(_INVERTED.sub(r"no \1- ", _GROUND_GLASS.sub("ground glass", sentence)))
    return found


def clauses(sentence: str) -> list[str]:
    """The clauses of a sentence as `sentences` gives it."""
    return [clause for part in _STRONG.split(sentence) if part.strip() for clause in _weak_clauses(part)]


def _weak_clauses(text: str) -> list[str]:
    found: list[str] = []
    start = 0
    boundaries = [*_WEAK.finditer(text)]
    for i, boundary in enumerate(boundaries):
        end = boundaries[i + 1].start() if i + 1 < len(boundaries) else len(text)
        following = text[boundary.end() : end]
        opens = _OPENS.match(following) or _FINITE.search(following)
        if opens and _stands(text[start : boundary.start()]):
            found.append(text[start : boundary.start()].strip())
            start = boundary.end()
    found.append(text[start:].strip())
    return [clause for clause in found if clause]


def _stands(text: str) -> bool:
    return _FINITE.search(text) is not None
