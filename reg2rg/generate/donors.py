"""The plan of an intervention: which study lends the tokens of which region to which other one.

A donor shows the region. Where labels are known it is one whose findings of that region differ, if there is any, since only
then can the section be seen to follow. The donors of a study are drawn in one order for all its regions, so that few are read,
and the same for a seed on any machine.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import Study
from ..data.store import Store
from ..data.views import shown_regions
from ..errors import EXIT_USAGE, UserError, suggest
from ..recipe import Recipe

KINDS = ("texture", "geometry", "both")  # which of a region's tokens are taken from the donor
UNSWAPPED, CONTROL = "none", "control"
Labels = Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Swap:
    """`region` of `study` is to be shown as `donor` has it.

    `differs`: those of the region's findings on which the two differ → (study's label, donor's label); None where the labels
    of either are unknown.
    """

    study: str
    region: str
    donor: str
    differs: Mapping[str, tuple[int, int]] | None

    def to_json(self, kind: str) -> dict[str, Any]:
        """As it stands in a line's settings; `kind` says which tokens are taken."""
        differs = None if self.differs is None else {f: list(pair) for f, pair in self.differs.items()}
        return {"kind": kind, "region": self.region, "donor": self.donor, "differs": differs}


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What a user asked for: kinds and regions (all where none is named), how many studies (all where None), and the seed."""

    kinds: Sequence[str] = ()
    regions: Sequence[str] = ()
    limit: int | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Experiment:
    """What is to be written: the report and the control of each of `studies`, and each of `swaps` in each of `kinds`.

    `pool`: all studies that tokens may come from, those of `studies` among them.
    """

    studies: tuple[Study, ...]
    pool: tuple[Study, ...]
    swaps: Mapping[tuple[str, str], Swap]  # by study and region
    kinds: tuple[str, ...]

    def steps(self) -> list[tuple[str, str]]:
        """(kind, region) of each pass over a batch of studies, in order."""
        swapped = {region for _, region in self.swaps}
        passes = [(kind, region) for kind in self.kinds for region in REGIONS if region in swapped]
        return [(UNSWAPPED, ""), (CONTROL, ""), *passes]

    def done_to(self, study: str, kind: str, region: str) -> dict[str, Any] | None:
        """What a line says was done to a study; None where it has no such pass."""
        if not region:
            return {"kind": kind, "region": "", "donor": study if kind == CONTROL else "", "differs": None}
        swap = self.swaps.get((study, region))
        return swap.to_json(kind) if swap else None


def plan(store: Store, pool: Sequence[Study], recipe: Recipe, wish: Wish, labels: Labels | None = None) -> Experiment:
    """Donors and passes for the first studies of `pool`. `labels`: study → finding → 0/1, without studies that have none.

    Raises UserError for an unknown region or kind, one that the recipe has no tokens for, and where nothing can be swapped.
    """
    for region in wish.regions:
        if region not in REGIONS:
            raise UserError(f"no region is called '{region}'", "--regions", suggest(region, REGIONS), EXIT_USAGE)
    kinds = _kinds(recipe, wish.kinds)
    shown = {study.id: _regions(store, study, recipe) for study in pool}
    studies = tuple(study for study in pool if shown[study.id])[: wish.limit]
    asked = [r for r in REGIONS if r in wish.regions] or REGIONS
    swaps = choose_swaps([s.id for s in studies], shown, labels or {}, asked, wish.seed)
    if not swaps:
        what = "no study shows the region and has another to take it from"
        raise UserError(what, store.root, "Choose a --split of more studies, or other --regions.")
    return Experiment(studies, tuple(pool), {(s.study, s.region): s for s in swaps}, kinds)


def _regions(store: Store, study: Study, recipe: Recipe) -> tuple[str, ...]:
    """The regions of a study that a report is written for, as `Samples.asking` has them."""
    found = shown_regions(store.facts(study.id), recipe.views)
    reported = recipe.report == "reported" and study.region_reports
    return tuple(r for r in found if not reported or r in study.region_reports)


def _kinds(recipe: Recipe, asked: Sequence[str]) -> tuple[str, ...]:
    """The kinds asked for, or all that the recipe can do: with textures or masks alone, `both` would be the same again."""
    able = {"texture": recipe.views.texture != "none", "geometry": recipe.geometry_encoder is not None}
    if not any(able.values()):
        raise UserError(f"regions of the recipe '{recipe.name}' have no tokens: there is nothing to swap")
    able["both"] = all(able.values())
    for kind in asked:
        if kind not in KINDS:
            raise UserError(f"no kind of tokens is called '{kind}'", "--kinds", suggest(kind, KINDS), EXIT_USAGE)
        if not able[kind]:
            fix = f"Its kinds: {', '.join(k for k in KINDS if able[k])}."
            raise UserError(f"the recipe '{recipe.name}' doesn't give regions such tokens ({kind})", "--kinds", fix, EXIT_USAGE)
    return tuple(k for k in KINDS if able[k] and (k in asked or not asked))


def choose_swaps(
    studies: Sequence[str], shown: Mapping[str, Collection[str]], labels: Labels, regions: Sequence[str], seed: int
) -> list[Swap]:
    """One donor for each of `regions` that a study of `studies` shows, from all of `shown` (study → its regions).

    A region that no other study shows has none.
    """
    swaps = []
    for study in studies:
        others = sorted(other for other in shown if other != study)
        random.Random(f"{seed}/{study}").shuffle(others)
        for region in (r for r in regions if r in shown[study]):
            able = (Swap(study, region, o, _differing(labels, study, o, region)) for o in others if region in shown[o])
            if swap := _best(able, telling=study in labels and region in FINDING_REGION.values()):
                swaps.append(swap)
    return swaps


def _best(able: Iterator[Swap], telling: bool) -> Swap | None:
    """The first with other findings where that can be (`telling`), else the first."""
    first = next(able, None)
    if first is None or first.differs or not telling:
        return first
    return next((swap for swap in able if swap.differs), first)


def _differing(labels: Labels, study: str, donor: str, region: str) -> dict[str, tuple[int, int]] | None:
    if study not in labels or donor not in labels:
        return None
    pairs = {f: (labels[study].get(f, 0), labels[donor].get(f, 0)) for f in FINDINGS if FINDING_REGION[f] == region}
    return {f: pair for f, pair in pairs.items() if pair[0] != pair[1]}
