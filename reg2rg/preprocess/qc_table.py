"""`STORE/qc.csv`: one row a stored study, in the order of their ids; and what a worker measures of a study for it.

The facts lie in each study's own file, which is the truth; the table is made of them, so that the same store has the same
table however it was made: at once, in parts, or after an interruption.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ..anatomy import REGIONS
from ..contracts import RegionMask, Volume
from ..data import store
from ..data.boxes import Facts
from ..data.inspection import Inspection, read_quality
from ..errors import UserError
from ..files import shared_file
from .qc import Quality, measure_quality
from .qc_picture import draw
from .qc_rules import cut_regions, flags, left_right

NAME = "qc.csv"
NOT_MEASURED = "not measured"
COLUMNS = (
    "study", "flags", "why", *(f"{region.replace(' ', '_')}_ml" for region in REGIONS),
    "lung_left_ml", "lung_right_ml", "lung_left_right", "lung_pleura_dice", "pleura_in_lung", "heart_left_mm",
    "not_in_view", "not_given", "cut",
)  # fmt: skip

Row = Mapping[str, str]


def inspect(id: str, volume: Volume, mask: RegionMask, facts: Facts) -> tuple[Inspection, Row]:
    """What is kept in a study's file, and its row of the table."""
    quality = measure_quality(volume, mask, facts)
    return Inspection(quality.to_json(), draw(volume, mask, facts)), row_of(id, quality)


def inspect_stored(id: str, path: Path) -> Row:
    """Measures a study that an earlier version stored, adds what was found to its file, and gives its row."""
    with store.open_study(path) as file:
        facts = store.read_facts(file)
    volume, mask = store.read_volume(path), store.read_mask(path)
    inspection, row = inspect(id, volume, mask, facts or store.measure(volume.hu, mask.bits))
    store.add_inspection(path, inspection)
    return row


def row_of(id: str, quality: Quality) -> Row:
    """A study's row. An empty cell: not given, or it can't be told."""
    found, parts = flags(quality), quality.regions
    heart = parts["heart"].centre if "heart" in parts else None
    left, right = quality.lungs or (None, None)
    cells: dict[str, object] = {
        "study": id,
        "flags": "; ".join(flag.name for flag in found),
        "why": "; ".join(flag.words for flag in found),
        **{f"{r.replace(' ', '_')}_ml": p.ml for r, p in parts.items()},
        "lung_left_ml": left,
        "lung_right_ml": right,
        "lung_left_right": left_right(quality),
        "lung_pleura_dice": quality.dice,
        "pleura_in_lung": quality.inside,
        "heart_left_mm": round(quality.spine[0] - heart[0], 1) if quality.spine and heart else None,
        "not_in_view": "; ".join(r for r in REGIONS if r in parts and not parts[r].ml),
        "not_given": "; ".join(r for r in REGIONS if r not in parts),
        "cut": "; ".join(f"{r} ({', '.join(sides)})" for r, sides in cut_regions(quality).items()),
    }
    return {c: "" if cells.get(c) is None else str(cells[c]) for c in COLUMNS}


def read_row(path: Path) -> Row | None:
    """The row of a stored study; None where its file can't be read, or holds no facts that this version understands."""
    try:
        with store.open_study(path) as file:
            quality = Quality.from_json(read_quality(file))
    except UserError:
        return None
    return row_of(path.stem, quality) if quality else None


def write_table(out: Path, known: Mapping[str, Row]) -> None:
    """Writes the table of all studies in the store.

    `known`: the rows of studies that this run made or looked at; those of others stay as they are in the table, or come from
    their files. The caller keeps other runs from writing it at once.
    """
    before = {row["study"]: row for row in read_table(out) if row["flags"] != NOT_MEASURED}
    rows = []
    for path in sorted((out / "studies").glob("[!.]*.h5"), key=lambda p: p.stem):
        row = known.get(path.stem) or before.get(path.stem) or read_row(path)
        rows.append(row or {**dict.fromkeys(COLUMNS, ""), "study": path.stem, "flags": NOT_MEASURED})
    with shared_file(out / NAME) as temp:
        _write(temp, rows)


def read_table(out: Path) -> list[Row]:
    """The rows of a store's table; none where there is no table, or one with other columns (of another version)."""
    path = out / NAME
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader) if tuple(reader.fieldnames or ()) == COLUMNS else []
    return [row for row in rows if None not in row and None not in row.values()]  # not those of a table cut short


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
