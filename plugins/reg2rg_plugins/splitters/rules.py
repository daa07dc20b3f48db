"""Splitter `rules`: a free report → region sentences, by anatomy words.

Each sentence goes to the one region that its words weigh most for; a sentence without any, or with a hint alone, follows the
one before it ("it measures 5 mm"), or is left out where none came before. Sentences keep their order and wording. With
`several` a sentence on a shared structure (the aorta) stands under each of its regions, as RadGenome-ChestCT has it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter

from reg2rg.anatomy import REGIONS

from .anatomy_words import PRIORITY, SHARED, WORDS
from .sentences import Piece, cut

# translated reports open their part on the lungs so, whatever the sentence is about
_LEAD_IN = re.compile(
    r"^(?:in the (?:evaluation|examination)(?: of| made in| performed in)?|when examined in) (?:both |the )*"
    r"(?:lungs? )?(?:in the )?parenchyma(?: window)?\s*[;:,]"
)
_ANY, _ENDING, _BOUND = r"\*", r"\w*", r"\b"
_HINT = 1  # a sum of weights that tells something only where no sentence came before
_LONG = 2_000  # characters; longer "sentences" aren't kept in memory


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile("|".join(_BOUND + re.escape(word).replace(_ANY, _ENDING) + _BOUND for word in words.split(", ")))


_COMPILED = {region: [(_pattern(words), weight) for weight, words in lists.items()] for region, lists in WORDS.items()}
_SHARED = [
    tuple(_pattern(words) if words else None for words in (shared.words, shared.with_words, shared.unless)) for shared in SHARED
]


def scores(sentence: str) -> dict[str, int]:
    """Region → sum of the weights of its words in the sentence, regions with none left out."""
    return _scores(sentence) if len(sentence) <= _LONG else _scores.__wrapped__(sentence)


@functools.lru_cache(maxsize=1 << 14)
def _scores(sentence: str) -> dict[str, int]:
    text = _LEAD_IN.sub("", sentence.lower())
    found = {region: sum(w * len(set(p.findall(text))) for p, w in lists) for region, lists in _COMPILED.items()}
    return {region: score for region, score in found.items() if score}


def regions_of(sentence: str) -> tuple[str, ...]:
    """The regions that a sentence is about, best first: one, or those of a shared structure; none where no word tells."""
    found = scores(sentence)
    if not found:
        return ()
    top = max(found, key=lambda region: (found[region], -PRIORITY.index(region)))
    shared = _shared(sentence.lower())
    return shared if top in shared else (top,)


def _shared(text: str) -> tuple[str, ...]:
    for (words, with_words, unless), shared in zip(_SHARED, SHARED, strict=True):
        fits = words and words.search(text) and (with_words is None or with_words.search(text))
        if fits and not (unless and unless.search(text)):
            return shared.regions
    return ()


def region_of(sentence: str) -> str | None:
    """The one region that a sentence is most about, or None where no word tells."""
    return next(iter(regions_of(sentence)), None)


class Rules:
    """The splitter. `several`: a sentence on a shared structure goes to each of its regions, not to the first alone."""

    def __init__(self, several: bool = False) -> None:
        self.several = several

    def regions_of(self, sentence: str) -> tuple[str, ...]:
        """The regions of a sentence that stands alone, best first; the lung, the commonest, where no word tells."""
        return regions_of(sentence) or ("lung",)

    def split(self, report: str) -> dict[str, str]:
        """Region → its sentences joined by a blank, regions in the order of `reg2rg.anatomy.REGIONS`."""
        return gather(assign(report), self.several)


def gather(assigned: list[tuple[str, tuple[str, ...]]], several: bool = False) -> dict[str, str]:
    """Sentences with their regions → region → text."""
    texts: dict[str, list[str]] = {}
    for sentence, regions in assigned:
        for region in regions if several else regions[:1]:
            texts.setdefault(region, []).append(sentence)
    return {region: " ".join(texts[region]) for region in REGIONS if region in texts}


def placeable(report: str) -> list[Piece]:
    """The pieces of a report, of which those of the kind `sentence` belong to regions.

    What stands below a heading as Technique or History is of no region, unless most that is said of regions stands there.
    """
    pieces = cut(report)
    said = Counter(piece.kind for piece in pieces if piece.kind in ("sentence", "background") and regions_of(piece.text))
    if said["sentence"] >= said["background"]:
        return pieces
    return [Piece(p.text, "sentence" if p.kind == "background" else p.kind) for p in pieces]


def assign(report: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each sentence of a report in order with its regions, best first; none for a sentence of no region."""
    assigned: list[tuple[str, tuple[str, ...]]] = []
    last: tuple[str, ...] = ()
    for text, kind in placeable(report):
        if kind == "heading":
            last = ()
        elif kind == "background":
            assigned.append((text, ()))
        elif kind == "sentence":
            follows = last and max(scores(text).values(), default=0) <= _HINT
            last = last if follows else regions_of(text)
            assigned.append((text, last))
    return assigned
