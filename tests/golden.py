"""Golden fixtures of the official implementation: weights and inputs from their seed, outputs compared as stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file


class Case:
    """One fixture: `data` is its case.json, `arrays` its stored outputs."""

    def __init__(self, folder: Path) -> None:
        self.data: dict[str, Any] = json.loads((folder / "case.json").read_text())
        stored = folder / "expected.safetensors"
        self.arrays = load_file(stored) if stored.exists() else {}

    def rng(self, key: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.data['seed']}:{key}".encode()).digest()[:8]
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))

    def weight(self, key: str) -> np.ndarray:
        shape = self.data["params"][key]
        x = self.rng(key).standard_normal(shape, dtype=np.float32)
        names = key.split(".")
        tables = ("row_embed", "col_embed", "dep_embed", "embed_tokens")
        if len(shape) == 1:
            return np.float32(1) + np.float32(0.1) * x if names[-1] == "weight" else np.float32(0.02) * x
        single = names[-1] in ("latents", "image_token_weight", "region_token_weight") or key == "weight"
        if single or (len(names) > 1 and names[-2] in tables and names[-1] == "weight"):
            return np.float32(0.5) * x
        return x * np.float32(1 / np.sqrt(np.prod(shape[1:], dtype=np.float64)))

    def weights(self, prefix: str = "") -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix): self.weight(k) for k in self.data["params"] if k.startswith(prefix)}

    def input(self, key: str) -> np.ndarray:
        entry = self.data["inputs"][key]
        rng, shape = self.rng(key), entry["shape"]
        kinds = {
            "normal": lambda: rng.standard_normal(shape, dtype=np.float32),
            "uniform": lambda: rng.random(shape, dtype=np.float32),
            "uniform_pm1": lambda: 2 * rng.random(shape, dtype=np.float32) - 1,
            "zeros": lambda: np.zeros(shape, np.float32),
        }
        x = kinds[entry["kind"]]()
        then = entry.get("then", "")
        return x * np.float32(then.split("multiplied by ")[1].split(";")[0]) if "multiplied by" in then else x

    def check(self, name: str, value: np.ndarray, tolerance: float, relative: bool = True) -> None:
        """Raises AssertionError where `value` leaves the fixture's tolerance."""
        entry = self.data["outputs"][name]
        assert list(value.shape) == list(entry["shape"]), name
        flat = np.ascontiguousarray(value).reshape(-1)
        bound = tolerance * (entry["absmax"] if relative else 1.0)
        worst = float(np.abs(flat[:: entry["stride"]] - self.arrays[name]).max())
        assert worst <= bound, f"{name}: {worst} > {bound}"
        x = flat.astype(np.float64)
        for key, seen in (("mean", x.mean()), ("std", x.std()), ("absmax", np.abs(x).max())):
            assert abs(seen - entry[key]) <= bound, f"{name} {key}"
        dot = float((x * self.rng("probe:" + name).standard_normal(x.size)).sum())
        assert abs(dot - entry["dot"]) <= bound * np.sqrt(x.size), f"{name} dot"

    def volume(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The painted int16 volume and the masks of a `preprocess` case."""
        spec = self.data["volume"]
        shape = spec["shape"]
        index = np.indices(shape)
        hu = np.full(shape, spec["background_hu"], np.float64)
        noise = self.rng("input:volume").standard_normal(shape, dtype=np.float32).astype(np.float64)
        for entry in spec["paint"]:
            inside = _inside(entry["where"], index)
            hu[inside] = (entry["hu"] + entry["sigma"] * noise)[inside]
        hu = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
        masks = {}
        for region, shapes in self.data["masks"].items():
            masks[region] = np.zeros(shape, bool)
            for where in shapes:
                masks[region] |= _inside(where, index)
        return hu, masks


def _inside(where: dict[str, Any], index: np.ndarray) -> np.ndarray:
    if where["type"] == "ellipsoid":
        terms = (((i - c) / r) ** 2 for i, c, r in zip(index, where["center"], where["radii"], strict=True))
        return sum(terms) <= 1
    inside = np.zeros(index.shape[1:], bool)
    if where["type"] == "box":
        inside[tuple(slice(a, b) for a, b in zip(where["lo"], where["hi"], strict=True))] = True
    else:
        inside[tuple(where.get("index", where.get("at", where.get("center"))))] = True
    return inside


def cases(shared: Path, family: str) -> list[Path]:
    """The folders of one family."""
    return sorted(p.parent for p in (shared / "golden" / family).glob("*/case.json"))


def shared_golden(family: str) -> list[Any]:
    """The folders of one family for parametrization; one skipped entry where the shared material is absent."""
    from conftest import shared_folder

    folder = shared_folder()
    if folder is None:
        return [pytest.param(Path(family), marks=pytest.mark.skip(reason="the shared material is absent"))]
    return cases(folder, family)
