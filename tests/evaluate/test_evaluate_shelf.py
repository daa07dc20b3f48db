"""Reports on disk are the reports that were put there, and score as a list of them does; memory doesn't grow with them."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.evaluate import read_reports, regional, shelf
from reg2rg.evaluate.assess import assess
from reg2rg.evaluate.reading import ReportsFile
from reg2rg.evaluate.shelf import Shelf, View, read, texts_alone

TEXT = st.text(max_size=30)
SECTION = st.builds(
    RegionSection,
    st.integers(0, 9),
    st.sampled_from(REGIONS),
    st.sampled_from([*REGIONS, "", "moon"]),
    st.none() | st.floats(0, 1),
    TEXT,
    TEXT,
)
REPORT = st.builds(
    GroundedReport,
    st.text(min_size=1, max_size=8),
    st.lists(SECTION, max_size=3).map(tuple),
    TEXT,
    TEXT,
    st.dictionaries(TEXT, st.integers() | TEXT, max_size=2),
)
ALL = st.characters(exclude_categories=())


@given(st.lists(REPORT, max_size=12), st.integers(0, 200), st.slices(12))
def test_a_shelf_is_the_list_of_its_reports(reports: list[GroundedReport], limit: int, part: slice) -> None:
    kept = Shelf(reports, limit)
    assert list(kept) == reports and len(kept) == len(reports)
    assert kept[part] == reports[part]
    assert [kept[i] for i in range(-len(reports), len(reports))] == [*reports, *reports]
    odd = list(range(len(reports)))[::-2]
    assert list(read(kept, odd)) == [reports[i] for i in odd]


@given(st.text(alphabet=ALL))
def test_any_text_can_be_kept(text: str) -> None:
    assert Shelf([GroundedReport("a", (), text)], 0)[0].report == text


def test_a_shelf_can_be_read_by_two_at_once_and_while_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "AT_ONCE", 2)
    reports = [GroundedReport(f"s{i}", (), f"text {i}") for i in range(7)]
    kept = Shelf(reports[:5], 0)
    pairs = []
    for one, other in zip(kept, View(kept, np.arange(5)[::-1]), strict=True):
        pairs.append((one.study, other.study))
        if len(kept) < 7:
            kept.append(reports[len(kept)])
    assert pairs == [(f"s{i}", f"s{4 - i}") for i in range(5)]
    assert list(kept) == reports
    with pytest.raises(IndexError):
        kept[7]


def test_a_view_changes_reports_as_they_are_read() -> None:
    kept = Shelf([GroundedReport(f"s{i}", (), "x") for i in range(5)], 0)
    view = View(kept, np.array([4, 1]), lambda place, r: GroundedReport(r.study, (), f"{place}"))
    assert [(r.study, r.report) for r in view] == [("s4", "0"), ("s1", "1")]
    assert view[-1].study == "s1" and [r.study for r in view[:1]] == ["s4"]
    assert [r.study for r in View(view, np.array([1]))] == ["s1"]


def test_other_processes_get_a_list() -> None:
    kept = Shelf([GroundedReport("a", (), "x"), GroundedReport("b", (), "y")], 0)
    for some in (kept, View(kept, np.array([1])), texts_alone(kept)):
        assert pickle.loads(pickle.dumps(some)) == list(some)


def test_whole_texts_come_without_sections_where_that_is_faster() -> None:
    section = RegionSection(0, "lung", "lung", None, "x", "y")
    reports = [GroundedReport(f"s{i}", (section,), "x\ny", "\u2028", {"a": 1}) for i in range(4)]
    kept = Shelf(reports, 0)
    bare = [dataclasses.replace(r, sections=(), settings={}) for r in reports]
    assert list(texts_alone(kept)) == bare and list(texts_alone(View(kept, np.array([2, 0])))) == [bare[2], bare[0]]
    assert list(texts_alone(reports)) == list(kept) == reports
    changed = View(kept, change=lambda place, r: dataclasses.replace(r, report=r.sections[0].reference))
    assert [r.report for r in texts_alone(changed)] == ["y"] * 4


# --- scores --------------------------------------------------------------------------------------------------------------


def reports(n: int) -> list[GroundedReport]:
    """Studies of three regions; some are written otherwise, some under another name, some without a reference."""
    made = []
    rng = np.random.default_rng(3)
    for i in range(n):
        said = [f"There is a nodule of {rng.integers(2, 9)} mm in slice {rng.integers(1, 99)}.", "No pleural effusion is seen."]
        rows = []
        for k, region in enumerate(("heart", "lung", "pleura")):
            reference = said[int(rng.integers(2))]
            written = reference if rng.random() < 0.5 else said[int(rng.integers(2))]
            rows.append(RegionSection(k, region, region if rng.random() < 0.8 else "bone", 0.5, written, reference))
        whole = (" ".join(getattr(s, side) for s in rows) for side in ("report", "reference"))
        report, reference = whole
        made.append(GroundedReport(f"s{i}", tuple(rows), report, reference if i % 9 else ""))
    return made


def test_reports_on_disk_score_as_those_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = reports(60)
    metrics = ["bleu", "rouge", "cider", "clinical", "recognition", "length"]
    other = ReportsFile(made[5:] + made[:3], {})
    found = assess(ReportsFile(made, {}), metrics=metrics, against=other, ci=30)
    monkeypatch.setattr(shelf, "LIMIT", 0)
    monkeypatch.setattr(regional, "LIMIT", 0)
    monkeypatch.setattr(shelf, "AT_ONCE", 7)
    kept = Shelf(made)
    assert kept._file is not None
    assert assess(ReportsFile(kept, {}), metrics=metrics, against=ReportsFile(Shelf(other.reports), {}), ci=30) == found


def test_a_large_file_is_read_onto_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shelf, "LIMIT", 100)
    path = tmp_path / "reports.csv"
    path.write_text("study,prediction,reference\n" + "".join(f"s{i},text {i},text {i} more\n" for i in range(50)))
    found = read_reports(path).reports
    assert isinstance(found, Shelf) and found._file is not None
    assert [r.report for r in found] == [f"text {i}" for i in range(50)]


_PEAK = """
import sys
from reg2rg.cli.app import run
try:
    run(sys.argv[1:])
finally:  # not getrusage, which counts what the process of the tests held
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")), file=sys.stderr)
"""


def peak(path: Path, n: int) -> int:
    """KiB that the command takes for n reports of 4 kB."""
    import json

    made = reports(500)
    with path.open("w") as file:
        for i in range(n):
            line = made[i % 500].to_json()
            line["study"] = f"s{i}"
            line["report"] += f" Slice {i} of series {i % 977}." * 30
            line["reference"] += f" Slice {i} of series {i % 983}." * 30
            file.write(json.dumps(line) + "\n")
    given = ["evaluate", str(path), "--metrics", "bleu,clinical,recognition,length", "--ci", "100", "--json"]
    done = subprocess.run([sys.executable, "-c", _PEAK, *given], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == n
    return int(done.stderr.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system tells a process's peak otherwise")
@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_reports(tmp_path: Path) -> None:
    """8,000 further reports are 32 MB of text, and took 120 MB when they were held."""
    few, many = (peak(tmp_path / f"{n}.jsonl", n) for n in (4000, 12000))
    assert many - few < 16 * 1024, (few, many)
