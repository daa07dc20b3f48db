"""How `reg2rg evaluate` grows with the number of reports: processor time and peak memory of the real command.

    python benchmarks/evaluation.py                       # 2,500, 10,000 and 25,000 reports, every metric at hand
    python benchmarks/evaluation.py 5000 50000 --metrics bleu,rouge

Reports are made up from sentences with numbers and places, so that new n-grams keep coming as in real text; each report has its
ten sections. The ratio that counts is the last size's time for a report, and its memory, over the first's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reg2rg.anatomy import FINDING_REGION, FINDINGS, REGIONS

PLACES = ("right upper", "right middle", "right lower", "left upper", "left lower", "anterior", "posterior", "apical", "basal")
SHAPES = ("round", "oval", "irregular", "spiculated", "calcified", "cystic", "solid", "patchy", "diffuse", "linear", "subtle")
NORMAL = "No abnormal finding is seen in the {region}."
FOUND = "{finding} is observed in the {place} part of the {region}, {shape}, measuring {a} x {b} mm on image {image}."
STABLE = "The {region} is {shape} in the {place} portion and has a diameter of {a}.{b} mm, image {image}, series {series}."


def _text(region: str, random_: random.Random) -> str:
    findings = [f for f in FINDINGS if FINDING_REGION[f] == region]
    forms = (NORMAL, STABLE, FOUND) if findings else (NORMAL, STABLE)
    words = {
        "region": region,
        "finding": random_.choice(findings or ["A change"]),
        "place": random_.choice(PLACES),
        "shape": random_.choice(SHAPES),
        "a": random_.randint(2, 90),
        "b": random_.randint(2, 60),
        "image": random_.randint(1, 400),
        "series": random_.randint(1, 9),
    }
    return " ".join(form.format(**words) for form in random_.sample(forms, random_.randint(1, len(forms))))


def reports(n: int) -> Iterator[dict]:
    """n lines of a reports file, a third of whose sections are written as the reference has them."""
    random_ = random.Random(1)
    for number in range(n):
        sections = []
        for index, region in enumerate(REGIONS):
            reference = _text(region, random_)
            written = reference if random_.random() < 0.33 else _text(region, random_)
            named = region if random_.random() < 0.9 else random_.choice(REGIONS)
            sections.append({"index": index, "region": region, "named": named, "report": written, "reference": reference})
        joined = {side: " ".join(s[side] for s in sections) for side in ("report", "reference")}
        yield {"study": f"made_{number:07d}", **joined, "regions": sections, "settings": {}}


def run(n: int, metrics: str, folder: Path, extra: list[str]) -> tuple[float, float, float, dict]:
    """Megabytes of the file; processor seconds and peak MiB of the command on n reports; its document."""
    path = folder / f"{n}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(report) + "\n" for report in reports(n))
    command = [sys.executable, "-c", _MEASURED, "evaluate", str(path), "--json", "--metrics", metrics, *extra]
    found_in = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": found_in})
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = float(done.stderr.strip().splitlines()[-1])
    print(f"{n:,} reports: {time.monotonic() - start:.0f} s on the clock", file=sys.stderr)
    return path.stat().st_size / 1e6, seconds, peak, json.loads(done.stdout)


_MEASURED = """
import sys
from reg2rg.cli.app import run
from speed_parts.timing import peak_mib
try:
    run(sys.argv[1:])
finally:
    print(peak_mib(), file=sys.stderr)
"""


def main() -> None:
    """Prints one row for each number of reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[2500, 10000, 25000], metavar="REPORTS")
    parser.add_argument("--metrics", default="", help="as of evaluate; '' = all")
    parser.add_argument("--keep", type=Path, help="folder for each size's evaluation, to compare two versions of the program")
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="further options of evaluate")
    given = parser.parse_args()
    print("| reports | file | processor time | for 1,000 reports | peak memory |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for n in given.sizes:
            size, seconds, peak, document = run(n, given.metrics, Path(folder), given.extra)
            print(f"| {n:,} | {size:.0f} MB | {seconds:.1f} s | {1000 * seconds / n:.2f} s | {peak:.0f} MiB |", flush=True)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{n}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
