"""One golden fixture: its case.json, its stored outputs, and how ours are compared with them.

Weights and inputs are drawn from the seed by the rule of the fixtures' README (section 1), tensors are compared as its
section 2 says. Nothing here knows a case by its name, and every shape comes from case.json.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_TABLES = ("row_embed", "col_embed", "dep_embed", "embed_tokens")
_EMBEDDINGS = ("latents", "image_token_weight", "region_token_weight")


class Case:
    """One fixture: `data` is its case.json, `arrays` its stored outputs; `family` and `name` are its folders'."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        self.folder = folder.resolve()
        self.family, self.name = self.folder.parent.name, self.folder.name
        self.data: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        if not isinstance(self.data, dict):
            raise ValueError("case.json is not an object")
        stored = folder / "expected.safetensors"
        self.arrays: dict[str, np.ndarray] = load_file(stored) if stored.exists() else {}

    def rng(self, key: str) -> np.random.Generator:
        """The generator of one key."""
        digest = hashlib.sha256(f"{self.data['seed']}:{key}".encode()).digest()[:8]
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))

    def weight(self, key: str) -> np.ndarray:
        """The float32 parameter that the official code calls `key`."""
        shape = self.data["params"][key]
        x = self.rng(key).standard_normal(shape, dtype=np.float32)
        names = key.split(".")
        if len(shape) == 1:
            x *= np.float32(0.1 if key.endswith("weight") else 0.02)
            return np.float32(1) + x if key.endswith("weight") else x
        table = len(names) > 1 and names[-2] in _TABLES and names[-1] == "weight"
        if names[-1] in _EMBEDDINGS or key == "weight" or table:
            x *= np.float32(0.5)
        else:
            x *= np.float32(1 / np.sqrt(np.prod(shape[1:], dtype=np.float64)))
        return x

    def input(self, key: str) -> np.ndarray:
        """The float32 input called `key`."""
        entry = self.data["inputs"][key]
        rng, shape = self.rng(key), entry["shape"]
        kinds = {
            "normal": lambda: rng.standard_normal(shape, dtype=np.float32),
            "uniform": lambda: rng.random(shape, dtype=np.float32),
            "uniform_pm1": lambda: 2 * rng.random(shape, dtype=np.float32) - 1,
            "zeros": lambda: np.zeros(shape, np.float32),
        }
        if entry["kind"] not in kinds:
            raise ValueError(f"the input '{key}' is of the unknown kind '{entry['kind']}'")
        return kinds[entry["kind"]]() * _factor(entry.get("then", ""))

    def volume(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The painted int16 volume and the boolean masks of a `preprocess` case."""
        spec = self.data["volume"]
        shape = spec["shape"]
        index = np.indices(shape, sparse=True)
        hu = np.full(shape, spec["background_hu"], np.float64)
        noise = self.rng("input:volume").standard_normal(shape, dtype=np.float32).astype(np.float64)
        for entry in spec["paint"]:
            inside = _inside(entry["where"], index, shape)
            hu[inside] = (entry["hu"] + entry["sigma"] * noise)[inside]
        masks = {region: np.zeros(shape, bool) for region in self.data["masks"]}
        for region, solids in self.data["masks"].items():
            for where in solids:
                masks[region] |= _inside(where, index, shape)
        return np.clip(np.round(hu), -1024, 3071).astype(np.int16), masks


def _factor(then: str) -> np.float32:
    """What `then` multiplies an input by."""
    if not then:
        return np.float32(1)
    if not then.startswith("multiplied by "):
        raise ValueError(f"an input is to be '{then}', which is unknown")
    return np.float32(then.removeprefix("multiplied by ").split(";")[0])


def _inside(where: Mapping[str, Any], index: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """The voxels of one solid."""
    if where["type"] == "ellipsoid":
        terms = [((i - c) / r) ** 2 for i, c, r in zip(index, where["center"], where["radii"], strict=True)]
        return np.broadcast_to(sum(terms) <= 1, shape)
    inside = np.zeros(shape, bool)
    if where["type"] == "box":
        inside[tuple(slice(a, b) for a, b in zip(where["lo"], where["hi"], strict=True))] = True
    elif where["type"] == "voxel":
        inside[tuple(where["at"])] = True
    else:
        raise ValueError(f"'{where['type']}' is no known solid")
    return inside


def tolerance_of(case: Case, key: str, name: str) -> float:
    """The tolerance of output `name`: a number, or one for each kind of output (the part of the name before the colon)."""
    value = case.data[key]
    return float(value[name] if name in value else value[name.split(":")[0]]) if isinstance(value, dict) else float(value)


@dataclasses.dataclass
class Score:
    """What one case's comparison found: the largest errors, and in `faults` what is out of tolerance, in words.

    `max_rel` is relative to the largest expected value of the same output. `seen` are the stored arrays that were compared.
    """

    max_abs: float = 0.0
    max_rel: float = 0.0
    faults: list[str] = dataclasses.field(default_factory=list)
    seen: set[str] = dataclasses.field(default_factory=set)

    def close(self, name: str, got: Any, want: Any, bound: float, scale: float | None = None) -> None:
        """Numbers or arrays of one shape, equal to within `bound`; `scale` (default: the largest of `want`) is for max_rel."""
        a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if a.shape != b.shape:
            self.faults.append(f"{name} has the shape {a.shape}, expected {b.shape}")
            return
        worst = float(np.abs(a - b).max(initial=0.0))
        if math.isfinite(worst):
            scale = float(np.abs(b).max(initial=0.0)) if scale is None else scale
            self.max_abs, self.max_rel = max(self.max_abs, worst), max(self.max_rel, worst / scale if scale else worst)
        if not worst <= bound:
            self.faults.append(f"{name} differs by {worst:.3g}, tolerance {bound:.3g}")

    def exact(self, name: str, got: Any, want: Any) -> None:
        """Texts, names or integers that must be equal."""
        if got == want:
            return
        if isinstance(got, list) and isinstance(want, list) and len(got) == len(want) and _integers(got + want):
            places = [i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]
            self.max_abs = max(self.max_abs, max(abs(got[i] - want[i]) for i in places))
            got, want, name = got[places[0]], want[places[0]], f"{name}, place {places[0]}, the first of {len(places)},"
        self.faults.append(f"{name} is {_short(got)}, expected {_short(want)}")

    def fact(self, name: str, holds: bool) -> None:
        """Something that must hold, named in words."""
        if not holds:
            self.faults.append(f"{name} does not hold")

    def outputs(self, case: Case, values: Mapping[str, Any], key: str = "tolerance_rel_absmax", relative: bool = True) -> None:
        """Every output of the case against `values` (tensors or arrays by name); one that we don't give is a fault."""
        for name in case.data["outputs"]:
            if name not in values:
                self.faults.append(f"there is nothing of ours to compare '{name}' with")
            else:
                self.tensor(case, name, np.asarray(values[name]), tolerance_of(case, key, name), relative)

    def tensor(self, case: Case, name: str, value: np.ndarray, tolerance: float, relative: bool = True) -> None:
        """One full tensor against its stored elements and its statistics."""
        entry = case.data["outputs"][name]
        self.seen.add(name)
        if list(value.shape) != list(entry["shape"]):
            self.faults.append(f"{name} has the shape {value.shape}, expected {tuple(entry['shape'])}")
            return
        flat, largest = np.ascontiguousarray(value).reshape(-1), entry["absmax"]
        bound = tolerance * largest if relative else tolerance
        self.close(name, flat[:: entry["stride"]], case.arrays[name], bound, largest)
        x = flat.astype(np.float64)
        probe = case.rng("probe:" + name).standard_normal(x.size)
        parts = {"mean": x.mean(), "std": x.std(), "absmax": np.abs(x).max(), "dot": x @ probe}
        for part, seen in parts.items():
            allowed = bound * (math.sqrt(x.size) if part == "dot" else 1.0)
            if not abs(seen - entry[part]) <= allowed:
                self.faults.append(f"the {part} of {name} is {seen:.8g}, expected {entry[part]:.8g}")

    def finish(self, case: Case) -> None:
        """Faults of what the case holds and nobody compared."""
        for name in sorted(set(case.arrays) - self.seen):
            self.faults.append(f"the stored '{name}' was not compared")


def _integers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int) for v in values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
