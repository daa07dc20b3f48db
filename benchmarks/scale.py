"""Preprocessing at the scale of data sets: size of the store, memory and seconds a study, and a run that is disturbed.

    python benchmarks/scale.py [--json | --write]          the tables of docs/performance.md, "Preprocessing at scale"
    python benchmarks/scale.py --run 200 [--cluster]       the disturbed run beside a calm one

Measured are one full-size study (512×512×300, ten mask files) and many tiny ones; what 25,692 and 1,000,000 studies take on 1,
16 and 256 cores is arithmetic on that: a study's processor seconds with both cores busy, divided by the cores, behind what one
process does alone (finding the studies). It holds where reading and writing isn't the limit; the table says how much that is.
--run makes phantoms, breaks a tenth of them in ten ways, kills a worker and then the run itself by signal 9, gives the same
command again and compares the store with an undisturbed run's; --cluster does so on a dask scheduler with two workers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import scale_measure as measure
import scale_run
from marked import between

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- scale.py writes from here", "<!-- to here -->"
STUDIES, CORES = (25_692, 1_000_000), (1, 16, 256)
SEGMENTERS = {"precomputed": "masks given", "threshold": "`threshold`"}
Data = dict[str, Any]


def measured(folder: Path) -> Data:
    """All figures as plain data."""
    study = measure.one_study(folder / "study", "full")
    size = measure.stored_study(study, folder / "store")
    slopes = [measure.study_seconds(study, folder / name, name, (1, 3)) for name in SEGMENTERS]
    return {"size": size, "slopes": slopes, "growth": growth(measure.growth(folder / "growth", (500, 2000)))}


def growth(rows: list[Data]) -> Data:
    """What each further study costs a run beside its own making; memory at the shortest and at the longest run."""
    short, long = rows
    more = long["studies"] - short["studies"]

    def slope(run: str, key: str) -> float:
        return float(long[run][key] - short[run][key]) / more

    return {
        "studies": [short["studies"], long["studies"]],
        "discover_seconds": (long["discover_seconds"] - short["discover_seconds"]) / more,
        "parent_seconds": slope("made", "parent_seconds"),
        "resume_seconds": slope("again", "parent_seconds"),
        "parent_kib": slope("made", "parent_mib") * 1024,
        "parent_mib": [short["made"]["parent_mib"], long["made"]["parent_mib"]],
        "worker_mib": [short["made"]["worker_mib"], long["made"]["worker_mib"]],
    }


def hours(data: Data, slope: Data, studies: int, cores: int) -> float:
    """What `studies` take on `cores`: found by one process, then made by all, but no faster than the parent hands them out."""
    found = data["growth"]["discover_seconds"]
    alone = max(0.0, data["growth"]["parent_seconds"] - found)
    return studies * (found + max(slope["processor_seconds_2"] / cores, alone)) / 3600


def needs(data: Data, slope: Data, cores: int) -> float:
    """MB a second that are read and written when no core waits."""
    return float((data["size"]["source_mib"] + data["size"]["stored_mib"]) * 1.048576 * cores / slope["processor_seconds_2"])


def span(value: float) -> str:
    """Hours in words."""
    if value < 1:
        return f"{value * 60:.0f} min"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:,.0f} days"


def markdown(data: Data) -> str:
    """The tables of docs/performance.md."""
    return "\n".join([*_size_lines(data["size"]), "", *_memory_lines(data), "", *_time_lines(data)]) + "\n"


def _size_lines(size: Data) -> list[str]:
    shape = "×".join(map(str, size["shape"]))
    heart, trachea = (size["crop_shares"][name] for name in ("heart", "trachea and bronchie"))
    return [
        f"| one study, {shape} | measured | target |",
        "|---|---|---|",
        f"| volume and ten masks as `.nii.gz`, as written (gzip level 6) | {size['source_mib']:.1f} MiB "
        f"({size['source_level6_mib']:.1f} MiB) | |",
        f"| in the store | {size['stored_mib']:.1f} MiB: {size['stored_share']:.0%} ({size['stored_share_level6']:.0%}) "
        "| ≤ 80 % |",
        f"| read whole | {size['read_seconds']:.2f} s | |",
        f"| the heart's crop alone | {heart:.0%} of that time | ≤ 1/3 |",
        f"| the trachea's crop alone | {trachea:.0%} of that time | ≤ 1/3 |",
    ]


def _memory_lines(data: Data) -> list[str]:
    grown, slopes = data["growth"], data["slopes"]
    few, many = grown["studies"]
    lines = [
        "| what a run takes | measured |",
        "|---|---|",
        f"| a worker's peak memory, {few:,} and {many:,} tiny studies | {grown['worker_mib'][0]:.0f} and "
        f"{grown['worker_mib'][1]:.0f} MiB |",
        f"| the parent's peak memory, the same | {grown['parent_mib'][0]:.0f} and {grown['parent_mib'][1]:.0f} MiB: "
        f"{grown['parent_kib']:.0f} KiB a study |",
        f"| finding a study | {grown['discover_seconds'] * 1000:.2f} ms |",
        f"| the parent's processor time a study, that included | {grown['parent_seconds'] * 1000:.2f} ms |",
        f"| the same where the study is there already | {grown['resume_seconds'] * 1000:.2f} ms |",
    ]
    for slope in slopes:
        lines.append(
            f"| a full-size study, {SEGMENTERS[slope['segmenter']]} | {slope['processor_seconds_1']:.1f} s of one core alone, "
            f"{slope['processor_seconds_2']:.1f} s with both busy, {slope['worker_mib']:.0f} MiB |"
        )
    return lines


def _time_lines(data: Data) -> list[str]:
    lines = [
        "| studies | segmenter | the store | "
        + " | ".join(f"{c} core{'s' * (c > 1)}" for c in CORES)
        + " | read and written |",
        "|---" * (len(CORES) + 4) + "|",
    ]
    for studies in STUDIES:
        for slope in data["slopes"]:
            store = studies * data["size"]["stored_mib"] * 1.048576e-6
            cells = [span(hours(data, slope, studies, cores)) for cores in CORES]
            rate = f"{needs(data, slope, CORES[-1]) / 1000:.1f} GB/s at {CORES[-1]}"
            name = SEGMENTERS[slope["segmenter"]]
            lines.append(f"| {studies:,} | {name} | {store:.1f} TB | " + " | ".join(cells) + f" | {rate} |")
    return lines


def page(text: str, tables: str) -> str:
    """The page's text with the tables between its two marks."""
    return between(text, BEGIN, END, tables, PAGE.name)


def main() -> int:
    """Measures and prints, or runs the disturbed run; 0 all well, 1 the disturbed run left another store, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document and nothing else on stdout")
    how.add_argument("--write", action="store_true", help=f"write the tables into docs/{PAGE.name}")
    parser.add_argument("--run", type=int, metavar="N", help="the disturbed run with N phantoms instead")
    parser.add_argument("--cluster", action="store_true", help="with --run: on a dask scheduler with two workers")
    chosen = parser.parse_args()
    if chosen.cluster and not chosen.run:
        parser.error("--cluster goes with --run")
    if chosen.run is not None and (chosen.run < 20 or chosen.write):
        parser.error("--run takes 20 phantoms or more, and has nothing to write into the page")
    with tempfile.TemporaryDirectory(prefix="reg2rg-scale-") as folder:
        if chosen.run:
            data = scale_run.shown(scale_run.Plan(Path(folder), chosen.run, max(10, chosen.run // 10)), chosen.cluster)
            print(json.dumps(data, indent=2, ensure_ascii=False))
            return 0 if data["adds_up"] and data["refused_as_told"] and not data["differences"] else 1
        data = measured(Path(folder))
    if chosen.json:
        print(json.dumps(data, indent=2))
    elif chosen.write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), markdown(data)), encoding="utf-8")
    else:
        print(markdown(data), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
