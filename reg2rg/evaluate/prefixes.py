"""Region prefixes in written reports: "The region 3 is lung: …" found, removed and read back, as the paper's scripts do.

`rm_region_text` prepares a whole report for scoring, `parse_by_name` gives each region its text, `mentions` the slots.
Texts of CTRG end with "The other report is: {name: text}{name: text}", which `flatten_tail` turns into plain sentences.
"""

from __future__ import annotations

import dataclasses
import re

from ..anatomy import REGIONS

_PREFIX = re.compile(r"The region \d+ is [^:]+: ")
# a name without its colon ends at the next prefix instead of swallowing it
_MENTION = re.compile(r"The region (\d+) is ((?:(?!The region \d+ is)[^:])*):")
_NEXT = re.compile(r"The region \d+ is")
_NAMED = {r: re.compile(rf"The region \d+ is {r}:(.+?)(?=The region \d+ is|$)", re.DOTALL) for r in REGIONS}
_CUT = re.compile(rf"(?:The region \d+ is ?(?:{'|'.join(REGIONS)})?)?")
_TAIL = re.compile(r"The other report is(?:: ?)?")
_TAIL_OPENING = re.compile(r"\{[^{}:]*: ?")
_BLANKS = re.compile(r"\s+")


@dataclasses.dataclass(frozen=True, slots=True)
class Mention:
    """A section as it was written: the slot's number, the name up to the colon, the text up to the next slot."""

    slot: int
    name: str
    text: str


def collapse(text: str) -> str:
    """Runs of white space as one blank, none at the ends."""
    return _BLANKS.sub(" ", text).strip()


def has_prefixes(text: str) -> bool:
    """Whether a region prefix stands in `text`."""
    return _NEXT.search(text) is not None


def only_prefixes(text: str) -> bool:
    """Whether the text is nothing but prefixes, the last of them maybe cut short: a form that was never filled in."""
    return has_prefixes(text) and _CUT.fullmatch(_MENTION.sub("", text).strip()) is not None


def rm_region_text(text: str) -> str:
    """The text without region prefixes, blanks collapsed; a prefix ends at its first colon that a blank follows."""
    return collapse(_PREFIX.sub("", text))


def flatten_tail(text: str) -> str:
    """CTRG's tail as plain sentences: its opening, each "{name: " and each "}" removed."""
    opening = _TAIL.search(text)
    if opening is None:
        return text
    tail = _TAIL_OPENING.sub("", text[opening.end() :]).replace("}", " ")
    return collapse(f"{text[: opening.start()]} {tail}")


def plain(text: str) -> str:
    """The whole report for scoring: prefixes removed, then the tail flattened."""
    return flatten_tail(rm_region_text(text))


def parse_by_name(text: str) -> dict[str, str]:
    """Region → text of its sections, joined by a blank where the name recurs; only known names right before the colon."""
    found = {}
    for region, pattern in _NAMED.items():
        parts = (part.strip() for part in pattern.findall(text))
        if joined := " ".join(part for part in parts if part):
            found[region] = joined
    return found


def mentions(text: str) -> list[Mention]:
    """Every section in written order: names as they stand (blanks trimmed), the CTRG tail left out."""
    tail = _TAIL.search(text)
    text = text[: tail.start()] if tail else text
    found = list(_MENTION.finditer(text))
    sections = []
    for match in found:
        following = _NEXT.search(text, match.end())
        end = following.start() if following else len(text)
        sections.append(Mention(int(match[1]), match[2].strip(), collapse(text[match.end() : end])))
    return sections


def slots(text: str) -> dict[int, str]:
    """Slot → name; the last mention of a slot wins."""
    return {mention.slot: mention.name for mention in mentions(text)}
