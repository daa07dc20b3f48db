"""A disturbed run of `reg2rg preprocess` beside a calm one: studies broken, a worker and then the run itself killed."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import psutil
from broken_studies import spoil
from scale_cluster import Cluster, cluster

from reg2rg.phantom import write_phantom

Program = list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is run: `studies` small phantoms of which `broken` are broken, in `folder`; `env` for every process."""

    folder: Path
    studies: int
    broken: int
    segmenter: str = "precomputed"
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The data set."""
        return self.folder / "data"

    def program(self, out: Path, address: str = "") -> Program:
        """The command line, on two local workers or on the cluster at `address`."""
        where = ["--cluster", address] if address else ["--workers", "2"]
        command = ["preprocess", self.data, "--out", out, "--segmenter", self.segmenter, "--json", *where]
        return [sys.executable, "-m", "reg2rg", *map(str, command)]


def shown(plan: Plan, on_cluster: bool) -> dict[str, Any]:
    """Runs it all; the counts of the resumed run, whether they add up, and how its store differs from the calm run's."""
    write_phantom(plan.data, studies=plan.studies, seed=0, size="small", masks="bits", workers=2)
    said = spoil(plan.data, plan.broken)
    calm = _ended(plan, plan.folder / "calm")
    with cluster(plan.folder / "dask", 2, plan.env) if on_cluster else contextlib.nullcontext() as dask:
        kills = _disturb(plan, dask)
        left = _left_over(plan.folder / "out")
        resumed = _ended(plan, plan.folder / "out", dask.address if dask else "")
    reasons = {row["study"]: row["error"] for row in _rows(plan.folder / "out" / "failures.csv")}
    counts = {"in": resumed["studies"], "stored": resumed["done"], "skipped": resumed["skipped"], "refused": resumed["refused"]}
    return {
        "where": "dask scheduler, two workers" if on_cluster else "two local workers",
        **counts,
        **kills,
        "left_half_done": left,
        "adds_up": counts["in"] == plan.studies == counts["stored"] + counts["skipped"] + counts["refused"],
        "refused_as_told": set(reasons) == set(said) and all(word in reasons[id] for id, word in said.items()),
        "differences": differences(plan.folder / "calm", plan.folder / "out"),
        "calm_seconds": calm["seconds"],
        "reasons": sorted(set(reasons.values())),
    }


def _ended(plan: Plan, out: Path, address: str = "") -> dict[str, Any]:
    """Runs the command to its end; its summary."""
    done = subprocess.run(plan.program(out, address), env={**os.environ, **plan.env}, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"preprocess ended with {done.returncode}: {done.stderr}")
    return dict(json.loads(done.stdout))


def _disturb(plan: Plan, dask: Cluster | None) -> dict[str, int]:
    """Kills a worker after a third of the studies, the run after two thirds; how many studies were stored by then."""
    out, good = plan.folder / "out", plan.studies - plan.broken
    elsewhere = dask.pids(2) if dask else []
    process = subprocess.Popen(
        plan.program(out, dask.address if dask else ""), env={**os.environ, **plan.env}, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(lambda: stored(out) >= good // 3, process)
        os.kill((elsewhere or _workers(process.pid))[0], signal.SIGKILL)
        first = stored(out)
        _wait_for(lambda: stored(out) >= good * 2 // 3, process)
        second = stored(out)
    finally:
        process.kill()
        process.wait()
    return {"stored_when_the_worker_was_killed": first, "stored_when_the_run_was_killed": second}


def _workers(pid: int) -> list[int]:
    """The worker processes of a run."""
    children = psutil.Process(pid).children()
    return [p.pid for p in children if "spawn_main" in " ".join(p.cmdline())]


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be disturbed")
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened in {seconds:.0f} s")
        time.sleep(0.005)


def stored(out: Path) -> int:
    """How many studies a store holds."""
    return sum(1 for p in (out / "studies").glob("*.h5") if p.name[0] != ".")


def _left_over(out: Path) -> int:
    """Hidden files of killed processes: half-written studies and marks of tries."""
    return sum(1 for p in (out / "studies").iterdir() if p.name[0] == ".")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def differences(a: Path, b: Path) -> list[str]:
    """How two stores differ: files, bytes of tables, datasets and attributes of studies."""
    names = [sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) for root in (a, b)]
    found = [f"only in one: {name}" for name in sorted(set(names[0]) ^ set(names[1]))]
    for name in sorted(set(names[0]) & set(names[1])):
        if (a / name).read_bytes() == (b / name).read_bytes():
            continue
        found += _of_study(a / name, b / name) if name.endswith(".h5") else [f"other bytes: {name}"]
    return found


def _of_study(a: Path, b: Path) -> list[str]:
    with h5py.File(a) as one, h5py.File(b) as other:
        left, right = _content(one), _content(other)
    return [f"{a.name}: {key}" for key in sorted(set(left) | set(right)) if left.get(key) != right.get(key)]


def _content(file: h5py.File) -> dict[str, Any]:
    """Every dataset and attribute of an HDF5 file, in plain data."""
    content: dict[str, Any] = {}

    def add(name: str, node: Any) -> None:
        for key, value in node.attrs.items():
            content[f"{name}@{key}"] = repr(value.tolist() if hasattr(value, "tolist") else value)
        if isinstance(node, h5py.Dataset):
            value = node[()]
            content[name] = (str(node.dtype), node.shape, value.tobytes() if hasattr(value, "tobytes") else value)

    add("", file)
    file.visititems(add)
    return content
