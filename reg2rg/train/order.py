"""Which studies make each optimizer step, and which process takes them: from the seed alone, the same for any world.

An epoch shuffles all studies once and cuts them into steps of `effective` studies, the last one shorter, and a step into passes
of `size` studies (fewer, where processes would go without). Process r of w takes every w-th pass from the r-th on: so a pass
holds the same studies, and drops out the same, in any world.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """One pass of one process: `studies` of a step of `total` studies; `last` where the step's gradients are complete.

    Where `real` is False, the studies only stand in, with weight nothing: every process makes as many passes, or those that
    have one more would wait for the others for ever.
    """

    step: int
    epoch: int
    studies: tuple[int, ...]
    total: int
    real: bool
    last: bool


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of `count` studies: `effective` a step, `size` a pass, `total` steps, shuffled by `seed`."""

    count: int
    effective: int
    size: int
    seed: int
    total: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which every study is seen once."""
        return math.ceil(self.count / self.effective)

    def chosen(self, step: int) -> tuple[int, list[int]]:
        """The epoch of a step and its studies."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch, _shuffled(self.count, self.seed, epoch)[place * self.effective : (place + 1) * self.effective]

    def works(self, step: int, rank: int, world: int) -> list[Work]:
        """The passes of one process in one step; as many for every process."""
        epoch, chosen = self.chosen(step)
        size = min(self.size, math.ceil(self.effective / world))
        passes = [tuple(chosen[start : start + size]) for start in range(0, len(chosen), size)]
        mine = passes[rank::world]
        mine += [()] * (math.ceil(len(passes) / world) - len(mine))
        return [
            Work(step, epoch, studies or (chosen[0],), len(chosen), bool(studies), number == len(mine) - 1)
            for number, studies in enumerate(mine)
        ]

    def all_works(self, start: int, rank: int, world: int) -> Iterator[Work]:
        """The passes of one process from step `start` to the end."""
        for step in range(start, self.total):
            yield from self.works(step, rank, world)


@functools.lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    order = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
