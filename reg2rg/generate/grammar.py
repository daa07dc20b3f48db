"""The region grammar: "The region i is NAME:" for each slot in turn, each known name at most once, free text in between.

A logits processor over the generated ids alone, so that it works where the prompt came in as embeddings. It also gives each
name's confidence: its probability among all ten, before used ones are struck out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..anatomy import REGIONS
from ..model.alignment import prefix_text
from ..model.prompt import Encode
from ..recipe import Recipe


@dataclasses.dataclass(slots=True)
class _Row:
    """Where one report stands: the slot, the ids matched of its prefix (None in free text), names used, log-probabilities."""

    slots: int
    slot: int = -1
    path: list[int] | None = None
    used: set[str] = dataclasses.field(default_factory=set)
    confidence: list[float] = dataclasses.field(default_factory=list)
    logs: dict[int, float] = dataclasses.field(default_factory=dict)
    log: float = 0.0
    seen: int = 0


class RegionGrammar:
    """Processor for `generate(logits_processor=[…])`, greedy or sampling without beams. `slots`: regions of each row."""

    def __init__(self, recipe: Recipe, encode: Encode, eos: int, slots: Sequence[int]) -> None:
        self.eos = eos
        self.prefixes = [
            {area: encode(prefix_text(recipe, slot, area).rstrip())[0] for area in REGIONS}
            for slot in range(max(slots, default=0))
        ]
        self.opening = _common([ids for slot in self.prefixes for ids in slot.values()])
        self.rows = [_Row(n) for n in slots]

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        best = scores.argmax(-1).tolist()
        for number, row in enumerate(self.rows):
            written = ids[number].tolist()
            if self.eos in written[-1:]:
                continue
            for token in written[row.seen :]:
                self._advance(row, token)
            row.seen = len(written)
            self._constrain(row, written, scores[number], best[number])
        return scores

    def confidences(self) -> list[list[float]]:
        """Each row's confidence in the name of each slot that it opened, in order."""
        return [row.confidence for row in self.rows]

    def _advance(self, row: _Row, token: int) -> None:
        """Takes one written token into account."""
        if row.path is None:
            return
        row.path.append(token)
        row.log += row.logs.get(token, 0.0)
        for area, ids in self.prefixes[row.slot].items():
            if ids == row.path:
                row.used.add(area)
                row.confidence.append(round(math.exp(row.log), 4))
                row.path = None
                return

    def _constrain(self, row: _Row, written: list[int], scores: Tensor, best: int) -> None:
        if row.path is None and row.slot + 1 < row.slots:
            opens = self.opening and written[-len(self.opening) :] == self.opening
            if not written or opens or best == self.eos:
                row.slot, row.log = row.slot + 1, 0.0
                row.path = list(self.opening) if opens else []
        if row.path is not None:
            self._hold(row, scores)
        elif row.slot + 1 == row.slots and self.opening and written[-len(self.opening) + 1 :] == self.opening[:-1]:
            scores[self.opening[-1]] = float("-inf")  # no region is left to open

    def _hold(self, row: _Row, scores: Tensor) -> None:
        """Leaves only the tokens that go on with a prefix whose name is unused."""
        depth, path = len(row.path or ()), row.path or []
        going = {a: ids for a, ids in self.prefixes[row.slot].items() if ids[:depth] == path}
        every = sorted({ids[depth] for ids in going.values()})
        free = sorted({ids[depth] for a, ids in going.items() if a not in row.used})
        logs = torch.log_softmax(scores[every].float(), 0).tolist()
        row.logs = dict(zip(every, logs, strict=True))
        kept = scores[free].clone()
        scores.fill_(float("-inf"))
        scores[free] = kept.nan_to_num(nan=0.0, neginf=0.0)


def _common(sequences: Sequence[Sequence[int]]) -> list[int]:
    """The longest common beginning."""
    out: list[int] = []
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        out.append(column[0])
    return out
