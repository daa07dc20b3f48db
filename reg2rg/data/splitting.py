"""Whole reports → region sentences, by a splitter plugin: what a study needs for Region–Report Alignment where none are given.

In: report texts by study. Out: for each the text of every region that a sentence is about, why another splitter stood in, and
how many sentences are about none. That a splitter writes only what the report says, in its order, is checked here.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..anatomy import REGIONS
from ..errors import UserError
from ..files import atomic_file
from ..plugins import registry, resolve
from ..progress import Progress, silent
from . import tables
from .layouts import Source

_AT_ONCE = 64  # reports; what an interrupted run of a slow splitter loses at most
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE = re.compile(r"(?<=[.?!])\s+|[\r\n]+")
_LEAD = re.compile(r"[^:.?!]{0,40}:\s+|\W\s+")  # a heading, or the mark of a list


@dataclasses.dataclass(frozen=True, slots=True)
class Splitter:
    """The plugin `name` with `options`."""

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def made(self) -> str:
        """How its region sentences came about, as a study's provenance keeps it."""
        offer = registry().find("splitter", self.name)
        options = f" with {json.dumps(dict(self.options), sort_keys=True, default=str)}" if self.options else ""
        return f"by splitter '{self.name}' of {offer.package} {offer.version}".rstrip() + options


class Split(NamedTuple):
    """A report's region texts in the order of the regions; `reason`: why the splitter left it to another one, or ""."""

    parts: dict[str, str]
    reason: str = ""


def split_reports(
    reports: Mapping[str, str], splitter: Splitter, progress: Progress = silent, kept: Path | None = None
) -> dict[str, Split]:
    """The region sentences of each study's report; equal texts are split once.

    `kept` names a file of finished texts, from which an interrupted run goes on. Raises UserError where the splitter isn't to
    be had, or breaks its contract (the study is named, its text isn't quoted).
    """
    texts = {text: study for study, text in reports.items() if text.strip()}
    memory = _Memory(kept, splitter)
    new = [text for text in texts if text not in memory]
    tool = resolve("splitter", splitter.name, splitter.options, progress=progress) if new else None
    for start in range(0, len(new), _AT_ONCE):
        progress("split", len(texts) - len(new) + start, len(texts))
        for text, split in _splits(tool, new[start : start + _AT_ONCE]):
            _check(text, split.parts, splitter.name, texts[text])
            memory.add(text, split)
    if texts:
        progress("split", len(texts), len(texts))
    return {study: memory[text] if text.strip() else Split({}) for study, text in reports.items()}


def _splits(tool: Any, texts: Sequence[str]) -> Iterator[tuple[str, Split]]:
    together = hasattr(tool, "split_all")
    parts = list(tool.split_all(texts)) if together else [tool.split(text) for text in texts]
    reasons = getattr(tool, "fallbacks", {}) if together else {}
    for place, (text, found) in enumerate(zip(texts, parts, strict=True)):
        yield text, Split({region: found[region] for region in [*REGIONS, *found] if region in found}, reasons.get(place, ""))


def _check(report: str, parts: Mapping[str, str], name: str, study: str) -> None:
    """Raises UserError unless each part has a region and says, in the report's order, words of the report."""
    for region, part in parts.items():
        if region not in REGIONS or not isinstance(part, str) or not part.strip():
            raise UserError(f"splitter '{name}' gave an empty text or an unknown region ({region!r})", study, _fix(name))
        words = iter(_TOKEN.findall(report))
        if not all(word in words for word in _TOKEN.findall(part)):
            raise UserError(f"splitter '{name}' wrote for '{region}' what the report doesn't say", study, _fix(name))


def _fix(name: str) -> str:
    return f"The plugin breaks its contract: reg2rg plugins check {name} --kind splitter"


def left_out(report: str, parts: Mapping[str, str]) -> int:
    """How many sentences of a report stand in none of its parts (headings and the marks of lists are no sentences)."""
    written = [" ".join(part.split()) for part in parts.values()]
    return sum(not any(sentence in part for part in written) for sentence in _sentences(report))


def _sentences(text: str) -> Iterator[str]:
    for raw in _SENTENCE.split(text):
        sentence = " ".join(raw.split())
        if lead := _LEAD.match(sentence):
            sentence = sentence[lead.end() :]
        if any(c.isalpha() for c in sentence) and not sentence.endswith(":"):
            yield sentence


# --- studies ---------------------------------------------------------------------------------------------------------------


def with_sentences(sources: Sequence[Source], splitter: Splitter | None, progress: Progress = silent) -> list[Source]:
    """The sources, where those with a whole report alone got region sentences by `splitter`; None leaves them as they are."""
    bare = {source.id: source.written or source.report for source in sources if lacks_sentences(source)}
    if splitter is None or not bare:
        return list(sources)
    made, found = splitter.made(), split_reports(bare, splitter, progress)
    return [_with(source, found[source.id], made) if source.id in found else source for source in sources]


def lacks_sentences(source: Source) -> bool:
    """Whether a study has a whole report and no region sentences."""
    return bool(source.report) and not source.region_reports


def _with(source: Source, split: Split, made: str) -> Source:
    how = f"{made}; by another one here, since {split.reason}" if split.reason else made
    return dataclasses.replace(
        source, region_reports=split.parts, region_sentences=how, left_to_another=bool(split.reason), written=""
    )


# --- tables ----------------------------------------------------------------------------------------------------------------


def read_reports(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Study → whole report of a table, line breaks kept. Raises UserError for a table that has region sentences alone."""
    rows = tables.read_table(path)
    if not columns and tables.column(rows, ["Anatomy"]) and tables.column(rows, ["Sentence"]):
        texts = tables.region_texts(path, rows)
    else:
        texts = tables.whole_texts(path, rows, columns)[0]
    reports = {study: texts.written.get(study, text) for study, text in texts.reports.items()}
    if not any(text.strip() for text in reports.values()):
        fix = "It has region sentences: no need to split." if texts.regions else "Name its column with --report-column."
        raise UserError("the table holds no whole report", path, fix)
    return reports


def check_out(out: Path, reports: Path) -> None:
    """Raises UserError where the table can't be written to `out`, before a slow splitter begins."""
    if out.is_dir() or out.resolve() == reports.resolve():
        what = "this is a folder" if out.is_dir() else "this is the table of whole reports itself"
        raise UserError(f"{what}, and the region report table is a new file", out, "Name another file with --out.")
    out.parent.mkdir(parents=True, exist_ok=True)


def write_table(path: Path, reports: Mapping[str, str], splits: Mapping[str, Split]) -> None:
    """A region report table: Volumename, Anatomy, Sentence; the row with an empty Anatomy is the whole report."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Volumename", "Anatomy", "Sentence"])
        for study, report in ((study, report) for study, report in reports.items() if report.strip()):
            name = f"{study}.nii.gz"
            writer.writerow([name, "", " ".join(report.split())])
            writer.writerows([name, region, text] for region, text in splits[study].parts.items())


def counts(reports: Mapping[str, str], splits: Mapping[str, Split]) -> dict[str, Any]:
    """What a split gave: studies with each region, sentences of no region, and the reasons why another splitter stood in."""
    reasons: dict[str, int] = {}
    for split in splits.values():
        if split.reason:
            reasons[split.reason] = reasons.get(split.reason, 0) + 1
    return {
        "n": len(reports),
        "empty": sum(not report.strip() for report in reports.values()),
        "regions": {region: sum(region in split.parts for split in splits.values()) for region in REGIONS},
        "without_region": sum(left_out(reports[study], split.parts) for study, split in splits.items()),
        "fallbacks": sum(reasons.values()),
        "reasons": reasons,
    }


class _Memory:
    """Finished texts → splits; with a file, a line for each as it comes, so that an interrupted run goes on from there.

    Texts are kept as hashes. Lines of another splitter, and a half line that a killed run left, are not read.
    """

    def __init__(self, path: Path | None, splitter: Splitter) -> None:
        self._path, self._made = path, splitter.made()
        self._found: dict[str, Split] = dict(_lines(path, self._made)) if path and path.is_file() else {}
        if path and path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._found

    def __getitem__(self, text: str) -> Split:
        return self._found[_key(text)]

    def add(self, text: str, split: Split) -> None:
        self._found[_key(text)] = split
        if self._path:
            line = {"made": self._made, "text": _key(text), "parts": split.parts, "reason": split.reason}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _lines(path: Path, made: str) -> Iterable[tuple[str, Split]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if row["made"] == made:
                yield row["text"], Split(row["parts"], row["reason"])
        except (ValueError, KeyError, TypeError):
            continue
