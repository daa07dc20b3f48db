"""benchmarks/scale.py: what it measures on a small study, its arithmetic, and its place in docs/performance.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scale
import scale_measure as measure

DATA: dict[str, Any] = {
    "size": {
        "shape": [512, 512, 300], "source_mib": 90.0, "source_level6_mib": 85.0, "stored_mib": 60.0, "stored_share": 2 / 3,
        "stored_share_level6": 0.7, "read_seconds": 0.9, "crop_shares": {"heart": 0.1, "trachea and bronchie": 0.2},
    },
    "slopes": [
        {"segmenter": name, "processor_seconds_1": s, "processor_seconds_2": s, "worker_mib": 500.0}
        for name, s in (("precomputed", 3.6), ("threshold", 9.0))
    ],
    "growth": {
        "studies": [500, 2000], "discover_seconds": 0.001, "parent_seconds": 0.003, "resume_seconds": 0.002,
        "parent_kib": 10.0, "parent_mib": [60.0, 75.0], "worker_mib": [88.0, 88.0],
    },
}  # fmt: skip


def test_a_study_is_measured_whole(tmp_path: Path) -> None:
    one = measure.one_study(tmp_path / "one", "small")
    size = measure.stored_study(one, tmp_path / "store", 1)
    assert size["shape"] == [96, 96, 48] and 0 < size["stored_share"] < size["stored_share_level6"] < 2
    assert set(size["crop_shares"]) == {"heart", "trachea and bronchie"} and size["read_seconds"] > 0
    many = measure.linked(one, tmp_path / "many", 4)
    row = measure.watched(many, tmp_path / "out", "--segmenter", "precomputed", "--workers", 1)
    assert len(list((tmp_path / "out" / "studies").glob("*.h5"))) == 4
    assert row["worker_mib"] > 20 and row["parent_mib"] > 20
    assert 0 < row["parent_seconds"] < row["processor_seconds"]


def test_a_study_that_is_refused_is_no_measurement(tmp_path: Path) -> None:
    tiny = measure._tiny_study(tmp_path / "tiny")
    next((tiny / "masks").iterdir()).write_bytes(b"")
    with pytest.raises(RuntimeError, match="refused"):
        measure.watched(tiny, tmp_path / "out", "--segmenter", "precomputed", "--workers", 1)


def test_the_arithmetic() -> None:
    given = DATA["slopes"][0]
    assert scale.hours(DATA, given, 1_000_000, 1) == pytest.approx(1_000_000 * (0.001 + 3.6) / 3600)
    assert scale.hours(DATA, given, 1_000_000, 16) == pytest.approx(1_000_000 * (0.001 + 3.6 / 16) / 3600)
    quick = {**given, "processor_seconds_2": 0.0256}  # the parent hands out no faster than one in 2 ms
    assert scale.hours(DATA, quick, 3_600_000, 256) == pytest.approx(3.0)
    assert scale.needs(DATA, given, 256) == pytest.approx(150 * 1.048576 * 256 / 3.6)
    assert [scale.span(h) for h in (0.25, 12.3, 240)] == ["15 min", "12.3 h", "10 days"]


def test_slopes_leave_out_what_a_run_costs_once() -> None:
    def run(studies: int) -> dict[str, Any]:
        part = {"parent_seconds": 1 + 0.002 * studies, "parent_mib": 50 + studies / 1024, "worker_mib": 88.0}
        return {"studies": studies, "discover_seconds": 0.5 + 0.001 * studies, "made": part, "again": part}

    grown = scale.growth([run(500), run(2000)])
    found = [grown[key] for key in ("discover_seconds", "parent_seconds", "resume_seconds", "parent_kib")]
    assert found == pytest.approx([0.001, 0.002, 0.002, 1.0])


def test_the_tables_go_between_their_marks() -> None:
    text = scale.PAGE.read_text(encoding="utf-8")
    tables = scale.markdown(DATA)
    changed = scale.page(text, tables)
    assert tables in changed and scale.page(changed, tables) == changed
    heads = [line for line in tables.splitlines() if line.startswith(("| one study", "| what a run", "| studies"))]
    assert len(heads) == 3 and all(head in text for head in heads), "python benchmarks/scale.py --write"
    with pytest.raises(SystemExit, match="doesn't have the marks"):
        scale.page("nothing", tables)


@pytest.mark.parametrize("words", [["--cluster"], ["--run", "5"], ["--run", "40", "--write"]], ids=" ".join)
def test_wrong_usage(words: list[str]) -> None:
    done = subprocess.run([sys.executable, Path(scale.__file__), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--run" in done.stderr and done.stdout == ""
