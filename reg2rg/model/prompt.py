"""Prompt and target as token ids (Sec. III-C, III-D): the one place that knows the special tokens and their order.

Words have ids below the tokenizer's vocabulary V. Ids from V on are rows of the study's own *visual table*::

    0, 1     opening and closing tag of the image      4 … 3+t          the t global tokens
    2, 3     opening and closing tag of a region       4+t+k·i …        the k tokens of slot i

so that embedding a sequence is one gather. The decoder's vocabulary is not extended.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..anatomy import REGIONS
from ..contracts import Prompt, Span
from ..errors import UserError
from ..recipe import Recipe

IGNORE = -100  # label of positions without loss
VISUAL = "\x00"  # stands for a run of visual tokens while a text is put together
TAG = re.compile(r"</?(?:image|region)>|<(?P<kind>image|region)(?P<number>\d+)>|\x00", re.ASCII)

# text → its token ids and, for each, the character that it begins at
Encode = Callable[[str], tuple[list[int], list[int]]]


def segment_encoder(tokenizer: Any) -> Encode:
    """How text between special tokens becomes ids: SentencePiece itself where the tokenizer comes from a model file of its.

    transformers rebuilds such tokenizers without piece scores and splits double blanks otherwise than the original.
    """
    model = getattr(tokenizer, "vocab_file", None)
    if model and Path(model).name == "tokenizer.model" and Path(model).is_file():
        return _sentencepiece(str(model))

    def encode(text: str) -> tuple[list[int], list[int]]:
        coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(coded["input_ids"]), [start for start, _ in coded["offset_mapping"]]

    return encode


def _sentencepiece(model: str) -> Encode:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=model)

    def encode(text: str) -> tuple[list[int], list[int]]:
        coded = processor.encode(text, return_type="offset_mapping")
        return list(coded["ids"]), [start for start, _ in coded["offsets"]]

    return encode


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What the decoder should write for one study: the text, and where each slot's part begins in it (characters)."""

    text: str
    starts: tuple[int, ...]


@dataclasses.dataclass(slots=True)
class _Sequence:
    """Ids of a text, the character that each begins at, and the places of the visual tokens, in order."""

    ids: list[int]
    places: list[int]
    runs: list[tuple[int, int]]


class PromptBuilder:
    """Builds `Prompt`s for one tokenizer and recipe; `image_tokens` t and `region_tokens` k as the visual model gives them.

    `context`: the most tokens that the decoder can read; a larger `prompt.max_length` is cut down to it.
    """

    def __init__(
        self, recipe: Recipe, tokenizer: Any, image_tokens: int, region_tokens: int, context: int | None = None
    ) -> None:
        self.text, self.tokenizer = recipe.prompt, tokenizer
        self.vocabulary = len(tokenizer)
        self.image_tokens, self.region_tokens = image_tokens, region_tokens
        self.limit = min(self.text.max_length, context or self.text.max_length)
        self.encode = functools.lru_cache(maxsize=4096)(segment_encoder(tokenizer))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "encode"}  # a cache around a closure can't be sent

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.encode = functools.lru_cache(maxsize=4096)(segment_encoder(self.tokenizer))

    @property
    def first_region_row(self) -> int:
        """Rows of the visual table before the regions' tokens."""
        return 4 + self.image_tokens

    def index_id(self, slot: int) -> int:
        """The word that stands for the number of a slot."""
        return self.encode(str(slot))[0][-1]

    def prompt_text(self, slots: int) -> str:
        """The prompt's wording for a number of regions, with a mark where visual tokens stand."""
        parts = [self.text.lead_in, self.text.image.replace("{visual}", VISUAL)] if self.image_tokens else []
        mark = VISUAL if self.region_tokens else ""
        parts += [self.text.region.replace("{i}", str(i)).replace("{visual}", mark) for i in range(slots)]
        return "".join(parts) + self.text.instruction

    def build(self, regions: Sequence[str], target: Target | None = None, weights: Sequence[float] = ()) -> Prompt:
        """Prompt (and target) of one study whose slots show `regions`. `weights`: loss weight of each slot's part.

        A text longer than `prompt.max_length`, or than the decoder can read, is cut at its end, without an end token. Raises
        UserError where the prompt alone is longer.
        """
        asked = self.prompt_text(len(regions))
        start = len(self._sequence(asked).ids)
        limit = self.limit
        if start >= limit:
            most = f"prompt.max_length = {limit}" if limit == self.text.max_length else f"the {limit} that the decoder can read"
            raise UserError(f"the prompt of {len(regions)} regions has {start} tokens, more than {most}")
        if target is None:
            sequence = self._sequence(asked)
            ids, labels, loss = sequence.ids, [IGNORE] * start, [1.0] * start
        else:
            # one text, as the official code tokenizes it: the instruction and the target share a segment
            sequence = self._sequence(f"{asked} {target.text.replace(VISUAL, ' ')}")
            ids = sequence.ids
            labels = [IGNORE] * start + [i if i < self.vocabulary else IGNORE for i in ids[start:]]
            loss = self._weights(sequence, len(asked) + 1, target, weights)
            if len(ids) < limit:
                end = self.tokenizer.eos_token_id
                ids, labels, loss = [*ids, end], [*labels, end], [*loss, 1.0]
        spans = tuple(Span(a, b, slot) for (a, b), slot in zip(sequence.runs, self._slots(len(regions)), strict=False))
        return Prompt(
            tuple(ids[:limit]), tuple(labels[:limit]), tuple(loss[:limit]), spans, start, self.vocabulary, tuple(regions)
        )

    def _slots(self, slots: int) -> list[int]:
        return ([-1] if self.image_tokens else []) + list(range(slots))

    def _sequence(self, text: str) -> _Sequence:
        bos = self.tokenizer.bos_token_id
        out = _Sequence([], [], []) if bos is None else _Sequence([bos], [0], [])
        place = 0
        for piece, tag in self._pieces(text):
            if piece == VISUAL:
                rows = self._rows(len(out.runs))
                out.runs.append((len(out.ids), len(out.ids) + len(rows)))
                ids, offsets = list(rows), [0] * len(rows)
            elif tag:
                ids, offsets = [self._tag_id(piece)], [0]
            else:
                ids, offsets = self.encode(piece) if piece else ([], [])
            out.ids += ids
            out.places += [place + offset for offset in offsets]
            place += len(piece)
        return out

    def _pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text cut at its special tags, each piece with whether it is one; what only looks like a tag is text."""
        start = 0
        for match in TAG.finditer(text):
            kind, number = match["kind"], match["number"]
            limit = self.image_tokens if kind == "image" else len(REGIONS) * self.region_tokens
            if number is None or (len(number) < 6 and int(number) < limit and str(int(number)) == number):
                yield text[start : match.start()], False
                yield match[0], True
                start = match.end()
        yield text[start:], False

    def _rows(self, run: int) -> range:
        """The ids of the visual tokens of the `run`-th mark: the image's first, then slot after slot."""
        if self.image_tokens and run == 0:
            return range(self.vocabulary + 4, self.vocabulary + 4 + self.image_tokens)
        slot = run - (1 if self.image_tokens else 0)
        first = self.vocabulary + self.first_region_row + slot * self.region_tokens
        return range(first, first + self.region_tokens)

    def _tag_id(self, tag: str) -> int:
        fixed = {"<image>": 0, "</image>": 1, "<region>": 2, "</region>": 3}
        if tag in fixed:
            return self.vocabulary + fixed[tag]
        first = 4 if tag.startswith("<image") else self.first_region_row
        return self.vocabulary + first + int(re.sub(r"\D", "", tag))

    def _weights(self, sequence: _Sequence, begin: int, target: Target, weights: Sequence[float]) -> list[float]:
        if not weights:
            return [1.0] * len(sequence.ids)
        # a piece that takes the blank before it begins one character early
        starts = [begin + s - 1 for s in target.starts]
        slots = (bisect.bisect_right(starts, place) - 1 for place in sequence.places)
        return [weights[slot] if slot >= 0 else 1.0 for slot in slots]
