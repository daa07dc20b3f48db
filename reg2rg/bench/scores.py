"""The numbers of a bench with intervals over seeds and studies, and paired differences by the same draws.

Each of B draws takes studies with replacement, the same for every row, and seeds with replacement; a number's interval and a
difference's come from what the B draws give. With one seed that is the bootstrap over studies alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..anatomy import FINDINGS
from ..contracts import GroundedReport
from ..evaluate.bootstrap import LEVEL, Block, samples
from ..evaluate.choice import Named
from ..evaluate.evaluation import collect
from ..evaluate.paired import interval
from ..evaluate.recognition import ratio

Labels = Mapping[str, Mapping[str, int]]
GROUPS = ("clinical", "bleu", "meteor", "rouge", "recognition")
# the name in bench.json → the block of the evaluation and the number in it
NUMBERS: dict[str, tuple[tuple[str, ...], str]] = {
    "precision": (("clinical",), "micro/precision"),
    "recall": (("clinical",), "micro/recall"),
    "micro_f1": (("clinical",), "micro/f1"),
    "macro_f1": (("clinical",), "macro/f1"),
    **{f"bleu{n}": (("metrics", "bleu"), f"bleu{n}") for n in (1, 2, 3, 4)},
    "meteor": (("metrics", "meteor"), "meteor"),
    "rougeL": (("metrics", "rouge"), "rougeL"),
    "recognition": (("region_recognition",), "accuracy"),
}
COMPARED = ("micro_f1", "macro_f1", "bleu1", "bleu4", "meteor", "rougeL")
CLASS = "f1_"  # in front of an evidence class: its micro F1


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """The numbers of one run: each one's value, and its value in each draw of studies (draws,)."""

    values: Mapping[str, float]
    drawn: Mapping[str, np.ndarray]


def measure(
    reports: Sequence[GroundedReport],
    labels: Labels | None,
    classes: Mapping[str, Sequence[str]],
    *,
    draws: int = 1000,
    labeler: Named = "rules",
) -> Measured:
    """The numbers of a run's reports; `classes`: evidence class → its findings. Runs over the same studies draw the same."""
    blocks = collect(reports, GROUPS, labels=labels, labeler=labeler)
    numbers = dict(NUMBERS)
    for block in [b for b in blocks if b.key == ("clinical",)]:
        for name, findings in classes.items():
            blocks.append(_by_class(block, name, findings))
            numbers[CLASS + name] = ("class", name), "f1"
    at_random = samples(blocks, draws, seed=0)
    whole = {b.key: b.values() for b in blocks}
    found = {n: at for n, at in numbers.items() if at[0] in whole and np.isfinite(whole[at[0]].get(at[1], np.nan))}
    values = {name: float(whole[key][number]) for name, (key, number) in found.items()}
    return Measured(values, {name: at_random[key][number] for name, (key, number) in found.items()})


def _by_class(clinical: Block, name: str, findings: Sequence[str]) -> Block:
    """Micro F1 of a class's findings, from the clinical block's true and false positives and false negatives."""
    wanted = [FINDINGS.index(finding) for finding in findings]

    def combine(sums: np.ndarray) -> dict[str, np.ndarray]:
        tp, fp, fn = (sums[..., [i * len(FINDINGS) + w for w in wanted]].sum(axis=-1) for i in range(3))
        return {"f1": ratio(2 * tp, 2 * tp + fp + fn)}

    return Block(("class", name), clinical.statistics, combine)


def over_seeds(runs: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Mean over the runs (one a seed) of each number that all of them have: name → {"value", "low", "high"}."""
    spread = _spread(runs)
    found = {}
    for name, drawn in spread.items():
        low, high = np.nanpercentile(drawn, LEVEL)
        mean = float(np.mean([run.values[name] for run in runs]))
        found[name] = {"value": mean, "low": float(low), "high": float(high)}
    return found


def _spread(runs: Sequence[Measured]) -> dict[str, np.ndarray]:
    """Each number in each draw of seeds and studies: name → (draws,)."""
    shared = [name for name in runs[0].values if all(name in run.values for run in runs)]
    found = {}
    for name in shared:
        drawn = np.stack([run.drawn[name] for run in runs])
        picks = _picks(len(runs), drawn.shape[1])
        found[name] = np.take_along_axis(drawn, picks, axis=0).mean(axis=0)
    return found


def _picks(seeds: int, draws: int) -> np.ndarray:
    """Which seeds each draw takes: (seeds, draws), the same for every row of as many seeds."""
    return np.random.default_rng(1).integers(seeds, size=(seeds, draws))


def differences(a: Sequence[Measured], b: Sequence[Measured]) -> list[dict[str, Any]]:
    """`a` minus `b`, runs of the same seeds, for the compared numbers that both have: {"metric", "difference", …, "p"}."""
    mine, other = _spread(a), _spread(b)
    wanted = [*COMPARED, *(name for name in mine if name.startswith(CLASS))]
    rows = []
    for name in (name for name in wanted if name in mine and name in other):
        value = float(np.mean([x.values[name] - y.values[name] for x, y in zip(a, b, strict=True)]))
        rows.append({"metric": name, "difference": value, **interval(mine[name] - other[name])})
    return rows
