"""The conformance kit: what a plugin of each kind must hold to, as small named checks on tiny synthetic inputs.

In: a plugin's kind and name. Out: a `Verdict` with one `Outcome` a check. `reg2rg plugins check NAME` prints it; a plugin
author's own test is one line, `assert (v := conform("metric", "mine")).passed, v`. Checks of a kind are loaded with it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from .. import plugins
from ..errors import UserError

SIZE = (64, 64, 32)  # voxels (H, W, D) of the views that encoders are tried on
WIDTH = 48  # features that an adapter is tried on

# What the toolkit itself passes to a constructor that asks for it (see hookspecs.py).
FILLED: dict[str, dict[str, Any]] = {
    "volume-encoder": {"size": SIZE},
    "adapter": {"width": WIDTH},
    "geometry-encoder": {"size": SIZE},
    "decoder": {"dtype": "float32"},
}
_MODULES = {"metric": "scores", "labeler": "scores", "splitter": "scores", "segmenter": "masks", "decoder": "language"}


class Unmet(Exception):
    """A check that isn't met; says what was found instead."""


def expect(condition: object, found: object) -> None:
    """Raises `Unmet` with what was found where `condition` doesn't hold."""
    if not condition:
        raise Unmet(str(found))


@dataclasses.dataclass(frozen=True)
class Subject:
    """A plugin under test: `part` is built once, `build()` makes another one."""

    build: Callable[[], Any]

    @functools.cached_property
    def part(self) -> Any:
        """The plugin's object."""
        return self.build()


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """One check: what was expected, whether it holds, and what was found where it doesn't."""

    expected: str
    passed: bool
    found: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """All outcomes of one plugin."""

    offer: plugins.Offer
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that don't hold."""
        return tuple(o for o in self.outcomes if not o.passed)

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return not self.failures

    def __str__(self) -> str:
        if self.passed:
            return f"{self.offer} passes {len(self.outcomes)} checks."
        broken = "; ".join(f"expected: {o.expected}; found: {o.found}" for o in self.failures)
        return f"{self.offer} breaks its contract in {len(self.failures)} of {len(self.outcomes)} checks: {broken}."


Test = Callable[[Subject], None]
_CHECKS: dict[str, list[tuple[str, Test]]] = {}


def check(kind: str, expected: str) -> Callable[[Test], Test]:
    """Marks a function as a check of `kind`; `expected` says in words what it expects."""

    def mark(test: Test) -> Test:
        _CHECKS.setdefault(kind, []).append((expected, test))
        return test

    return mark


def checks_of(kind: str) -> list[tuple[str, Test]]:
    """The checks of one kind, in their order."""
    importlib.import_module(f".{_MODULES.get(kind, 'encoders')}", __package__)
    return _CHECKS[kind]


def conform(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Verdict:
    """Tries the plugin `name` of `kind`, built with `options`. Raises UserError where there is no such plugin."""
    offer = plugins.registry().find(kind, name)
    subject = Subject(lambda: plugins.resolve(kind, name, options, **FILLED.get(kind, {})))
    outcomes = [_try("it can be imported and built", lambda s: expect(s.part is not None, "None"), subject)]
    for expected, test in checks_of(kind):
        if len(outcomes) <= 2 and not outcomes[-1].passed:
            break  # it wasn't built, or the first check of its kind, the ground of the others, doesn't hold
        outcomes.append(_try(expected, test, subject))
    return Verdict(offer, tuple(outcomes))


def _try(expected: str, test: Test, subject: Subject) -> Outcome:
    """One check in isolation: whatever a plugin throws is an outcome."""
    try:
        test(subject)
    except (Unmet, UserError) as error:
        return Outcome(expected, False, str(error).rstrip("."))
    except Exception as error:
        return Outcome(expected, False, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return Outcome(expected, True)
