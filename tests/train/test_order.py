"""Each study once an epoch, whatever the number of processes; batches are the same from any number of workers."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.train.loading import seed_pass
from reg2rg.train.order import Order, Work

SMALL = st.integers(1, 9)


@given(st.integers(1, 60), SMALL, SMALL, st.integers(0, 3), st.integers(1, 8), st.integers(1, 3))
def test_no_study_is_dropped_or_seen_twice(count: int, size: int, turns: int, seed: int, world: int, epochs: int) -> None:
    order = Order(count, size * turns, size, seed, 0)
    for epoch in range(epochs):
        seen: Counter[int] = Counter()
        for step in range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch):
            works = [order.works(step, rank, world) for rank in range(world)]
            assert len({len(w) for w in works}) == 1, "a process would wait for ever"
            own = [s for w in works for work in w if work.real for s in work.studies]
            assert sorted(own) == sorted(order.chosen(step)[1])
            assert all(work.total == len(own) and len(work.studies) <= size for w in works for work in w)
            assert all([work.last for work in w] == [False] * (len(w) - 1) + [True] for w in works)
            seen.update(own)
        assert seen == Counter(range(count))


@given(st.integers(1, 60), SMALL, st.integers(0, 3), st.integers(1, 6))
def test_the_order_does_not_depend_on_the_world_or_the_place_to_start_from(
    count: int, size: int, seed: int, start: int
) -> None:
    order = Order(count, size, size, seed, start + 4)
    whole = [w.studies for w in order.all_works(0, 0, 1)]
    later = [w.studies for w in order.all_works(start, 0, 1)]
    assert whole[len(whole) - len(later) :] == later
    assert [order.chosen(step)[1] for step in range(start + 4)] == [list(s) for s in whole]


def test_epochs_and_seeds_shuffle_differently() -> None:
    order = Order(40, 40, 40, 1, 2)
    assert order.chosen(0) != order.chosen(1)
    assert order.chosen(0) != Order(40, 40, 40, 2, 2).chosen(0)


def test_dropout_follows_from_the_pass_alone() -> None:
    work = Work(3, 0, (5, 7), 2, True, True)
    seed_pass(1, work)
    first = torch.rand(3)
    torch.rand(100)
    seed_pass(1, Work(9, 0, (5, 7), 4, True, False))
    assert torch.equal(first, torch.rand(3))
    seed_pass(2, work)
    assert not torch.equal(first, torch.rand(3))
