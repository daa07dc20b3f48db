"""A plugin as its user chose it: a name, and the options to build it with. A plain name stands for itself everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The plugin `name` with `options`, as `Choice("radbert", {"weights": "models/radbert"})`."""

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, given: str | Choice) -> Choice:
        """The choice itself, or that of a plain name."""
        return given if isinstance(given, Choice) else cls(given)


Named = str | Choice
