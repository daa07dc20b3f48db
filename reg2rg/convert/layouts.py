"""A layout: one form of file that authors publish, as a table of which official key is which of ours.

In: an official key. Out: our name of it, or that it repeats another key, is kept aside, or isn't taken; and the way back. The
tables themselves are data, in `tables.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """One form of official file.

    `wrappers`: prefixes that a key may begin with, which no table below names. `renames`: official prefix → ours, the first
    that fits. `twins`: a key that repeats another one, whose name is made from a third (pattern, replacement). `repeats`:
    patterns of keys that repeat another one → that one's name. `aside`: a pattern of keys that our model has no place for →
    their names in `rest.safetensors`, kept for the way back. `left_out`: prefixes of groups that we don't take, with what they
    are. `mark`: a pattern of a key that this layout alone has. `parts`: our modules in it → the plugins with these parameters.
    `nested`: the file is a mapping of these groups, not of tensors (what a segmenter's holds beside them isn't read). `peft`:
    adapted layers may lack `.base_layer`. `within`: parts of official names → ours, the first that a key holds, inside a
    renamed key.
    """

    name: str
    title: str
    files: tuple[str, ...]
    mark: str
    renames: tuple[tuple[str, str], ...]
    parts: Mapping[str, str]
    twins: tuple[tuple[str, str, str], ...] = ()
    aside: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    nested: tuple[str, ...] = ()
    peft: bool = False
    wrappers: tuple[str, ...] = ()
    repeats: tuple[tuple[str, str], ...] = ()
    within: tuple[tuple[str, str], ...] = ()

    def bare(self, key: str) -> str:
        """An official key without its wrappers."""
        for wrapper in self.wrappers:
            key = key.removeprefix(wrapper)
        return key

    def ours(self, key: str) -> str | None:
        """Our name of an official key; None where the table has no place for it."""
        key = self.bare(key)
        found = next((new + key.removeprefix(old) for old, new in self.renames if key.startswith(old)), None)
        return found and next((found.replace(old, new) for old, new in self.within if old in found), found)

    def official(self, key: str) -> str | None:
        """The official name of one of our keys; None where the layout has no place for it."""
        found = next((old + key.removeprefix(new) for old, new in self.renames if key.startswith(new)), None)
        return found and next((found.replace(new, old) for old, new in self.within if new in found), found)

    def rest(self, key: str) -> str | None:
        """The name in `rest.safetensors` of an official key that is kept aside; None for any other."""
        key = self.bare(key)
        return next((re.sub(old, new, key, count=1) for old, new in self.aside if re.match(old, key)), None)

    def original(self, key: str, keys: Iterable[str]) -> str | None:
        """The official key that `key` repeats in a file that holds `keys`; None for a key that repeats none."""
        for twin, third, name in self.twins:
            if key == twin:
                return next((re.sub(third, name, k) for k in keys if re.fullmatch(third, k)), None)
        first = bare = self.bare(key)
        for pattern, name in self.repeats:
            first = re.sub(pattern, name, first)
        return None if first == bare else key.removesuffix(bare) + first

    def group(self, key: str) -> str | None:
        """What group a key belongs to that we don't take; None for any other."""
        key = self.bare(key)
        return next((what for prefix, what in self.left_out if key.startswith(prefix)), None)
