"""The contact sheet of a store: every study with its picture and what quality control flagged, the flagged ones first.

In: the rows of `STORE/qc.csv` (docs/formats.md) as plain data, and a function that gives a study's picture. Out: one page, or
for more than `PER_PAGE` studies an index without pictures and beside it a folder of pages with them. Every page filters and
sorts by itself and asks the network for nothing; pictures are read page by page, so that memory stays flat.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from ..anatomy import PALETTE, REGIONS
from ..errors import UserError
from ..files import write_text
from .render import render

PER_PAGE = 200
SCRIPTS, STYLES = ("contact.js",), ("style.css", "contact.css")
# what can be sorted by: the table's columns, and how the page calls them
NUMBERS = {f"{r.replace(' ', '_')}_ml": f"{r} ml" for r in REGIONS} | {
    "lung_left_ml": "left lung ml",
    "lung_right_ml": "right lung ml",
    "lung_left_right": "left / right lung",
    "lung_pleura_dice": "Dice of lung and pleura",
    "pleura_in_lung": "share of the pleura in the lung",
    "heart_left_mm": "heart left of the spine, mm",
}
_NOTES = {"not_in_view": "not in view", "not_given": "not given", "cut": "cut by the border"}
_PAGE = re.compile(r"page-\d{3,}\.html")

Row = Mapping[str, str]
Picture = Callable[[str], bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A study on the page: `notes` is what is no flag, such as {"not in view": ["thyroid"]}."""

    id: str
    key: str
    flags: list[str]
    why: list[str]
    notes: dict[str, list[str]]
    numbers: dict[str, float]
    picture: str = ""

    @property
    def tags(self) -> list[str]:
        """What it can be found by, without the sides of a cut."""
        return [*self.flags, *(f"{words}: {item.partition(' (')[0]}" for words, items in self.notes.items() for item in items)]


def write_contact_sheet(
    path: Path, rows: Sequence[Row], picture: Picture, *, explain: Mapping[str, str], title: str = ""
) -> list[Path]:
    """Writes the page, and beyond `PER_PAGE` studies a folder of the page's name beside it; gives all files written.

    `picture` gives a PNG by a study's id (empty: none); `explain` says what the flags mean. The same input gives the same
    bytes. Raises UserError where the folder beside the page holds something else.
    """
    path, entries = Path(path), sorted(_entries(rows), key=lambda e: (-len(e.flags), e.id))
    old = _old_pages(path.with_suffix(""))
    sheet = _Sheet(path, picture, explain, title or "Quality control", len(entries), sum(bool(e.flags) for e in entries))
    written = sheet.write_pages(entries) if len(entries) > PER_PAGE else []
    if not written:
        sheet.write(path, entries)
    for page in old:
        if page not in written:
            page.unlink()
    return [path, *written]


@dataclasses.dataclass(frozen=True, slots=True)
class _Sheet:
    """What all pages of one sheet share."""

    path: Path
    picture: Picture
    explain: Mapping[str, str]
    title: str
    total: int
    flagged: int

    def write_pages(self, entries: Sequence[Entry]) -> list[Path]:
        """Writes the pages with pictures, then the index that leads to them; gives the former."""
        folder = self.path.with_suffix("")
        parts = [entries[i : i + PER_PAGE] for i in range(0, len(entries), PER_PAGE)]
        names = [f"page-{i + 1:03d}.html" for i in range(len(parts))]
        for i, (name, part) in enumerate(zip(names, parts, strict=True)):
            beside = [(names[k], f"{word} page") for k, word in ((i - 1, "previous"), (i + 1, "next")) if 0 <= k < len(names)]
            links = [(f"../{quote(self.path.name)}", "all studies"), *beside]
            self.write(folder / name, part, links=links, place=f"Page {i + 1} of {len(parts)}. ")
        hrefs = [f"{quote(folder.name)}/{name}" for name in names]
        targets = [f"{href}#{e.key}" for href, part in zip(hrefs, parts, strict=True) for e in part]
        self.write(self.path, entries, links=[(h, f"page {i + 1}") for i, h in enumerate(hrefs)], targets=targets)
        return [folder / name for name in names]

    def write(
        self,
        path: Path,
        entries: Sequence[Entry],
        *,
        links: Sequence[tuple[str, str]] = (),
        place: str = "",
        targets: Sequence[str] = (),
    ) -> None:
        """Writes one page: with pictures, or (`targets`: where they are) an index without."""
        kinds = _kinds(entries)
        place_of = {tag: str(i) for i, (_, tag, _) in enumerate(kinds)}
        listed = [(e, " ".join(place_of[t] for t in e.tags), _values(e)) for e in entries]
        html = render(
            "contact.html.j2",
            styles=STYLES,
            scripts=SCRIPTS,
            title=self.title,
            notes=(),
            explain=self.explain,
            total=self.total,
            flagged=self.flagged,
            entries=[] if targets else [(_pictured(e, self.picture), tags, values) for e, tags, values in listed],
            index=[(e.id, tags, values, to, e.why) for (e, tags, values), to in zip(listed, targets, strict=False)],
            kinds=kinds,
            links=links,
            place=place,
            columns=list(NUMBERS.values()),
            palette=PALETTE,
        )
        write_text(path, html)


def _kinds(entries: Sequence[Entry]) -> list[tuple[str, str, int]]:
    """What a page can be filtered by: ("flag" or "note", its name, studies), flags first, the frequent ones first."""
    flags, tags = (Counter(chain.from_iterable(found)) for found in ([e.flags for e in entries], [e.tags for e in entries]))
    notes = {tag: n for tag, n in tags.items() if tag not in flags}
    return [
        (kind, tag, n)
        for kind, found in (("flag", flags), ("note", notes))
        for tag, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]


def _entries(rows: Sequence[Row]) -> Iterator[Entry]:
    for i, row in enumerate(rows):
        notes = {words: items for column, words in _NOTES.items() if (items := _listed(row.get(column, "")))}
        numbers = {c: _number(row, c) for c in NUMBERS if row.get(c)}
        yield Entry(row["study"], f"s{i}", _listed(row["flags"]), _listed(row.get("why", "")), notes, numbers)


def _number(row: Row, column: str) -> float:
    try:
        return float(row[column])
    except ValueError as error:
        raise UserError(f"'{row[column]}' under {column} of study '{row['study']}' is no number") from error


def _listed(cell: str) -> list[str]:
    return [item for item in cell.split("; ") if item]


def _pictured(entry: Entry, picture: Picture) -> Entry:
    data = picture(entry.id)
    return dataclasses.replace(entry, picture=base64.b64encode(data).decode("ascii")) if data else entry


def _old_pages(folder: Path) -> list[Path]:
    """The pages of an earlier sheet. Raises UserError where the folder is something else."""
    if not folder.exists():
        return []
    names = list(folder.iterdir()) if folder.is_dir() else [folder]
    if other := [p for p in names if not _PAGE.fullmatch(p.name) and not p.name.startswith(".")]:
        raise UserError(
            f"the pages with pictures would go here, but it holds '{other[0].name}'", folder, "Give the page another name."
        )
    return [p for p in names if _PAGE.fullmatch(p.name)]


def _values(entry: Entry) -> str:
    return ",".join(f"{entry.numbers[c]:g}" if c in entry.numbers else "" for c in NUMBERS)
