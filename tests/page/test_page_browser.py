"""The study page in a real browser: places, shapes, clicks, keys. `show` asserts no request and no complaint for each page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_studies import SPACING, make_mask, make_report, make_volume

from reg2rg.anatomy import PALETTE
from reg2rg.contracts import GroundedReport, RegionMask, RegionSection, Volume
from reg2rg.page import write_study_page

Show = Callable[..., Any]
SHAPE = (40, 30, 20)
NOTHING = RegionMask(np.zeros(SHAPE, np.uint16), frozenset())
EMPTY = GroundedReport("empty", (), "")


@pytest.fixture
def study_page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    write_study_page(path, volume=make_volume(), mask=make_mask(), report=make_report(), notes=["Not for clinical use."])
    return path


def bright_spot(pixels: np.ndarray) -> tuple[float, float]:
    """Where the bright pixels' centre lies: (from the left, from the top), both 0–1."""
    rows, columns = np.nonzero(pixels.max(axis=2) > 128)
    return (columns.mean() + 0.5) / pixels.shape[1], (rows.mean() + 0.5) / pixels.shape[0]


# a block at the patient's right, front or head, and where each plane must show it (from the left, from the top)
MARKERS = {
    "right": ((slice(34, 39), slice(13, 18), slice(8, 13)), {"axial": (0.1, 0.5), "coronal": (0.1, 0.5)}),
    "front": ((slice(17, 24), slice(24, 29), slice(8, 13)), {"axial": (0.5, 0.1), "sagittal": (0.1, 0.5)}),
    "head": ((slice(17, 24), slice(13, 18), slice(16, 20)), {"coronal": (0.5, 0.1), "sagittal": (0.5, 0.1)}),
}


@pytest.mark.parametrize("marker", MARKERS)
def test_right_is_left_front_and_head_are_up(marker: str, tmp_path: Path, show: Show) -> None:
    box, places = MARKERS[marker]
    hu = np.full(SHAPE, -1000, np.int16)
    hu[box] = 1200
    write_study_page(tmp_path / "p.html", volume=Volume(hu, np.diag([*SPACING, 1.0])), mask=NOTHING, report=EMPTY)
    opened = show(tmp_path / "p.html").ready()
    opened.page.get_by_label("Crosshair").uncheck()
    opened.page.get_by_role("button", name="Bone").click()
    opened.settle()
    for plane, place in places.items():
        assert np.allclose(bright_spot(opened.pixels(plane)), place, atol=0.06), plane


def test_letters_say_the_patients_sides(study_page: Path, show: Show) -> None:
    page = show(study_page).ready().page
    read = {}
    for plane in ("axial", "coronal", "sagittal"):
        pane = page.locator(f".pane[data-plane={plane}]")
        read[plane] = [pane.locator(f".to-{side}").inner_text() for side in ("left", "right", "top", "bottom")]
    assert read == {"axial": list("RLAP"), "coronal": list("RLHF"), "sagittal": list("APHF")}


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080), (400, 800)])
def test_voxels_keep_their_shape_in_millimetres(width: int, height: int, study_page: Path, show: Show) -> None:
    mm = dict(zip("xyz", (n * s for n, s in zip(SHAPE, SPACING, strict=True)), strict=True))
    want = {"axial": mm["x"] / mm["y"], "coronal": mm["x"] / mm["z"], "sagittal": mm["y"] / mm["z"]}
    page = show(study_page, width, height).ready().page
    seen = 0
    for plane, ratio in want.items():
        canvas = page.locator(f".pane[data-plane={plane}] canvas")
        if not canvas.is_visible():
            continue
        box, inner = canvas.bounding_box(), canvas.evaluate("(c) => c.width / c.height")
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)
        assert inner == pytest.approx(ratio, rel=0.02)
        rule = page.locator(f".pane[data-plane={plane}] .rule")
        length = {"cm": 10, "mm": 1}[rule.inner_text().split()[1]] * float(rule.inner_text().split()[0])
        assert rule.bounding_box()["width"] / length == pytest.approx(
            box["width"] / (mm["y" if plane == "sagittal" else "x"]), rel=0.02
        )
        seen += 1
    assert seen == (1 if width == 400 else 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_on_a_sentence_shows_its_region(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    page = opened.page
    page.locator(".pane[data-plane=axial] .slider").fill("2")
    page.get_by_text("The heart is large.", exact=True).first.click()
    page.mouse.move(1, 1)
    opened.settle()
    heart = page.locator("li[data-region=heart]")
    assert "selected" in heart.get_attribute("class") and heart.locator("button").get_attribute("aria-pressed") == "true"
    assert opened.index("axial") == 14
    assert "Heart shown, axial slice 15 of 20" in page.locator(".status").inner_text()
    # heart: x 22–35, y 6–21 → its centre is left of the middle, a little above it
    pixels = opened.pixels("axial").astype(int)
    inside = pixels[round(pixels.shape[0] * (1 - 10 / 30)), round(pixels.shape[1] * (1 - 26 / 40))]
    assert inside[0] > inside[1] + 40 and inside[0] > inside[2] + 40
    # the others are dimmed: nothing of the lung is filled in its own slice
    page.locator(".pane[data-plane=axial] .slider").fill("5")
    opened.settle()
    pixels = opened.pixels("axial").astype(int)
    lung = pixels[pixels.shape[0] // 2, round(pixels.shape[1] * (1 - 8 / 40))]
    assert np.ptp(lung) < 12


def test_overlapping_regions_both_show(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    opened.page.get_by_label("Crosshair").uncheck()
    opened.page.locator(".pane[data-plane=axial] .slider").fill("5")
    opened.settle()
    pixels = opened.pixels("axial").astype(int)
    at = lambda x: pixels[pixels.shape[0] // 2, round(pixels.shape[1] * (1 - (x + 0.5) / 40))]  # noqa: E731
    lung, both, pleura = at(8), at(14.5), at(17)
    assert both.sum() > max(lung.sum(), pleura.sum())
    hue = lambda name: int(PALETTE[name][1:3], 16)  # noqa: E731
    assert hue("lung") > hue("pleura") and lung[0] > pleura[0]


def test_pointing_previews_and_leaves_the_slice(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    start, before = opened.index("axial"), opened.pixels("axial")
    opened.page.locator("li[data-region=lung]").hover()
    opened.settle()
    assert opened.index("axial") == start
    assert not np.array_equal(before, opened.pixels("axial"))
    opened.page.mouse.move(1, 1)
    opened.settle()
    assert np.array_equal(before, opened.pixels("axial"))


def test_keys_walk_through_sections_and_slices(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    press = lambda key: (opened.page.keyboard.press(key), opened.settle())  # noqa: E731
    selected = lambda: opened.page.locator("li.selected").get_attribute("data-region")  # noqa: E731
    press("ArrowDown")
    assert selected() == "lung"
    press("ArrowDown")
    assert selected() == "heart" and opened.index("axial") == 14
    press("ArrowRight")
    assert opened.index("axial") == 15
    press("ArrowUp")
    assert selected() == "lung"
    press("Escape")
    assert opened.page.locator("li.selected").count() == 0


def test_the_wheel_turns_slices_and_a_click_moves_all_planes(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    box = opened.page.locator(".pane[data-plane=axial] canvas").bounding_box()
    start = opened.index("axial")
    opened.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.9)
    opened.page.mouse.wheel(0, 100)
    opened.settle()
    assert opened.index("axial") == start - 2
    opened.page.mouse.down()
    opened.page.mouse.up()
    opened.settle()
    # a quarter from the left is the patient's right, near the bottom is the back
    assert abs(opened.index("sagittal") - 29) <= 1 and abs(opened.index("coronal") - 2) <= 1
    assert opened.page.locator(".readout").inner_text().startswith("R 58 · A 6 · H ")


def test_a_double_click_in_the_picture_finds_the_sentence(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    box = opened.page.locator(".pane[data-plane=axial] canvas").bounding_box()
    opened.page.mouse.dblclick(box["x"] + box["width"] * (1 - 29 / 40), box["y"] + box["height"] * (1 - 14 / 30))
    opened.settle()
    assert opened.page.locator("li.selected").get_attribute("data-region") == "heart"


def test_windows_change_the_grey_and_auto_follows_the_region(study_page: Path, tmp_path: Path, show: Show) -> None:
    hu = np.full(SHAPE, -700, np.int16)
    path = tmp_path / "grey.html"
    write_study_page(path, volume=Volume(hu, np.diag([*SPACING, 1.0])), mask=make_mask(), report=make_report())
    opened = show(path).ready()
    corner = lambda: int(opened.pixels("axial")[2, 2, 0])  # noqa: E731
    seen = {}
    for name in ("Lung", "Mediastinum", "Bone"):
        opened.page.get_by_role("button", name=name, exact=True).first.click()
        opened.settle()
        seen[name] = corner()
    assert seen["Lung"] == pytest.approx(255 * (0.5 - 100 / 1500), abs=6)
    assert seen["Mediastinum"] == seen["Bone"] == 0
    opened.page.get_by_role("button", name="Auto").click()
    opened.page.locator("li[data-region=lung] button").click()
    opened.settle()
    assert corner() == pytest.approx(seen["Lung"], abs=2)


def test_a_narrow_screen_shows_one_plane_and_switches(study_page: Path, show: Show) -> None:
    opened = show(study_page, 400, 800).ready()
    opened.page.get_by_role("button", name="Sagittal", exact=True).click()
    opened.settle()
    assert opened.page.locator(".pane[data-plane=sagittal]").is_visible()
    assert not opened.page.locator(".pane[data-plane=axial]").is_visible()


def test_a_plane_is_enlarged_and_keys_turn_it(study_page: Path, show: Show) -> None:
    opened = show(study_page).ready()
    width = lambda plane: opened.page.locator(f".pane[data-plane={plane}]").bounding_box()["width"]  # noqa: E731
    opened.page.get_by_label("Enlarge the coronal plane").click()
    opened.settle()
    assert width("coronal") > 1.5 * width("axial") == 1.5 * width("sagittal")
    before = opened.index("coronal"), opened.index("axial")
    opened.page.keyboard.press("ArrowLeft")
    opened.settle()
    assert (opened.index("coronal"), opened.index("axial")) == (before[0] - 1, before[1])


def test_opening_a_reference_and_marking_text_choose_nothing(study_page: Path, show: Show) -> None:
    page = show(study_page).ready().page
    page.locator("li[data-region=lung] summary").click()
    assert page.get_by_text("Both lungs are clear.").is_visible() and page.locator("li.selected").count() == 0
    box = page.get_by_text("No effusion is seen.").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 8)
    page.mouse.up()
    assert page.locator("li.selected").count() == 0
    page.locator("li[data-region=pleura] button").click()
    assert page.locator("li.selected").count() == 1
    page.locator("li[data-region=pleura] button").click()
    assert page.locator("li.selected").count() == 0


def test_the_anchor_opens_a_region(study_page: Path, show: Show) -> None:
    opened = show(study_page, anchor="#scan-1/heart").ready()
    assert opened.page.locator("li.selected").get_attribute("data-region") == "heart" and opened.index("axial") == 14


def test_light_and_dark_follow_the_reader(study_page: Path, show: Show) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (show(study_page, scheme=s).ready().page.evaluate(colour) for s in ("light", "dark"))
    assert light == "rgb(243, 245, 247)" and dark == "rgb(14, 19, 24)"


def test_paper_gets_stills_and_open_references(study_page: Path, show: Show) -> None:
    page = show(study_page).ready().page
    assert not page.locator("canvas.still").first.is_visible()
    assert len(page.pdf(format="A4", print_background=True)) > 20_000
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("canvas.still").first.is_visible()
    assert page.get_by_text("Both lungs are clear.").is_visible()
    assert not page.locator(".viewer .bar").is_visible()


def test_text_of_any_kind_is_text(tmp_path: Path, show: Show) -> None:
    evil = "<script>window.taken=1</script></script><img src='https://example.org/x.png' onerror='window.taken=2'> & \"quoted\""
    sections = (RegionSection(0, "lung", evil, 0.5, evil, evil), RegionSection(1, evil, "lung", float("nan"), "x " * 20_000))
    report = GroundedReport(evil, sections, evil, evil, {evil: evil, "warnings": [evil]})
    write_study_page(tmp_path / "p.html", volume=make_volume(), mask=make_mask(), report=report, notes=[evil], title=evil)
    for width in (1280, 400):
        page = show(tmp_path / "p.html", width).ready().page
        assert page.evaluate("window.taken") is None
        assert page.locator("h1").inner_text() == page.title() == evil
        assert page.locator("li[data-region=lung] .text").inner_text().strip() == evil
        assert page.locator(".banner p").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("word", ["", "Pneumonoultramicroscopicsilicovolcanoconiosis" * 30])
def test_no_region_no_text_and_one_endless_word(word: str, tmp_path: Path, show: Show) -> None:
    report = GroundedReport("s" * 200, (), word)
    write_study_page(tmp_path / "p.html", volume=make_volume(), mask=NOTHING, report=report)
    page = show(tmp_path / "p.html", 400).ready().page
    assert page.locator(".missing li").count() == 10
    assert (word or "This report has no text.") in page.locator(".report").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.keyboard.press("ArrowDown")


def test_a_slice_of_one_voxel_and_a_long_thin_volume(tmp_path: Path, show: Show) -> None:
    for shape in ((1, 1, 1), (3, 90, 2)):
        volume = Volume(np.zeros(shape, np.int16), np.eye(4))
        mask = RegionMask.from_masks({"bone": np.ones(shape, bool)})
        write_study_page(tmp_path / "p.html", volume=volume, mask=mask, report=EMPTY)
        opened = show(tmp_path / "p.html").ready()
        opened.page.locator("li[data-region=bone] button").click()
        assert opened.settle().index("axial") == 0
