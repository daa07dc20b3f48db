"""Region–Report Alignment (Sec. III-D, Eq. 8): shuffle the regions, let the model name each before it reports, read it back.

Training: region reports → `Target` with prefixes P_i in the (shuffled) slot order. Inference: the decoder's text → sections
whose prefixes are removed.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Mapping, Sequence

from ..anatomy import FINDING_REGION
from ..recipe import Recipe
from .prompt import Target


def slot_order(regions: Sequence[str], shuffle: bool, *key: object) -> tuple[str, ...]:
    """The regions in slot order; `key` (seed, epoch, study …) makes a shuffle the same on any process and in any order."""
    order = list(regions)
    if shuffle:
        random.Random("/".join(map(str, key))).shuffle(order)
    return tuple(order)


def make_target(regions: Sequence[str], reports: Mapping[str, str], recipe: Recipe) -> Target:
    """R = {(P_1, R_1), …} as one text (Eq. 8); without `alignment.identify` the reports alone, each ending with a blank."""
    text, starts = "", []
    for slot, region in enumerate(regions):
        starts.append(len(text))
        prefix = prefix_text(recipe, slot, region) if recipe.alignment.identify else ""
        text += f"{prefix}{reports.get(region, '')} "
    return Target(text, tuple(starts))


def prefix_text(recipe: Recipe, slot: int, area: str) -> str:
    """P_i of the paper for one slot."""
    return recipe.prompt.prefix.replace("{i}", str(slot)).replace("{area}", area)


def finding_weights(regions: Sequence[str], labels: Mapping[str, int], weight: float) -> tuple[float, ...]:
    """Loss weight of each slot: `weight` where a positive finding lives in its region, else 1; empty where all are 1."""
    if weight == 1.0 or not labels:
        return ()
    homes = {FINDING_REGION[finding] for finding, value in labels.items() if value}
    return tuple(weight if region in homes else 1.0 for region in regions)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One slot of a written report: the area that the model named, and its text without prefix."""

    slot: int
    named: str
    text: str


def prefix_pattern(recipe: Recipe) -> re.Pattern[str]:
    """The prefix as a pattern with the groups `i` and `area`; blanks at its end are free."""
    pattern = re.escape(recipe.prompt.prefix.strip())
    pattern = pattern.replace(re.escape("{i}"), r"(?P<i>\d+)").replace(re.escape("{area}"), r"(?P<area>[^:]*?)")
    return re.compile(pattern.replace(r"\ ", r"\s+") + r"\s*")


def read_back(text: str, slots: int, recipe: Recipe) -> list[Part]:
    """The written text cut into `slots` parts; the last mention of a slot wins, a slot never mentioned is named ""."""
    parts = {slot: Part(slot, "", "") for slot in range(slots)}
    found = list(prefix_pattern(recipe).finditer(text)) if recipe.alignment.identify else []
    for match, following in zip(found, [*found[1:], None], strict=False):
        slot = int(match["i"])
        body = text[match.end() : following.start() if following else len(text)]
        if slot in parts:
            parts[slot] = Part(slot, " ".join(match["area"].split()), " ".join(body.split()))
    return list(parts.values())


def strip_prefixes(text: str, recipe: Recipe) -> str:
    """The report as the metrics see it: prefixes removed, blanks collapsed."""
    return " ".join(prefix_pattern(recipe).sub(" ", text).split()) if recipe.alignment.identify else " ".join(text.split())
