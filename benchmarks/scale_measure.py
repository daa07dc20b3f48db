"""What `scale.py` measures: the size of a stored study and the time to read it, seconds and memory of runs as they grow.

Runs are the program itself in a process of its own. Slopes are differences between a short and a long run, so that what a run
costs once (starting Python and workers) doesn't count. Long runs are made of links to the same files under other names.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil

from reg2rg.anatomy import REGIONS
from reg2rg.data.layouts import discover
from reg2rg.data.store import Store
from reg2rg.phantom import write_phantom
from reg2rg.preprocess import preprocess

Row = dict[str, Any]
MIB = 2**20
SENTENCE = "There is no evidence of a focal abnormality; size, contour and attenuation are within normal limits on both sides. "


def one_study(folder: Path, size: str) -> Path:
    """A data set of one phantom with a mask file a region."""
    write_phantom(folder, studies=1, seed=0, size=size, masks="files", workers=1)
    return folder


def stored_study(data: Path, out: Path, runs: int = 5) -> Row:
    """Bytes of the source files and of the stored study; seconds to read it whole and two regions' crops."""
    preprocess(data, out, segmenter="precomputed")
    store = Store(out)
    (id,) = store.ids()
    files = sorted(data.rglob("*.nii.gz"))
    whole = _median(lambda: (store.volume(id), store.mask(id)), runs)
    crops = {name: _median(lambda name=name: store.crop(id, name), runs) for name in ("heart", "trachea and bronchie")}
    size = store.path(id).stat().st_size
    given = sum(path.stat().st_size for path in files)
    packed = sum(len(gzip.compress(gzip.decompress(path.read_bytes()), 6)) for path in files)
    return {
        "shape": list(store.volume(id).shape),
        "source_mib": given / MIB,
        "source_level6_mib": packed / MIB,
        "stored_mib": size / MIB,
        "stored_share": size / given,
        "stored_share_level6": size / packed,
        "read_seconds": whole,
        "crop_shares": {name: seconds / whole for name, seconds in crops.items()},
    }


def _median(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def study_seconds(one: Path, folder: Path, segmenter: str, runs: tuple[int, int]) -> Row:
    """Seconds a study takes with one and with two workers (wall and processor), and the largest worker's memory.

    `one` holds the study that is repeated, `runs` says how often a worker does so in the short and in the long run.
    """
    row: Row = {"segmenter": segmenter, "worker_mib": 0.0}
    for workers in (1, 2):
        ends = []
        for count in (workers * run for run in runs):
            out = folder / f"{segmenter}-{count}-on-{workers}"
            options = ("--segmenter", segmenter, "--workers", workers)
            ends.append(watched(linked(one, folder / f"data-{count}", count), out, *options))
            shutil.rmtree(out)
        for key in ("seconds", "processor_seconds"):
            row[f"{key}_{workers}"] = (ends[1][key] - ends[0][key]) / (workers * (runs[1] - runs[0]))
        row["worker_mib"] = max(row["worker_mib"], *(end["worker_mib"] for end in ends))
    return row


def growth(folder: Path, counts: Iterable[int]) -> list[Row]:
    """What a run costs beside its studies: many tiny ones, made, then found finished by the same command again."""
    tiny, rows = _tiny_study(folder / "tiny"), []
    for count in counts:
        data, out = linked(tiny, folder / f"many-{count}", count), folder / f"store-{count}"
        began = time.perf_counter()
        discover(data)
        found = time.perf_counter() - began
        made = watched(data, out, "--segmenter", "precomputed", "--workers", 2)
        again = watched(data, out, "--segmenter", "precomputed", "--workers", 2)
        rows.append({"studies": count, "discover_seconds": found, "made": made, "again": again})
        shutil.rmtree(out)
    return rows


def _tiny_study(folder: Path) -> Path:
    """The smallest study that isn't refused, with a report as long as a real one."""
    place = folder / "volumes" / "p" / "p_a"
    place.mkdir(parents=True)
    (folder / "masks").mkdir()
    hu = np.random.default_rng(0).integers(-1000, -800, (12, 12, 8)).astype(np.int16)
    hu[4:8, 4:8], hu[4, 4] = 40, 700
    bits = np.where(hu > 0, 1 << REGIONS.index("heart"), 1 << REGIONS.index("lung")).astype(np.uint16)
    affine = np.diag([-5.0, -5.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(hu, affine), place / "p_a_1.nii.gz")
    nib.save(nib.Nifti1Image(bits, affine), folder / "masks" / "seg_p_a_1.nii.gz")
    lines = [f'p_a_1.nii.gz,{region},"{2 * SENTENCE}"' for region in REGIONS]
    (folder / "region_report.csv").write_text("\n".join(["Volumename,Anatomy,Sentence", *lines, ""]), encoding="utf-8")
    return folder


def linked(one: Path, folder: Path, count: int) -> Path:
    """A data set of `count` studies that are the one study of the data set `one` under other names."""
    if folder.exists():
        return folder
    (volume,) = one.glob("volumes/**/*.nii.gz")
    id = volume.name.removesuffix(".nii.gz")
    mask = next(p for p in (one / "masks").iterdir() if p.name.startswith(f"seg_{id}"))
    head, *lines = (one / "region_report.csv").read_text(encoding="utf-8").splitlines()
    for i in range(count):
        place = folder / "volumes" / f"s{i}" / f"s{i}_a"
        place.mkdir(parents=True)
        os.link(volume, place / f"s{i}_a_1.nii.gz")
        target = folder / "masks" / mask.name.replace(id, f"s{i}_a_1")
        if mask.is_dir():
            shutil.copytree(mask, target, copy_function=os.link)
        else:
            target.parent.mkdir(exist_ok=True)
            os.link(mask, target)
    texts = [line.replace(id, f"s{i}_a_1") for i in range(count) for line in lines]
    (folder / "region_report.csv").write_text("\n".join([head, *texts, ""]), encoding="utf-8")
    return folder


def watched(data: Path, out: Path, *options: object) -> Row:
    """Runs preprocess; wall and processor seconds, the parent's own processor seconds, peak memory of parent and worker."""
    command = [sys.executable, "-m", "reg2rg", "preprocess", data, "--out", out, *options, "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    parent = psutil.Process(process.pid)
    row = {"parent_seconds": 0.0, "parent_mib": 0.0, "worker_mib": 0.0}
    # what wait4 tells of a process has its ended children, the workers, in it
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        with contextlib.suppress(psutil.Error, OSError):
            row["parent_seconds"] = max(row["parent_seconds"], sum(parent.cpu_times()[:2]))
            row["parent_mib"] = max(row["parent_mib"], _peak_mib(process.pid))
            for worker in (p for p in parent.children() if "spawn_main" in " ".join(p.cmdline())):
                row["worker_mib"] = max(row["worker_mib"], _peak_mib(worker.pid))
        time.sleep(0.05)
    row["seconds"] = time.perf_counter() - began
    row["processor_seconds"] = ended[2].ru_utime + ended[2].ru_stime
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    with process.stdout as answer:  # type: ignore[union-attr]
        summary = json.loads(answer.read() or "{}")
    if process.returncode or summary["refused"] or summary["studies"] != summary["done"] + summary["skipped"]:
        raise RuntimeError(f"preprocess of {data.name} ended with {process.returncode}: {summary}")
    return row


def _peak_mib(pid: int) -> float:
    """A process's peak memory so far; what it takes now where the system doesn't keep the peak."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return float(psutil.Process(pid).memory_info().rss) / MIB
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024
