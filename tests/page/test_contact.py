"""The contact sheet: the flagged first, found and sorted in the browser, pages for many, and text that stays text."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from samples_body import chest, study

from reg2rg.data.boxes import measure
from reg2rg.errors import UserError
from reg2rg.page import contact
from reg2rg.page.contact import write_contact_sheet
from reg2rg.preprocess.qc_picture import draw

Show = Callable[..., Any]
EXPLAIN = {"mirrored": "Left and right were exchanged."}


def row(id: str, flags: str = "", **cells: str) -> dict[str, str]:
    why = "; ".join(f"why {flag}" for flag in flags.split("; ") if flag)
    return {"study": id, "flags": flags, "why": why, "lung_ml": "3000.5", "not_in_view": "thyroid", **cells}


ROWS = [
    row("a", lung_ml="4000"),
    row("b", "mirrored; lungs unequal", cut="lung (left, head)", lung_ml=""),
    row("c", "lungs unequal", lung_ml="2000"),
    row("d", not_in_view="", not_given="thyroid", lung_pleura_dice="0.0"),
]


@pytest.fixture(scope="module")
def png() -> bytes:
    volume, mask = study(*chest())
    return draw(volume, mask, measure(volume.hu, mask.bits))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies a page."""
    monkeypatch.setattr(contact, "PER_PAGE", 2)


def ids(html: str) -> list[str]:
    return re.findall(r'data-id="([^"]*)"', html)


def test_one_page_holds_all_with_pictures_the_flagged_first(tmp_path: Path, png: bytes) -> None:
    assert write_contact_sheet(tmp_path / "qc.html", ROWS, lambda id: png, explain=EXPLAIN) == [tmp_path / "qc.html"]
    html = (tmp_path / "qc.html").read_text()
    assert ids(html) == ["b", "c", "a", "d"] and html.count(base64.b64encode(png).decode()) == 4
    assert "4 studies, 2 with a flag" in html and "why lungs unequal" in html and EXPLAIN["mirrored"] in html
    assert "cut by the border: lung (left, head)" in html and "not given: thyroid" in html and "Dice 0.00" in html
    assert [p.name for p in tmp_path.iterdir()] == ["qc.html"]


def test_many_studies_get_pages_and_an_index(tmp_path: Path, png: bytes, few: None) -> None:
    pages = write_contact_sheet(tmp_path / "my qc.html", ROWS, lambda id: png, explain=EXPLAIN)
    assert [str(p.relative_to(tmp_path)) for p in pages] == ["my qc.html", "my qc/page-001.html", "my qc/page-002.html"]
    assert [ids(p.read_text()) for p in pages] == [[], ["b", "c"], ["a", "d"]]
    links = [re.findall(r'<a href="([^"]*)"', p.read_text()) for p in pages]
    assert links[0] == ["my%20qc/page-001.html", "my%20qc/page-002.html"]
    assert links[1:] == [["../my%20qc.html", "page-002.html"], ["../my%20qc.html", "page-001.html"]]
    assert "data:image" not in pages[0].read_text()


def test_the_same_rows_make_the_same_bytes_and_fewer_leave_no_page(tmp_path: Path, png: bytes, few: None) -> None:
    def write(n: int) -> dict[str, bytes]:
        pages = write_contact_sheet(tmp_path / "qc.html", ROWS[:n], lambda id: png, explain=EXPLAIN)
        return {str(p): p.read_bytes() for p in pages}

    assert write(4) == write(4) and len(write(4)) == 3
    assert len(write(2)) == 1 and not list((tmp_path / "qc").iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, few: None) -> None:
    (tmp_path / "qc").mkdir()
    (tmp_path / "qc/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'mine.txt'"):
        write_contact_sheet(tmp_path / "qc.html", ROWS, lambda id: b"", explain=EXPLAIN)
    assert [p.name for p in sorted(tmp_path.rglob("*"))] == ["qc", "mine.txt"]


def test_no_study_no_picture_and_no_number(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "qc.html", [], lambda id: b"", explain={})
    assert "0 studies, none with a flag" in (tmp_path / "qc.html").read_text()
    write_contact_sheet(tmp_path / "qc.html", [row("a", lung_ml="")], lambda id: b"", explain={})
    assert "no picture" in (tmp_path / "qc.html").read_text()
    with pytest.raises(UserError, match="'many' under lung_ml of study 'a' is no number"):
        write_contact_sheet(tmp_path / "qc.html", [row("a", lung_ml="many")], lambda id: b"", explain={})


def test_a_reader_finds_sorts_and_follows(tmp_path: Path, png: bytes, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "</script><img src=x onerror='window.taken=1'>\"&"
    rows = [*ROWS, row(evil, evil, not_given=evil)]
    write_contact_sheet(tmp_path / "one.html", rows, lambda id: png, explain={evil: evil}, title=evil)
    monkeypatch.setattr(contact, "PER_PAGE", 2)
    write_contact_sheet(tmp_path / "many.html", rows, lambda id: png, explain={evil: evil}, title=evil)
    for name in ("one", "many"):
        page = show(tmp_path / f"{name}.html").ready(".sheet").page
        shown = lambda: [text.strip() for text in page.locator(".entry h2").all_inner_texts()]  # noqa: B023, E731
        assert shown() == ["b", evil, "c", "a", "d"]
        page.get_by_role("button", name="lungs unequal").click()
        assert shown() == ["b", "c"] and page.locator(".count").inner_text() == "2 of 5 studies"
        page.get_by_role("button", name="not given: thyroid").click()
        assert shown() == ["b", "c", "d"]
        page.get_by_label("Sort by").select_option("lung ml")
        page.get_by_label("largest first").check()
        assert shown() == ["d", "c", "b"]
        page.get_by_placeholder("study").fill("nobody")
        assert shown() == [] and page.get_by_text("No study fits.").is_visible()
        assert page.evaluate("window.taken") is None and page.title() == evil
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.get_by_placeholder("study").fill("D")
    page.get_by_role("link", name="d", exact=True).click()
    page.wait_for_selector(".sheet[data-ready=true]")
    assert page.url.endswith("many/page-003.html#s3") and page.locator(".entry:target h2").inner_text() == "d"
    assert page.locator(".entry:target img").evaluate("(image) => image.naturalWidth") > 200
