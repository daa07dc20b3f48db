"""Sequences of reports that need no memory for their texts: on disk where they are many, and made as they are read.

A metric takes any sequence of reports, so nothing but the reading and the rows of the floors needs to know.
"""

from __future__ import annotations

import abc
import array
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from ..contracts import GroundedReport, RegionSection
from .scratch import Scratch

LIMIT = 8_000_000  # characters that a shelf holds in memory before it moves to disk: some 3,000 reports
AT_ONCE = 1000  # reports read from disk together
Reports = Sequence[GroundedReport]
Change = Callable[[int, GroundedReport], GroundedReport]


class _Sequence(Sequence[GroundedReport]):
    """Places, negative ones too, and slices, from `_read`."""

    @abc.abstractmethod
    def _read(self, places: Sequence[int]) -> Iterator[GroundedReport]: ...

    @overload
    def __getitem__(self, at: int) -> GroundedReport: ...
    @overload
    def __getitem__(self, at: slice) -> list[GroundedReport]: ...
    def __getitem__(self, at: int | slice) -> GroundedReport | list[GroundedReport]:
        if isinstance(at, slice):
            return list(self._read(range(len(self))[at]))
        return next(self._read([range(len(self))[at]]))

    def __iter__(self) -> Iterator[GroundedReport]:
        return self._read(range(len(self)))

    def __reduce__(self) -> tuple[type[list], tuple[list[GroundedReport]]]:
        """Goes to other processes as a list: a metric may have a pool of its own."""
        return list, (list(self),)


class Shelf(_Sequence):
    """Reports that were added one by one: a list while they are few, else a temporary file that ends with the shelf.

    `limit`: characters that are held in memory. Raises UserError where the folder of temporary files is full.
    """

    def __init__(self, reports: Iterable[GroundedReport] = (), limit: int | None = None) -> None:
        self._limit = LIMIT if limit is None else limit
        self._held: list[GroundedReport] | None = []
        self._size = 0
        self._ends = array.array("q", [0])
        self._file: Scratch | None = None
        for report in reports:
            self.append(report)

    def append(self, report: GroundedReport) -> None:
        """One more report."""
        if self._held is None:
            self._write(report)
            return
        self._held.append(report)
        # too much where fields share a text, which does no harm
        self._size += len(report.report) + len(report.reference)
        self._size += sum(len(s.report) + len(s.reference) for s in report.sections)
        if self._size > self._limit:
            self._file = Scratch("the reports")
            held, self._held = self._held, None
            for one in held:
                self._write(one)

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._held is None else len(self._held)

    def _write(self, report: GroundedReport) -> None:
        assert self._file is not None
        line = _packed(report)
        self._file.add(line)
        self._ends.append(self._ends[-1] + len(line))

    def _read(self, places: Sequence[int]) -> Iterator[GroundedReport]:
        if self._held is None:
            return map(_unpacked, self._lines(places))
        return map(self._held.__getitem__, places)

    def texts(self, places: Sequence[int]) -> Iterator[GroundedReport]:
        """The reports at some places; those from disk have no sections, which takes a fifth of the time."""
        return self._read(places) if self._held is not None else map(_text, self._lines(places))

    def _lines(self, places: Sequence[int]) -> Iterator[bytes]:
        for first in range(0, len(places), AT_ONCE):
            some = places[first : first + AT_ONCE]
            if isinstance(some, range) and some.step == 1:  # in a row: one read
                start = self._ends[some[0]]
                block = self._bytes(start, self._ends[some[-1] + 1])
                parts = (block[self._ends[i] - start : self._ends[i + 1] - start] for i in some)
            else:
                parts = (self._bytes(self._ends[i], self._ends[i + 1]) for i in some)
            yield from parts

    def _bytes(self, start: int, end: int) -> bytes:
        assert self._file is not None
        return self._file.read(start, end - start)


def _packed(report: GroundedReport) -> bytes:
    """Whole texts, a line end, and the rest; JSON holds no line end of its own."""
    rows = [[s.index, s.region, s.named, s.confidence, s.report, s.reference] for s in report.sections]
    parts = [report.study, report.report, report.reference], [rows, dict(report.settings)]
    return "\n".join(json.dumps(part, ensure_ascii=False) for part in parts).encode("utf-8", "surrogatepass")


def _unpacked(line: bytes) -> GroundedReport:
    texts, _, rest = line.decode("utf-8", "surrogatepass").partition("\n")
    study, report, reference = json.loads(texts)
    rows, settings = json.loads(rest)
    return GroundedReport(study, tuple(RegionSection(*row) for row in rows), report, reference, settings)


def _text(line: bytes) -> GroundedReport:
    study, report, reference = json.loads(line[: line.index(b"\n")].decode("utf-8", "surrogatepass"))
    return GroundedReport(study, (), report, reference)


class View(_Sequence):
    """Reports of another sequence: those at `places`, each as `change` (of its place in the view and itself) makes it."""

    def __init__(self, source: Reports, places: np.ndarray | None = None, change: Change | None = None) -> None:
        self._source, self._change = source, change
        self._places = places

    def __len__(self) -> int:
        return len(self._source) if self._places is None else len(self._places)

    def _read(self, places: Sequence[int]) -> Iterator[GroundedReport]:
        for number, report in zip(places, self._of_source(places), strict=True):
            yield report if self._change is None else self._change(number, report)

    def of_texts(self) -> Reports:
        """The same without sections, where no change wants them."""
        return View(texts_alone(self._source), self._places) if self._change is None else self

    def _of_source(self, places: Sequence[int]) -> Iterator[GroundedReport]:
        return read(self._source, places if self._places is None else self._places[np.asarray(places, dtype=np.int64)])


class _Texts(_Sequence):
    """A shelf's reports without what is slow to read."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def __len__(self) -> int:
        return len(self._shelf)

    def _read(self, places: Sequence[int]) -> Iterator[GroundedReport]:
        return self._shelf.texts(places)


def texts_alone(reports: Reports) -> Reports:
    """The same reports for whom needs study, report and reference alone: sections may be missing."""
    if isinstance(reports, Shelf):
        return _Texts(reports)
    return reports.of_texts() if isinstance(reports, View) else reports


def at(reports: Reports, places: np.ndarray) -> Reports:
    """The reports at ascending places: themselves where those are all."""
    return reports if len(places) == len(reports) else View(reports, places)


def with_reference(reports: Reports) -> Reports:
    """Those that have a reference text."""
    return at(reports, np.flatnonzero([bool(r.reference.strip()) for r in texts_alone(reports)]))


def read(reports: Reports, places: Sequence[int] | np.ndarray) -> Iterator[GroundedReport]:
    """The reports at some places, in their order."""
    if isinstance(reports, _Sequence):
        return reports._read(places if isinstance(places, range) else _in_a_row(places))
    return (reports[int(i)] for i in places)


def _in_a_row(places: Sequence[int] | np.ndarray) -> Sequence[int]:
    """The same places, as a range where they are one."""
    if len(places) and int(places[-1]) - int(places[0]) == len(places) - 1 and (np.diff(places) == 1).all():
        return range(int(places[0]), int(places[-1]) + 1)
    return [int(i) for i in places]


def parts(n: int, size: int = 2 * AT_ONCE) -> Iterator[slice]:
    """Slices that cover 0..n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
