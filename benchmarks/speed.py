"""How fast the toolkit is, and how much memory it takes, beside the limit of the machine it runs on.

usage: python benchmarks/speed.py [--json] [--part NAME] [--threads N] [--against plain]

Parts: encode (float32, bfloat16), assemble, preprocess (first, epoch), nlg, train_step; with a GPU also gpu_train_step and
gpu_generate. Each part runs in a process of its own. `seconds` is the median of at least five runs after a warm-up,
`limit_seconds` what no implementation can do without, measured in turn with them (see each module of speed_parts),
`peak_mib` the process's peak memory. --against plain also times the plain way with public libraries. docs/performance.md
explains the figures.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv" / "bin" / "python"

if __name__ == "__main__" and importlib.util.find_spec("reg2rg") is None and VENV.is_file():
    os.execv(VENV, [str(VENV), *sys.argv])  # started by a Python that lacks the environment

PARTS: dict[str, tuple[str, ...]] = {
    "encode": ("float32", "bfloat16"),
    "assemble": ("",),
    "preprocess": ("first", "epoch"),
    "nlg": ("",),
    "train_step": ("",),
    "gpu_train_step": ("",),
    "gpu_generate": ("",),
}
Row = dict[str, Any]


def main() -> int:
    """Runs what was asked for; 0 all well, 1 a part failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else there")
    parser.add_argument("--part", metavar="NAME", help="one part alone: " + ", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads a process (default: all cores)")
    parser.add_argument("--against", choices=("plain",), help="time the plain way too")
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)  # reduced sizes, for tests of the harness
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part and chosen.part not in PARTS:
        parser.error(f"there is no part '{chosen.part}'; the parts are: {', '.join(PARTS)}")
    if chosen.threads < 1:
        parser.error(f"{chosen.threads} threads can't work; give 1 or more")
    if chosen.worker:
        print(json.dumps(work(chosen.worker, chosen)))
        return 0
    with tempfile.TemporaryDirectory(prefix="reg2rg-speed-") as folder:
        chosen.folder = Path(folder)
        try:
            rows = list(shown(chosen))
        except Failure as error:
            print(f"speed.py: {error}", file=sys.stderr)
            return 1
    if chosen.json:
        print(json.dumps({"parts": rows}, indent=2))
    return 0


class Failure(Exception):
    """A part that didn't come to its end."""


def shown(chosen: argparse.Namespace) -> Iterator[Row]:
    """The rows, each told as soon as it is there."""
    if not chosen.json:
        print(f"{'part':24} {'seconds':>9} {'limit':>9} {'ratio':>7} {'peak MiB':>9}  more")
    for part in [chosen.part] if chosen.part else PARTS:
        for row in rows_of(part, chosen):
            if not chosen.json:
                print(line(row), flush=True)
            yield row


def rows_of(part: str, chosen: argparse.Namespace) -> Iterator[Row]:
    """The rows of a part's variants; none where this machine can't run one."""
    plain: Row = {}
    if part == "preprocess":
        started(f"{part}:prepare", chosen)
        plain = (started(f"{part}:plain", chosen) or {}) if chosen.against else {}
    for variant in PARTS[part]:
        row = started(f"{part}:{variant}", chosen)
        if row is None:
            print(f"speed.py: {part} {variant} can't run on this machine".replace("  ", " "), file=sys.stderr)
            continue
        if plain:
            row |= {**plain, "times_faster": plain["plain_seconds"] / row["seconds"]}
            row["memory_share"] = row["peak_mib"] / plain["plain_peak_mib"]
        yield {"name": part, "variant": variant, **row, "threads": chosen.threads}


def started(job: str, chosen: argparse.Namespace) -> Row | None:
    """Runs one job in a process of its own. Raises Failure where that ends badly."""
    flags = ["--threads", str(chosen.threads), "--folder", str(chosen.folder), "--worker", job]
    flags += ["--quick"] if chosen.quick else []
    flags += ["--against", "plain"] if chosen.against else []
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(chosen.threads))
    # stderr is ours: warnings and tracebacks of the worker are for whoever reads along
    done = subprocess.run([sys.executable, __file__, *flags], stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    if done.returncode:
        raise Failure(f"{job.replace(':', ' ').strip()} ended with exit code {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(job: str, chosen: argparse.Namespace) -> Row | None:
    """One job, in this process."""
    import torch
    from speed_parts.timing import Settings

    torch.set_num_threads(chosen.threads)
    settings = Settings(chosen.quick, bool(chosen.against), chosen.folder)
    part, _, variant = job.partition(":")
    if part.startswith("gpu_"):
        from speed_parts import gpu

        return gpu.run(part.removeprefix("gpu_"), settings) if torch.cuda.is_available() else None
    module: Any = importlib.import_module(f"speed_parts.{part}")
    return {"prepare": prepare, "plain": lambda m, s: m.plain(s)}.get(variant, lambda m, s: m.run(variant, s))(module, settings)


def prepare(module: Any, settings: Any) -> Row:
    """Makes a part's files."""
    module.prepare(settings)
    return {}


def line(row: Row) -> str:
    """One row of the table."""
    name = f"{row['name']} {row['variant']}".strip()
    known = {"name", "variant", "seconds", "limit_seconds", "ratio", "peak_mib", "threads"}
    more = ", ".join(f"{k} {short(v)}" for k, v in row.items() if k not in known and not k.startswith("best_"))
    numbers = f"{row['seconds']:9.4f} {row['limit_seconds']:9.4f} {row['ratio']:7.2f} {row['peak_mib']:9.0f}"
    return f"{name:24} {numbers}  {more}"


def short(value: Any) -> str:
    """A figure in few characters."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k} {short(v)}" for k, v in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
