"""A file's keys sorted by its layout, and compared strictly with what our modules want.

In: tensors by official name. Out: `Sorted`: ours by our names, what is kept aside, what is left out. Every fault is said with
the official names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from .kinds import OTHERS, kind_of, recognise
from .layouts import Layout
from .reading import listed
from .tables import LAYOUTS


@dataclasses.dataclass(frozen=True, slots=True)
class Sorted:
    """A file's tensors: `ours` by our names, `rest` by theirs in rest.safetensors; groups left out with their key counts.

    `names`: our name → the official one in this file. `unknown`: official keys that the layout has no place for.
    """

    layout: Layout
    ours: dict[str, Tensor]
    names: dict[str, str]
    rest: dict[str, Tensor]
    left_out: dict[str, int]
    unknown: list[str]


def expect(keys: Collection[str], layouts: Iterable[str], where: Path) -> Layout:
    """The layout of a file's keys, one of `layouts`. Raises UserError that says what the file looks like instead."""
    wanted = [LAYOUTS[name] for name in layouts]
    found = recognise(keys)
    if found in wanted:
        return found
    asked = " or ".join(layout.title for layout in wanted)
    if found is not None:
        kind = kind_of(found)
        same = any(layout.name in kind.layouts for layout in wanted)  # the other file of a kind that has two
        fix = "Give that one, with this one beside it." if same else f"Use: reg2rg convert {kind.name} SOURCE --out DIR"
        raise UserError(f"this looks like {found.title}, not {asked}", where, fix)
    for mark, what, fix in OTHERS:
        if any(re.match(mark, key) for key in keys):
            raise UserError(f"this looks like {what}, not {asked}", where, fix)
    raise UserError(f"this isn't {asked}: its keys are {listed(keys) or 'none'}", where, "Give the published file.")


def modern(key: str, keys: Collection[str]) -> str:
    """The name that peft gives today: before 0.6 an adapted layer's own weights stood without `.base_layer`."""
    stem, _, last = key.rpartition(".")
    adapted = f"{stem}.lora_A.default.weight" in keys and not stem.endswith(".base_layer")
    return f"{stem}.base_layer.{last}" if adapted and last in ("weight", "bias") else key


def our_name(layout: Layout, key: str, keys: Collection[str]) -> str | None:
    """Our name of an official key of a file that holds `keys`; None where we have no place for it."""
    return layout.ours(modern(key, keys) if layout.peft else key)


def sort(layout: Layout, tensors: Mapping[str, Tensor], where: Path) -> Sorted:
    """Sorts a file's tensors by its layout. Raises UserError where a repeated tensor differs from the one it repeats."""
    out = Sorted(layout, {}, {}, {}, {}, [])
    for key, tensor in tensors.items():
        if (original := layout.original(key, tensors)) is not None:
            _take_twin(out, key, original, tensors, where)
        elif (rest := layout.rest(key)) is not None:
            out.rest[rest] = tensor
        elif (group := layout.group(key)) is not None:
            out.left_out[group] = out.left_out.get(group, 0) + 1
        elif (name := our_name(layout, key, tensors)) is not None:
            out.ours[name], out.names[name] = tensor, key
        else:
            out.unknown.append(key)
    return out


def _take_twin(out: Sorted, key: str, original: str, tensors: Mapping[str, Tensor], where: Path) -> None:
    """A repeated tensor is dropped; of two equal tensors safetensors keep one, and it may be this one."""
    name = our_name(out.layout, original, tensors)
    if original not in tensors and name is None:
        out.unknown.append(key)
        return
    if original not in tensors:
        original = out.names.setdefault(str(name), key)
        out.ours.setdefault(str(name), tensors[key])
    if not same_bits(tensors[key], tensors[original]):
        raise UserError(f"'{key}' should repeat '{original}', but differs from it", where, "The file isn't as published.")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether `b`, in the type of `a`, has the same bits; not-a-numbers equal themselves, and -0 isn't 0."""
    if a.shape != b.shape:
        return False
    if a.data_ptr() == b.data_ptr() and a.dtype == b.dtype:
        return True
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(whole), b.to(a.dtype).contiguous().view(whole))


def check(found: Sorted, wanted: Mapping[str, torch.Size], where: Path, fix: str = "") -> None:
    """Raises UserError that names missing, unknown and misshaped keys and those of a wrong type, first ones and counts."""
    layout = found.layout
    missing = [str(layout.official(k)) for k in wanted if k not in found.ours]
    unknown = [*found.unknown, *(found.names[k] for k in found.ours if k not in wanted)]
    shapes = [k for k, v in found.ours.items() if k in wanted and v.shape != wanted[k]]
    counts = ".num_batches_tracked"  # of batch norms, whole numbers
    types = [k for k, v in found.ours.items() if k in wanted and not (v.is_floating_point() or k.endswith(counts))]
    told = [f"{_count(missing)} missing: {listed(missing)}"] if missing else []
    told += [f"{_count(unknown)} unknown: {listed(unknown)}"] if unknown else []
    if shapes:
        each = [f"'{found.names[k]}' is {tuple(found.ours[k].shape)} instead of {tuple(wanted[k])}" for k in shapes[:3]]
        more = [f"{len(shapes) - 3} more"] * (len(shapes) > 3)
        told.append(f"{_count(shapes)} of another shape: {', '.join([*each, *more])}")
    if types:
        each = [f"'{found.names[k]}' is {str(found.ours[k].dtype).removeprefix('torch.')}" for k in types[:3]]
        told.append(f"{_count(types)} no floating-point tensor: {', '.join(each)}")
    if told:
        raise UserError(f"the weights aren't those of {layout.title}: {'; '.join(told)}", where, fix)


def _count(keys: Collection[str]) -> str:
    return "1 key is" if len(keys) == 1 else f"{len(keys)} keys are"
