"""A free report → its sentences, in order and in its own words; blanks and line breaks alone are made single blanks.

Cut is after an end mark and between lines, not after abbreviations, ordinals ("the 2. rib"), inside brackets, or where a line
goes on. Headings of sections and the marks of lists are pieces of their own, so that no character is lost. Work is linear in
the length of the text, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple

Kind = Literal["sentence", "background", "heading", "marker"]


class Piece(NamedTuple):
    """A stretch of a report; `background`: a sentence below a heading as Technique, History or Comparison."""

    text: str
    kind: Kind


# A heading ends with a colon, or is a line of its own.
_FINDINGS = (
    r"(?:ct |main )?findings?|impressions?|conclusions?|results?|opinion|comments?|diagnos[ie]s|summary|report|recommendations?"
)
_BACKGROUND = (
    r"(?:ct |imaging |scanning |examination )?(?:technique|protocol|method|procedure)s?|(?:type of )?exam(?:ination)?|"
    r"clinical(?: (?:information|history|data|details|indications?|questions?|diagnosis))?|(?:medical )?history|indications?|"
    r"comparisons?|reason for (?:exam(?:ination)?|study)"
)
_HEADING = re.compile(rf"(?:(?P<background>{_BACKGROUND})|{_FINDINGS})(?: ?:(?!\d)|$)", re.IGNORECASE)
# a mark of a list; before a small letter a number is an ordinal
_MARKER = re.compile(r"(?:[-–—•*·▪●○►]{1,9}|\(?\d{1,2}[.)](?! [^\W\d_A-Z])|\(?[a-z]\)) (?=\S)")
_NEW_LINE_MARKER = re.compile(r"[-–—•*·▪●○►]|\(?\d{1,2}[.)] |\(?[a-z]\) ")
_CLOSED = re.compile(r"\([^()]{0,200}\)")
_END = re.compile(r"""(?<=[.!?…]) |(?<=[.!?…]["'”’)\]]) |(?<=[a-z]{2}[.])(?=[A-Z][a-z])""")
_ORDINAL = re.compile(r"\d{1,2}\.")

_ALWAYS = frozenset(
    ("dr.", "prof.", "mr.", "mrs.", "ms.", "st.", "vs.", "e.g.", "i.e.", "approx.", "cf.", "ca.", "fig.", "resp.", "incl.")
)
_BEFORE_NUMBERS = frozenset(("no.", "nr.", "segm.", "seg.", "th.", "vert."))
_BEFORE_MORE = frozenset(
    ("sup.", "inf.", "ant.", "post.", "lat.", "med.", "max.", "min.", "diam.", "bil.", "bilat.", "subseg.", "segm.", "seg.")
)
_GO_ON = frozenset(
    ("in", "and", "or", "at", "of", "on", "to", "with", "x", "by", "from", "which", "diameter", "thick", "long", "wide", "size")
)


def cut(report: str) -> list[Piece]:
    """The pieces of a report in order; `" ".join(piece.text)` holds each character of it that is no blank."""
    pieces: list[Piece] = []
    background = False
    for block in _blocks(report):
        if not block:
            background = False  # an empty line ends such a section
            continue
        for piece in _pieces(block):
            if piece.kind == "background":
                background = True
            elif piece.kind == "heading":
                background = False
            of_background = background and piece.kind == "sentence"
            kind: Kind = "background" if of_background else "heading" if piece.kind == "background" else piece.kind
            pieces.append(Piece(piece.text, kind))
    return pieces


def sentences(report: str) -> list[str]:
    """The texts of a report's sentences in order, without headings and marks of lists."""
    return [piece.text for piece in cut(report) if piece.kind in ("sentence", "background")]


def _blocks(report: str) -> Iterator[str]:
    """Lines, joined where one goes on; "" for an empty line."""
    lines: list[str] = []
    for raw in report.splitlines():
        line = " ".join(raw.split())
        if lines and not _goes_on(lines[-1], line):
            yield " ".join(lines)
            lines = []
        if line:
            lines.append(line)
        else:
            yield ""
    if lines:
        yield " ".join(lines)


def _goes_on(before: str, line: str) -> bool:
    if not line or _NEW_LINE_MARKER.match(line) or _heading(line) or _HEADING.fullmatch(before):
        return False
    return line[0].islower() or before[-1] in ",;:(-"


def _pieces(block: str) -> Iterator[Piece]:
    """One block without line breaks, cut; a heading of background has the kind `background` here."""
    brackets = [match.span() for match in _CLOSED.finditer(block)][::-1]
    start = yield from _opening(block, 0)
    for match in _END.finditer(block):
        while brackets and brackets[-1][1] <= match.start():
            brackets.pop()
        inside = bool(brackets) and brackets[-1][0] < match.start()
        if match.start() <= start or inside or not _ends(block, match.start(), match.end()):
            continue
        yield Piece(block[start : match.start()], "sentence")
        start = yield from _opening(block, match.end())
    if start < len(block):
        yield Piece(block[start:], "sentence")


def _opening(block: str, start: int) -> Generator[Piece, None, int]:
    """The marks and headings that a sentence begins with; returns where its own words start."""
    while match := _MARKER.match(block, start) or _heading(block, start):
        heading = match.re is _HEADING
        kind: Kind = "marker" if not heading else "background" if match["background"] else "heading"
        yield Piece(match.group().rstrip(), kind)
        start = match.end() + (heading and block[match.end() : match.end() + 1] == " ")
    return start


def _heading(text: str, start: int = 0) -> re.Match[str] | None:
    """The heading that stands at `start`; without a colon it begins with a capital, or it is the end of a sentence."""
    match = _HEADING.match(text, start)
    return match if match and (match.group().endswith(":") or not text[start].islower()) else None


def _ends(block: str, start: int, end: int) -> bool:
    """Whether a sentence ends before `start`, where an end mark stands; the next one would begin at `end`."""
    word = block[max(0, start - 16) : start].rpartition(" ")[2].lstrip("(").lower()
    after = block[end : end + 16].partition(" ")[0].rstrip(",.;:")
    number, small = after[:1].isdigit(), after[:1].islower()
    if block[start - 1] in ")]" and small:
        return False  # the mark is the bracket's own: "(a cyst?) is seen"
    if start == end or not word.endswith("."):
        return True
    goes_on = word in _ALWAYS or after in _GO_ON or (number and word in _BEFORE_NUMBERS)
    return not goes_on and not (word in _BEFORE_MORE and (number or small)) and not (small and _ORDINAL.fullmatch(word))
