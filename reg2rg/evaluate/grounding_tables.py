"""A grounding document as tables, and the sentences that a reader needs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .tables import Row, Table, as_markdown, number

COLUMNS: Mapping[str, tuple[str, str]] = {
    "own": ("text", "own"),
    "others": ("text", "other"),
    "faithful": ("text", "faithfulness"),
    "most": ("text", "most"),
    "between": ("text", "between"),
    "findings own": ("findings", "own"),
    "findings others": ("findings", "other"),
    "follows": ("follows", "after"),
    "before": ("follows", "before"),
    "chance": ("follows", "chance"),
    "donor": ("follows", "donor"),
}
_NARROW = ("own", "others", "faithful", "follows", "before", "chance", "donor")
_WHAT = {"texture": "texture alone", "geometry": "geometry alone", "both": "texture and geometry"}
_NOTE = (
    "Change of a region's section when its tokens are another study's, and of the others. Follows: states what the donor has, "
    "where they differ; before the swap, by chance, and in the donor's own section."
)


def tables(result: Mapping[str, Any], narrow: bool = False) -> list[Table]:
    """A table for each kind of tokens, its first row over all regions; `narrow` is for a terminal and has no intervals."""
    made = []
    for kind, found in result["kinds"].items():
        parts = {"all": found, **found["per_region"]}
        wanted = _NARROW if narrow else tuple(COLUMNS)
        columns = [c for c in wanted if any(_number(part, c) is not None for part in parts.values())]
        rows = tuple(_row(name, part, columns, narrow) for name, part in parts.items())
        made.append(Table(f"Grounding: {_WHAT.get(kind, kind)}", ("region", "n", *columns), rows, 0, _NOTE))
    return made


def _row(name: str, part: Mapping[str, Any], columns: Sequence[str], narrow: bool) -> Row:
    cells = [_number(part, column) for column in columns]
    shown = [c["value"] if narrow and isinstance(c, Mapping) else c for c in cells]
    return (name, str(part["text"]["n"]), *map(number, shown))


def _number(part: Mapping[str, Any], column: str) -> Any:
    measure, name = COLUMNS[column]
    return part.get(measure, {}).get(name)


def remarks(result: Mapping[str, Any]) -> list[str]:
    """How many swaps of what, whether the control held, and whose labels were compared."""
    control, donors = result["control"], result["donors"]
    held = f"{control['changed']} of {control['sections']} sections changed"
    lines = [
        f"{result['swaps']} swaps in {result['n']} studies.",
        f"Control, each region replaced by its own: {held}{'' if control['changed'] else ', as it must be'}.",
    ]
    for kind, found in result["kinds"].items():
        follows = f"; follows {number(found['follows']['after'])}" if "follows" in found else ""
        lines.append(f"{_WHAT.get(kind, kind).capitalize()}: faithfulness {number(found['text']['faithfulness'])}{follows}.")
    if control["changed"]:
        lines.append("The model doesn't write the same twice: changes of this size are noise.")
    if donors["labels unknown"]:
        lines.append(f"{donors['labels unknown']} swaps between studies of unknown labels: what they follow isn't counted.")
    if donors["same findings"]:
        lines.append(f"{donors['same findings']} swaps had no donor with other findings of the region.")
    return lines


def markdown(result: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    parts = ["# Grounding", "\n".join(f"- {line}" for line in remarks(result))]
    for table in tables(result):
        parts += as_markdown(table)
    return "\n\n".join(parts) + "\n"
