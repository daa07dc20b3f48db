"""What starting costs: `reg2rg --help` and `reg2rg plugins list` against `python -c "import typer, rich"`.

usage: python benchmarks/startup.py [--runs N] [--json]     the house keeps --help at most 3 times the imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

BASE = [sys.executable, "-c", "import typer, rich"]
COMMANDS = {
    "reg2rg --help": [sys.executable, "-m", "reg2rg", "--help"],
    "reg2rg plugins list": [sys.executable, "-m", "reg2rg", "plugins", "list"],
    "reg2rg train --help": [sys.executable, "-m", "reg2rg", "train", "--help"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(runs: int) -> list[dict[str, float | str]]:
    """The median of each command and its ratio to the base, runs taken in turn so that a busy machine hits all alike."""
    everything = {"import typer, rich": BASE, **COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in everything}
    for _ in range(runs + 1):
        for name, command in everything.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first run warms the disk
    base = medians["import typer, rich"]
    return [{"name": name, "seconds": value, "ratio": value / base} for name, value in medians.items()]


def main() -> None:
    """Prints the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.runs)
    if options.json:
        print(json.dumps({"startup": rows}, indent=2))
        return
    for row in rows:
        print(f"{row['name']:22} {row['seconds']:.3f} s  {row['ratio']:.2f}×")


if __name__ == "__main__":
    main()
