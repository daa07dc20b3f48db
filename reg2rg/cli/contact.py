"""The contact sheet of a store, as `preprocess` leaves it beside qc.csv and `view STORE/qc.csv` writes it anywhere."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError

PAGE = "qc.html"


def write_sheet(store: Path, out: Path, *, split: str = "", title: str = "") -> int:
    """Writes the sheet of a store's qc.csv, or of one split's studies; gives the number of pages.

    Raises UserError where there is no such table, or none of its studies is in the split.
    """
    from ..data.store import Store
    from ..page.contact import write_contact_sheet
    from ..preprocess import explain, read_table

    rows = read_table(store)
    if split:
        wanted = set(Store(store).ids(split))
        rows = [row for row in rows if row["study"] in wanted]
    if not rows:
        what = f"no study of the table is in the split '{split}'" if split else "the table is empty or of another version"
        raise UserError(what, store / "qc.csv", "Run the same reg2rg preprocess again: it writes the table anew.")
    studies = store / "studies"
    return len(write_contact_sheet(out, rows, lambda id: _picture(studies / f"{id}.h5"), explain=explain(), title=title))


def _picture(path: Path) -> bytes:
    """A study's picture; empty where its file has none or can't be read."""
    from ..data.inspection import read_picture
    from ..data.store import open_study

    try:
        with open_study(path) as file:
            return read_picture(file)
    except UserError:
        return b""
