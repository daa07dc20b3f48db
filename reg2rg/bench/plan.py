"""What a bench trains: ablations and methods as data → rows, each a resolved recipe for each seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

from .. import recipe as recipes
from ..errors import EXIT_USAGE, UserError, suggest
from ..recipe import Recipe


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the bench: its name, the ablation it belongs to ("" for a method), seed and resolved recipe."""

    name: str
    group: str
    seed: int
    recipe: Recipe


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The rows, the pairs of names to compare (a, b), and the paper's tables to show beside."""

    rows: tuple[Row, ...]
    pairs: tuple[tuple[str, str], ...]
    tables: tuple[str, ...]


def ablations() -> dict[str, Any]:
    """The ablations that the bench knows, from ablations.yaml."""
    text = (resources.files(__package__) / "ablations.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def make_plan(
    base: str, ablate: Sequence[str], methods: Sequence[str], seeds: int, changes: Mapping[str, Any], sets: Sequence[str]
) -> Plan:
    """Rows for the ablations of the recipe `base` and for whole `methods` (recipe names), for seeds 0 … `seeds` - 1.

    `changes` (step budgets) and `sets` (KEY=VALUE) are laid over every row. Raises UserError for unknown names.
    """
    known = ablations()
    if wrong := [name for name in ablate if name not in known]:
        raise UserError(f"no ablation is called '{wrong[0]}'", "--ablate", suggest(wrong[0], known), EXIT_USAGE)
    if not ablate and not methods:
        hint = f"Give --ablate {','.join(known)} or --methods RECIPE,RECIPE."
        raise UserError("there is nothing to compare", "--ablate", hint, EXIT_USAGE)
    wanted: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    pairs = []
    for group in ablate:
        names = list(known[group]["rows"])
        pairs += [(names[0], other) for other in names[1:]]
        wanted |= {name: (group, base, change) for name, change in known[group]["rows"].items()}
    wanted |= {method: ("", method, {}) for method in methods}
    pairs += [(methods[0], other) for other in methods[1:]]
    rows = [
        Row(name, group, seed, _recipe(source, change, changes, sets, seed))
        for name, (group, source, change) in wanted.items()
        for seed in range(seeds)
    ]
    return Plan(tuple(rows), tuple(pairs), tuple(dict.fromkeys(known[g]["paper"] for g in ablate)))


def _recipe(source: str, change: Mapping[str, Any], changes: Mapping[str, Any], sets: Sequence[str], seed: int) -> Recipe:
    merged = recipes.merge(recipes.merge(change, changes), {"training": {"seed": seed}})
    return recipes.load(source, merged, sets)
