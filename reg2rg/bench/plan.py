"""What a bench trains: ablations, methods and sweeps as data → rows, each a resolved recipe for each seed.

Rows of the same recipe (the base stands in every ablation) share one run; `Row.run` is what they share.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from .. import recipe as recipes
from .. import strict_yaml
from ..errors import EXIT_USAGE, UserError, suggest
from ..recipe import Recipe

# short names for swept keys
SHORT = {"region_tokens": "adapter.options.tokens"}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the bench: its name, the group it belongs to ("methods", an ablation or a swept key), seed and recipe."""

    name: str
    group: str
    seed: int
    recipe: Recipe

    @property
    def run(self) -> str:
        """What rows that train the same thing share."""
        return self.recipe.fingerprint()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The rows, the pairs of names to compare (a, b), each group's heading, and the paper's tables to show beside."""

    rows: tuple[Row, ...]
    pairs: tuple[tuple[str, str], ...]
    titles: Mapping[str, str]
    tables: tuple[str, ...]

    @property
    def runs(self) -> dict[str, Row]:
        """The distinct runs, each by its first row."""
        found: dict[str, Row] = {}
        for row in self.rows:
            found.setdefault(row.run, row)
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for: the `base` recipe, ablations, methods (recipe names) and sweeps (KEY=V1,V2,…) of it.

    `plugins` lie under what a row itself changes, `changes` and `sets` (KEY=VALUE) over it; `small` prefers the variants that
    can be trained on phantoms.
    """

    base: str
    ablate: Sequence[str] = ()
    methods: Sequence[str] = ()
    sweeps: Sequence[str] = ()
    seeds: int = 1
    plugins: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sets: Sequence[str] = ()
    small: bool = False


@functools.cache
def ablations() -> dict[str, Any]:
    """The ablations that the bench knows, from ablations.yaml."""
    text = (resources.files(__package__) / "ablations.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """A row before its seed: the recipe's name and the change laid over it."""

    name: str
    group: str
    source: str
    change: Mapping[str, Any]


def make_plan(wish: Wish) -> Plan:
    """The rows of a wish, for seeds 0 … `seeds` - 1. Raises UserError (usage) for unknown names, and for an empty wish."""
    known = ablations()
    if wrong := [name for name in wish.ablate if name not in known]:
        raise UserError(f"no ablation is called '{wrong[0]}'", "--ablate", suggest(wrong[0], known), EXIT_USAGE)
    groups = [_ablation(group, wish) for group in wish.ablate]
    groups += [_sweep(text, wish) for text in wish.sweeps]
    groups += [[_method(name, wish.small) for name in wish.methods]] if wish.methods else []
    if not groups:
        hint = f"Give --ablate {','.join(known)}, --methods RECIPE,RECIPE or --sweep KEY=VALUE,VALUE."
        raise UserError("there is nothing to compare", "--ablate", hint, EXIT_USAGE)
    entries = {entry.name: entry for group in groups for entry in group}
    rows = [Row(e.name, e.group, seed, _recipe(e, wish, seed)) for e in entries.values() for seed in range(wish.seeds)]
    pairs = [(group[0].name, other.name) for group in groups for other in group[1:]]
    titles = {group: known[group]["title"] for group in wish.ablate}
    titles |= {group[0].group: f"Sweep of {group[0].group}" for group in groups if group[0].group not in (*known, "methods")}
    titles |= {"methods": "Methods"} if wish.methods else {}
    tables = [*(("Table I", "Table II") if wish.methods else ()), *(known[group]["paper"] for group in wish.ablate)]
    return Plan(tuple(rows), tuple(dict.fromkeys(pairs)), titles, tuple(dict.fromkeys(tables)))


def _ablation(group: str, wish: Wish) -> list[_Entry]:
    known = ablations()[group]
    rows = known["small"] if wish.small and "small" in known else known["rows"]
    return [_Entry(name, group, wish.base, change) for name, change in rows.items()]


def _method(name: str, small: bool) -> _Entry:
    """A method's recipe; on phantoms the one of the same name at their size, or what it changes laid over its parent's."""
    if not small:
        return _Entry(name, "methods", name, {})
    source, change = _small(recipes.locate(name))
    return _Entry(name, "methods", source, change)


def _small(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The recipe at the phantoms' size that stands for the one at `path`, and the change to lay over it."""
    known = recipes.shipped()
    name = next((name for name, place in known.items() if place == path), "")
    if f"tiny/{name}" in known:
        return f"tiny/{name}", {}
    parent, own = recipes.differences(path)
    if parent is None or name.startswith("tiny"):
        return str(path), {}
    source, change = _small(parent)
    return source, recipes.merge(change, own)


def _sweep(text: str, wish: Wish) -> list[_Entry]:
    """`KEY=V1,V2,…` as rows of the base recipe. Raises UserError (usage) where it isn't that."""
    key, sep, listed = text.partition("=")
    key = key.strip()
    try:
        values = strict_yaml.parse(listed if listed.lstrip().startswith("[") else f"[{listed}]")
    except ValueError as error:
        raise UserError(f"the values of '{key}' can't be read: {listed}", "--sweep", code=EXIT_USAGE) from error
    if not sep or not key or not isinstance(values, list) or len(values) < 2:
        raise UserError(f"'{text}' isn't KEY=VALUE,VALUE", "--sweep", "For example: --sweep region_tokens=8,16,32", EXIT_USAGE)
    full = SHORT.get(key, key)
    rows = []
    for value in values:
        change: Any = value
        for part in reversed(full.split(".")):
            change = {part: change}
        rows.append(_Entry(f"{key}={_plain(value)}", full, wish.base, change))
    return rows


def _plain(value: Any) -> str:
    return str(value).replace(" ", "")


def _recipe(entry: _Entry, wish: Wish, seed: int) -> Recipe:
    merged: Mapping[str, Any] = wish.plugins
    for change in (entry.change, wish.changes, {"training": {"seed": seed}}):
        merged = recipes.merge(merged, change)
    return recipes.load(entry.source, merged, wish.sets)


def encoders(rows: Iterable[Row]) -> dict[str, Row]:
    """The distinct encoders that must be pretrained, each by its first row."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(encoder_key(row.recipe), row)
    return found


def encoder_key(recipe: Recipe) -> str:
    """What decides a pretrained encoder: rows of equal keys share it."""
    parts = recipe.model_dump(mode="json")
    kept = [*(parts[key] for key in ("views", "volume_encoder", "adapter", "pretraining")), recipe.training.seed]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
