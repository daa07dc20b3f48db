"""A bench under a launcher (`accelerate launch`, torchrun): what one process does alone, and where all of them meet."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any

from ..errors import UserError

WORLD = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))


def alone(work: Callable[[], object]) -> None:
    """Calls `work` in the first process while the others wait; its UserError is raised in all of them."""
    fault: list[Any] = [None]
    if RANK == 0:
        try:
            work()
        except UserError as error:
            fault = [(error.what, error.where, error.fix, error.code)]
            if WORLD == 1:
                raise
    if WORLD > 1:
        from accelerate.utils import broadcast_object_list

        _join()
        broadcast_object_list(fault)
    if fault[0] is not None:
        raise UserError(*fault[0])


def meet() -> None:
    """Until every process is here."""
    if WORLD > 1:
        _join().wait_for_everyone()


def _join() -> Any:
    from accelerate import PartialState

    from ..train.engine import accelerated

    # the others may wait for hours while one pretrains: the usual patience of ten minutes would end the bench
    return PartialState(cpu=not accelerated(), timeout=datetime.timedelta(days=7))
