"""What the splitter `llm` asks a chat model, the only answers that it may write, and how they are read back.

Question: numbered sentences. Answer: a line for each, "number: region", with one of the ten regions or "other".
`Answers.allowed` gives, for what was written so far, the tokens that keep to this form: nothing else can be written, and so
nothing invented.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from reg2rg.anatomy import REGIONS
from reg2rg.errors import UserError

OTHER = "other"
CHOICES = (*REGIONS, OTHER)
_LINE = re.compile(r"(\d+): (\D+)")

_ASK = f"""Each numbered sentence below comes from the report of a chest CT. Say for each one which region of the body it is \
about.

The regions are: {", ".join(REGIONS)}.
Lung nodules, opacities, emphysema and bronchiectasis belong to lung; effusions and pneumothorax to pleura; lymph nodes and \
great vessels to mediastinum; coronary arteries and pericardium to heart; liver, kidneys and all else below the diaphragm to \
abdomen; ribs, sternum and spine to bone; hiatal hernia to esophagus; the windpipe and main bronchi to trachea and bronchie.
A sentence that goes on with the one before it belongs to the same region. Write {OTHER} for one that is about no region, such \
as a remark on technique or on other examinations.

Answer with one line for each sentence: its number, a colon and the region, for example "1: lung".
"""


def question(sentences: Sequence[str], before: str = "") -> str:
    """The text of one question; `before` is the sentence that came before these, if they go on in a report."""
    lead = f"\nThe sentence before these was: {before}\n" if before else ""
    return "\n".join([_ASK + lead, *(f"{i}. {sentence}" for i, sentence in enumerate(sentences, 1))])


def read(answer: str, count: int) -> list[str]:
    """The choice for each of `count` sentences. Raises ValueError, in words, unless the answer is a line for each in order."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if len(lines) != count:
        raise ValueError(f"the model answered {len(lines)} lines for {count} sentences")
    chosen = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) != number or match[2] not in CHOICES:
            raise ValueError(f"the model's answer for sentence {number} is no number with a region")
        chosen.append(match[2])
    return chosen


class Answers:
    """The answers that may be written, in a tokenizer's tokens; `end` is the token that ends an answer."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        self._tokenizer, self.end = tokenizer, end
        self.line = functools.cache(self._line)
        self._check()

    def _line(self, number: int) -> list[list[int]]:
        """The tokens of each choice for one sentence."""
        texts = [f"{number}: {choice}\n" for choice in CHOICES]
        return [list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]

    def _check(self) -> None:
        """Raises UserError for a tokenizer that can't write the lines (without digits or line breaks)."""
        both = [ids for number in (1, 2) for ids in self.line(number)]
        read_back = [self._tokenizer.decode(ids) for ids in both]
        wanted = [f"{number}: {choice}" for number in (1, 2) for choice in CHOICES]
        if [text.strip() for text in read_back] != wanted or not all(text.endswith("\n") for text in read_back):
            raise UserError("the model's tokenizer can't write lines such as '1: lung'", fix="Choose another chat model.")

    def longest(self, count: int) -> int:
        """How many tokens the longest answer for `count` sentences has, its end included."""
        return 1 + sum(max(map(len, self.line(number))) for number in range(1, count + 1))

    def allowed(self, count: int, written: Sequence[int]) -> list[int]:
        """The tokens that may follow `written` in an answer for `count` sentences; the end alone after its last line."""
        at = 0
        for number in range(1, count + 1):
            left, depth = self.line(number), 0
            while True:
                if at == len(written):
                    return sorted({tokens[depth] for tokens in left})
                left = [tokens for tokens in left if tokens[depth] == written[at]]
                at, depth = at + 1, depth + 1
                if not left:
                    return [self.end]  # nothing of ours: end it, reading it back will tell
                if any(len(tokens) == depth for tokens in left):
                    break
        return [self.end]
