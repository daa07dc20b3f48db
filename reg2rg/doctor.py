"""What this installation can do: versions, devices, plugins, and what is missing for what.

In: nothing but the environment. Out: plain data that `reg2rg doctor` prints. Libraries are looked up, not imported, but for
torch, which alone knows the devices.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .plugins import registry

WORDNET = "Debian: apt-get install wordnet-base; elsewhere: python -m nltk.downloader wordnet"


def examine() -> dict[str, Any]:
    """Everything at once; `sound` is false where a required package is missing or too old, or a plugin package is broken."""
    packages, found = _packages(), registry()
    broken = [{"package": b.package, "reason": b.reason} for b in found.broken]
    faults = [f"{p['name']} {p['version'] or 'is missing'} (needed: {p['needed']})" for p in packages if not p["sound"]]
    return {
        "reg2rg": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": _devices(),
        "machine": _machine(),
        "plugins": _count([o.kind for o in found.offers]),
        "broken": broken,
        "features": _features(),
        "faults": faults,
        "sound": not faults and not broken,
    }


def _packages() -> list[dict[str, Any]]:
    """The packages that reg2rg requires, with what is installed."""
    from packaging.requirements import Requirement

    rows = []
    for line in metadata.requires("reg2rg") or []:
        need = Requirement(line)
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            version = ""
        sound = bool(version) and need.specifier.contains(version, prereleases=True)
        rows.append({"name": need.name, "version": version, "needed": str(need.specifier) or "any", "sound": sound})
    return rows


def _devices() -> list[dict[str, Any]]:
    try:
        import torch
    except ImportError:
        return []
    devices: list[dict[str, Any]] = [{"name": "cpu", "detail": f"{torch.get_num_threads()} threads", "gib": None}]
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        devices.append({"name": f"cuda:{i}", "detail": facts.name, "gib": round(facts.total_memory / 2**30, 1)})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "detail": "Apple GPU", "gib": None})
    return devices


def _machine() -> dict[str, Any]:
    usage = shutil.disk_usage(Path.cwd())
    memory = None
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {"cores": os.cpu_count(), "memory_gib": memory, "disk_free_gib": round(usage.free / 2**30, 1)}


def _count(kinds: list[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _module(*names: str) -> Callable[[], str]:
    def look() -> str:
        return ", ".join(names) if all(importlib.util.find_spec(n) for n in names) else ""

    return look


def _wordnet() -> str:
    """Where METEOR's WordNet lies, or nothing."""
    roots = [p for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    roots += [str(Path.home() / "nltk_data"), f"{sys.prefix}/nltk_data", "/usr/share/nltk_data", "/usr/local/share/nltk_data"]
    for root in roots:
        for name in ("wordnet", "wordnet.zip"):
            if (place := Path(root) / "corpora" / name).exists():
                return str(place)
    debian = Path("/usr/share/wordnet")
    return str(debian) if (debian / "data.noun").is_file() else ""


def _named(variable: str, wanted: str = "") -> Callable[[], str]:
    """What an environment variable names, where it is there (and, a folder, holds the file `wanted`)."""

    def look() -> str:
        given = os.environ.get(variable, "")
        return given if given and (Path(given).expanduser() / wanted).exists() else ""

    return look


# what a user would miss, how it is looked up, and what to do
FEATURES: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("METEOR", _wordnet, WORDNET),
    ("faster reading of .nii.gz", _module("isal"), "pip install 'reg2rg[fast-io]'"),
    ("reading stores with zstd or blosc filters", _module("hdf5plugin"), "pip install hdf5plugin"),
    ("DICOM in JPEG 2000", _module("pylibjpeg", "openjpeg"), "pip install pylibjpeg pylibjpeg-openjpeg"),
    ("SentencePiece tokenizers", _module("sentencepiece", "google.protobuf"), "pip install sentencepiece protobuf"),
    (
        "labels by RadBERT",
        _named("REG2RG_RADBERT", "model.safetensors"),
        "reg2rg convert radbert SOURCE --out DIR (docs/weights.md), then set REG2RG_RADBERT=DIR",
    ),
    (
        "regions by SAT",
        _named("REG2RG_SAT", "queries.safetensors"),
        "reg2rg convert sat SOURCE --out DIR (docs/weights.md), then set REG2RG_SAT=DIR",
    ),
    (
        "BERTScore, RadGraph-F1 and RaTEScore",
        _named("REG2RG_METRICS_PYTHON"),
        "python -m venv metrics && metrics/bin/pip install bert-score radgraph requests 'transformers<5' (docs/metrics.md), "
        "then set REG2RG_METRICS_PYTHON=metrics/bin/python",
    ),
    ("plots", _module("matplotlib"), "pip install 'reg2rg[plots]'"),
    ("preprocessing on a dask cluster", _module("distributed"), "pip install distributed"),
)


def _features() -> list[dict[str, Any]]:
    """Optional abilities, and the plugins whose own requirements are missing."""
    rows = []
    for what, look, fix in FEATURES:
        found = _quietly(look)
        rows.append({"what": what, "found": found, "fix": "" if found else fix})
    for offer in registry().offers:
        if missing := offer.missing():
            fix = f"pip install {' '.join(missing)}"
            rows.append({"what": f"{offer.kind} '{offer.name}' of package '{offer.package}'", "found": "", "fix": fix})
    return rows


def _quietly(look: Callable[[], str]) -> str:
    try:
        return look()
    except (ImportError, OSError, ValueError):
        return ""


def summary(facts: dict[str, Any]) -> list[str]:
    """The facts as lines for people; the packages that everything rests on by name."""
    core = {"torch", "transformers", "peft", "accelerate", "simpleitk", "pydicom", "nibabel", "h5py"}
    versions = ", ".join(f"{p['name']} {p['version']}" for p in facts["packages"] if p["name"].lower() in core)
    machine = facts["machine"]
    lines = [
        f"reg2rg {facts['reg2rg']} on Python {facts['python']}, {re.sub('-with-.*', '', facts['platform'])}",
        f"packages: {versions}",
        f"machine: {machine['cores']} cores, {machine['memory_gib']} GiB memory, {machine['disk_free_gib']} GiB disk free here",
        "devices: " + ", ".join(f"{d['name']} ({_device(d)})" for d in facts["devices"]),
        "plugins: " + ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in facts["plugins"].items()),
    ]
    lines += [f"broken: package '{b['package']}': {b['reason']}" for b in facts["broken"]]
    lines += [f"fault: {fault}" for fault in facts["faults"]]
    lines += [f"{'has' if f['found'] else 'lacks'}: {f['what']}" + _tail(f) for f in facts["features"]]
    return lines


def _device(device: dict[str, Any]) -> str:
    return device["detail"] + (f", {device['gib']} GiB" if device["gib"] else "")


def _tail(feature: dict[str, Any]) -> str:
    return f" ({feature['found']})" if feature["found"] else f" ({feature['fix']})"
