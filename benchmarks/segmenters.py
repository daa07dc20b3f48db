"""How good the segmenter `threshold` is: on public CTs against the masks beside them, on phantoms against the drawn solids.

    python benchmarks/segmenters.py [--shared DIR] [--scans NAME …] [--no-phantoms] [--json | --write]

The CTs lie in the shared material (--shared, $REG2RG_SHARED, ../shared); the phantoms are made afresh, of both profiles and of
two sizes. `--write` renews the tables in docs/segmenters.md. segmenters_masks.py says which mask scores what, and its quality.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from marked import between
from reg2rg_plugins.segmenters.threshold import Threshold
from segmenters_masks import SCANS, Scan, load, measure, touching

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_volume
from reg2rg.phantom import plan_study, render

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "segmenters.md"
BEGIN, END = "<!-- segmenters.py writes from here", "<!-- to here -->"
PHANTOMS = (("demo", "small", 12), ("strict", "small", 12), ("demo", "medium", 4), ("strict", "medium", 4))
SEEDS = (3, 11)
Row = dict[str, Any]


def shared_data(given: str | None) -> Path | None:
    """The folder of the public CTs, or None where there is none."""
    for folder in (given, os.environ.get("REG2RG_SHARED"), ROOT.parent / "shared"):
        if folder and (Path(folder) / "data").is_dir():
            return Path(folder) / "data"
    return None


def scan_rows(scan: Scan, data: Path) -> tuple[Row, list[Row]]:
    """What one CT costs and gives, and its figures."""
    volume = read_volume(data / scan.folder / scan.file)
    found, cost = timed(volume)
    about = {"ct": scan.name, "file": f"{scan.folder}/{scan.file}", "shape": list(volume.shape), **cost}
    about |= {"spacing": [round(s, 2) for s in volume.spacing], "present": list(found.present()), "missing": found.missing()}
    about["lungs"] = touching(found.mask("lung"), volume.spacing)
    rows = []
    for truth in scan.truths:
        mask = load(truth, data / scan.folder, volume)
        for score in truth.scores:
            row = {"ct": scan.name, "mask": truth.name, "quality": truth.quality, "region": score[0], "measure": score[1]}
            rows.append({**row, "figure": round(measure(found, mask, score, volume.spacing), 3)})
    return about, rows


def timed(volume: Volume) -> tuple[RegionMask, Row]:
    """The masks, processor seconds and, in a second run, the peak of memory beyond the volume (MiB)."""
    start = time.process_time()
    found = Threshold().segment(volume)
    seconds = time.process_time() - start
    tracemalloc.start()
    Threshold().segment(volume)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, {"seconds": round(seconds, 2), "mib": round(peak / 2**20)}


def thin_slices(data: Path) -> Row | None:
    """The cost on 512×512×297 voxels: the planning CT with each slice three times."""
    path = data / SCANS[0].folder / SCANS[0].file
    if not path.is_file():
        return None
    volume = read_volume(path)
    thin = Volume(np.repeat(volume.hu, 3, axis=2), volume.affine @ np.diag([1, 1, 1 / 3, 1]), volume.source)
    return {"ct": "the planning CT's slices three times, 1 mm", "shape": list(thin.shape), **timed(thin)[1]}


def phantom_rows(profile: str, size: str, studies: int) -> list[Row]:
    """Dice of each region over several phantoms of each seed: mean, lowest, and how often it is given."""
    scores: dict[str, list[float]] = {region: [] for region in REGIONS}
    for seed in SEEDS:
        for index in range(studies // len(SEEDS)):
            made = render(plan_study(seed, index, profile), size)  # type: ignore[arg-type]
            truth = RegionMask(made.bits, frozenset(REGIONS))
            found = Threshold().segment(Volume(made.hu, made.affine, f"phantom {index}"))
            for region in found.given:
                if (true := truth.mask(region)).any():
                    ours = found.mask(region)
                    scores[region].append(float(2 * (ours & true).sum() / (ours.sum() + true.sum())))
    about = {"profile": profile, "size": size, "studies": studies}
    return [
        {**about, "region": region, "mean": round(float(np.mean(s)), 3), "lowest": round(min(s), 3), "given": len(s)}
        for region, s in scores.items()
        if s
    ]


def collect(options: argparse.Namespace) -> Row:
    """All figures as plain data."""
    out: Row = {"scans": [], "rows": [], "phantoms": []}
    data = shared_data(options.shared)
    for scan in SCANS if data else ():
        if (data / scan.folder / scan.file).is_file() and (not options.scans or scan.folder in options.scans):  # type: ignore[operator]
            about, rows = scan_rows(scan, data)  # type: ignore[arg-type]
            out["scans"].append(about)
            out["rows"] += rows
    if data and not options.scans and (thin := thin_slices(data)):
        out["scans"].append(thin)
    for profile, size, studies in () if options.no_phantoms else PHANTOMS:
        out["phantoms"] += phantom_rows(profile, size, studies)
    return out


def markdown(data: Row) -> str:
    """The tables of docs/segmenters.md."""
    return "\n".join([*_scan_table(data), "", *_phantom_table(data), "", *_cost_table(data)]) + "\n"


def _scan_table(data: Row) -> Iterator[str]:
    yield from ("| CT | mask | its quality | region | figure |", "|---|---|---|---|---|")
    before = ""
    for row in data["rows"]:
        name = "the same" if row["ct"] == before else row["ct"]
        before = row["ct"]
        region, measured = row["region"].replace("+", " or "), row["measure"].replace("dice", "Dice")
        yield f"| {name} | {row['mask']} | {row['quality']} | {region} | {measured} {row['figure']:.3f} |"


def _phantom_table(data: Row) -> Iterator[str]:
    kinds = list(dict.fromkeys((r["profile"], r["size"], r["studies"]) for r in data["phantoms"]))
    cells = {(r["profile"], r["size"], r["region"]): f"{r['mean']:.2f} ({r['lowest']:.2f})" for r in data["phantoms"]}
    yield "| phantom's region | " + " | ".join(f"{p}, {s}, {n} studies" for p, s, n in kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    for region in dict.fromkeys(r["region"] for r in data["phantoms"]):
        yield f"| {region} | " + " | ".join(cells.get((p, s, region), "") for p, s, _ in kinds) + " |"


def _cost_table(data: Row) -> Iterator[str]:
    yield from ("| CT | voxels | processor time, s | memory beyond the volume, MiB | lungs |", "|---|---|---|---|---|")
    for scan in data["scans"]:
        voxels, lungs = "×".join(map(str, scan["shape"])), scan.get("lungs", "")
        yield f"| {scan['ct']} | {voxels} | {scan['seconds']:.1f} | {scan['mib']} | {lungs} |"


def page(text: str, tables: str) -> str:
    """The page's text with the tables between its two marks."""
    return between(text, BEGIN, END, tables, PAGE.name)


def main() -> None:
    """Prints the tables or the JSON, or writes the tables into docs/segmenters.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", help="the shared material (default: $REG2RG_SHARED, else ../shared)")
    parser.add_argument("--scans", nargs="+", metavar="FOLDER", help="only the CTs of these folders")
    parser.add_argument("--no-phantoms", action="store_true", help="only the CTs")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document")
    how.add_argument("--write", action="store_true", help=f"renew the tables in docs/{PAGE.name}")
    options = parser.parse_args()
    if options.write and (options.scans or options.no_phantoms or shared_data(options.shared) is None):
        parser.error("--write needs all CTs and the phantoms")
    data = collect(options)
    if options.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    elif options.write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), markdown(data)), encoding="utf-8")
    else:
        print(markdown(data), end="")


if __name__ == "__main__":
    main()
