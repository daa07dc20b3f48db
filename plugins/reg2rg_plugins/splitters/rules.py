"""Splitter `rules`: a free report → region sentences, by anatomy words.

Each sentence goes to the one region that its words weigh most for; a sentence without any follows the one before it ("it
measures 5 mm"), or is left out where none came before. Sentences keep their order and wording; none is used twice.
"""

from __future__ import annotations

import functools
import re

from reg2rg.anatomy import REGIONS

from .anatomy_words import PRIORITY, WORDS

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*[\n\r]+\s*")
_LEAD_IN = re.compile(r"^(?:in the evaluation of|when examined in) (?:both |the )?lung parenchyma(?: window)?\s*[;:,]")
_ANY, _ENDING, _BOUND = r"\*", r"\w*", r"\b"


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile("|".join(_BOUND + re.escape(word).replace(_ANY, _ENDING) + _BOUND for word in words.split(", ")))


_COMPILED = {region: [(_pattern(words), weight) for weight, words in lists.items()] for region, lists in WORDS.items()}


@functools.lru_cache(maxsize=1 << 15)
def scores(sentence: str) -> dict[str, int]:
    """Region → sum of the weights of its words in the sentence, regions with none left out."""
    text = _LEAD_IN.sub("", sentence.lower())
    found = {region: sum(w * len(set(p.findall(text))) for p, w in lists) for region, lists in _COMPILED.items()}
    return {region: score for region, score in found.items() if score}


def region_of(sentence: str) -> str | None:
    """The region that a sentence is about, or None where no word tells."""
    found = scores(sentence)
    return max(found, key=lambda region: (found[region], -PRIORITY.index(region))) if found else None


class Rules:
    """The splitter; it has no options and no state."""

    def split(self, report: str) -> dict[str, str]:
        """Region → its sentences joined by a blank, regions in the order of `reg2rg.anatomy.REGIONS`."""
        texts: dict[str, list[str]] = {}
        last: str | None = None
        for sentence in _SENTENCE.split(report.strip()):
            last = region_of(sentence) or last
            if last and sentence.strip():
                texts.setdefault(last, []).append(sentence.strip())
        return {region: " ".join(texts[region]) for region in REGIONS if region in texts}
