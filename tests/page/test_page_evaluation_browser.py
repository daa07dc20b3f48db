"""The evaluation's page in a real browser: what is drawn is what was measured, in any light, width and hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_evaluations import COMPARISON, EVALUATION, EXAMPLES, PUBLISHED, study

from reg2rg.page.evaluation import write_evaluation_page
from reg2rg.page.plots import length_figure

Show = Callable[..., Any]


@pytest.fixture
def evaluation_page(tmp_path: Path) -> Path:
    path = tmp_path / "evaluation.html"
    write_evaluation_page(path, {**EVALUATION, "comparison": COMPARISON}, examples=EXAMPLES, published=PUBLISHED)
    return path


def drawn(page: Any, row: str, part: str) -> dict[str, float]:
    """Left, right and middle of a part of a row's chart, as shares of the chart's axis."""
    axis = page.locator(f"{row} svg .rule").first.bounding_box()
    box = page.locator(f"{row} svg {part}").first.bounding_box()
    left = (box["x"] - axis["x"]) / axis["width"]
    return {"left": left, "right": left + box["width"] / axis["width"], "middle": left + box["width"] / axis["width"] / 2}


def test_bars_whiskers_and_ticks_have_the_right_numbers(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    bleu = "#scores tr[data-key=bleu4]"
    assert drawn(page, bleu, ".bar")["right"] == pytest.approx(0.41, abs=0.01)
    assert drawn(page, bleu, ".whisker")["left"] == pytest.approx(0.38, abs=0.01)
    assert drawn(page, bleu, ".whisker")["right"] == pytest.approx(0.44, abs=0.01)
    assert drawn(page, bleu, ".mark.frequent")["middle"] == pytest.approx(0.39, abs=0.01)
    assert drawn(page, bleu, ".mark.shuffled")["middle"] == pytest.approx(0.35, abs=0.01)
    assert drawn(page, "#scores tr[data-key=cider]", ".bar")["right"] == pytest.approx(0.15, abs=0.01)
    assert page.locator(f"{bleu} td").first.inner_text() == "0.410 0.380 to 0.440"
    nodule = "#findings tr[data-key='Lung nodule']"
    assert drawn(page, nodule, ".bar")["right"] == pytest.approx(0.444, abs=0.01)
    assert [row.get_attribute("data-key") for row in page.locator("#findings tr[data-key]").all()] == [
        "Lung nodule",
        "Emphysema",
    ]
    assert page.locator(f"{nodule} .count-of").inner_text() == "8"
    assert page.locator("#regions tr[data-key=lung] .value").all_inner_texts() == ["–", "0.300", "–", "–", "0.400"]


def test_differences_have_their_side_and_colour(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    reach = 1.05 * 0.2
    for key, value in (("bleu4", 0.1), ("micro_f1", 0.01)):
        assert drawn(page, f"#comparison tr[data-key={key}]", ".dot")["middle"] == pytest.approx(
            0.5 + value / (2 * reach), abs=0.01
        )
    fill = "(dot) => getComputedStyle(dot).fill"
    colours = {k: page.locator(f"#comparison tr[data-key={k}] .dot").evaluate(fill) for k in ("bleu4", "micro_f1", "length_kl")}
    assert colours["bleu4"] == colours["length_kl"] == "rgb(10, 95, 180)" and colours["micro_f1"] == "rgb(255, 255, 255)"
    assert not page.locator("#comparison tr[data-key=Emphysema]").is_visible()
    page.get_by_text("Each finding's F1").click()
    assert page.locator("#comparison tr[data-key=Emphysema]").is_visible()


def test_the_heat_map_is_darkest_where_most_are(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    cells = page.locator(".heat tr").first.locator("td")
    assert cells.all_inner_texts() == ["15", "4", "1"]
    assert cells.nth(0).get_attribute("title") == "lung named lung: 15 of 20"
    script = "(c) => {const x = new OffscreenCanvas(1, 1).getContext('2d'); x.fillStyle = getComputedStyle(c).backgroundColor;"
    light = [
        sum(c.evaluate(script + "x.fillRect(0, 0, 1, 1); return [...x.getImageData(0, 0, 1, 1).data]}")[:3])
        for c in cells.all()
    ]
    assert light[0] < light[1] < light[2]


def test_the_length_curves_peak_where_the_lengths_lie(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    peak = """(path) => {
      let best = {y: Infinity};
      for (let i = 0; i <= 2000; i++) {
        const point = path.getPointAtLength(path.getTotalLength() * i / 2000);
        if (point.y < best.y) best = point;
      }
      return best.x;
    }"""
    ticks = {t.text_content(): float(t.get_attribute("x")) for t in page.locator("#length text.tick[x]").all()}
    scale = lambda x: 10 * (x - ticks["10"]) / (ticks["20"] - ticks["10"]) + 10  # noqa: E731
    assert scale(page.locator("#length .line.prediction").first.evaluate(peak)) == pytest.approx(20, abs=0.6)
    assert scale(page.locator("#length .line.reference").first.evaluate(peak)) == pytest.approx(30, abs=0.6)
    overflow = page.locator("#length svg").evaluate(
        "(svg) => [...svg.querySelectorAll('text')].filter((t) => t.getBBox().x + t.getBBox().width > 760).length"
    )
    assert overflow == 0


def test_studies_stand_side_by_side_in_colour(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    assert page.locator("details.pair").count() == 6 and page.locator("details.pair[open]").count() == 1
    one = page.locator("details.pair[data-study='good 0']")
    one.locator("summary").click()
    said = {s.inner_text().split(".")[0]: s for s in one.locator(".prose .said").all()}
    background = {text: s.evaluate("(e) => getComputedStyle(e).backgroundColor") for text, s in said.items()}
    assert background["A nodule is seen"] == background["There is a nodule"] == "rgb(227, 244, 233)"
    assert background["The heart is large"] == "rgb(253, 236, 235)"
    assert background["There is emphysema"] == "rgb(255, 241, 214)"
    assert background["The bones are intact"] == "rgba(0, 0, 0, 0)"
    left, right = (box.bounding_box() for box in one.locator(".two section").all())
    assert left["x"] + left["width"] < right["x"] and abs(left["y"] - right["y"]) < 2
    assert one.locator("summary .count").all_inner_texts() == ["1 matched", "1 missed", "1 invented"]


def test_a_keyboard_reaches_and_opens_everything(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page).page
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.tagName + '/' + (document.activeElement.getAttribute('aria-label') || '')")
        )
    assert {"A/", "SUMMARY/", "DIV/Scores", "DIV/Comparison", "DIV/Findings", "DIV/Report length"} <= reached
    page.locator("details.pair[data-study='bad 1'] summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("details.pair[data-study='bad 1'] .two").is_visible()
    headings = page.locator("section[aria-labelledby]").evaluate_all(
        "(all) => all.every((s) => document.getElementById(s.getAttribute('aria-labelledby')))"
    )
    assert headings


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_overflows_and_text_can_be_read(evaluation_page: Path, show: Show, width: int, scheme: str) -> None:
    page = show(evaluation_page, width, 900, scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = """() => {
      const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
      const rgb = (colour) => { context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data]; };
      const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
        if (c[3] > 200) return c; } return [255, 255, 255]; };
      const poor = [];
      for (const e of document.querySelectorAll('main td, main th, main p, main dd, main dt, .chip, .said, .count, .tag')) {
        if (!e.textContent.trim() || !e.offsetParent) continue;
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4) poor.push(e.className + ': ' + e.textContent.trim().slice(0, 30));
      }
      return poor;
    }"""
    assert page.evaluate(contrast) == []


def test_text_of_any_kind_is_text(tmp_path: Path, show: Show) -> None:
    evil = (
        "<script>window.taken=1</script><img src='https://example.org/x.png' onerror='window.taken=2'>\"'</details> & {{ 7*7 }}"
    )
    bad = study(evil)
    bad["reference"][0]["text"] = bad["report"][0]["text"] = evil
    document = {
        **EVALUATION,
        "comparison": {**COMPARISON, "this": evil, "other": evil},
        "excluded": {evil: {"n": 1, "studies": [evil]}},
        "skipped": {evil: evil},
        "notes": [evil],
        "warnings": [evil],
        "floors": {evil: {"bleu4": {"value": 0.2}}},
        "metrics": {**EVALUATION["metrics"], evil: {"value": 0.5}},
        "settings": {"reports": evil, evil: evil},
    }
    write_evaluation_page(tmp_path / "e.html", document, examples={"measure": evil, "worst": [bad], "best": []}, title=evil)
    for width in (1280, 360):
        page = show(tmp_path / "e.html", width).page
        assert page.evaluate("window.taken") is None and page.locator("main img").count() == 0
        assert page.locator("h1").inner_text() == page.title() == evil
        assert page.locator("details.pair .prose .said").first.inner_text().startswith(evil)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_has_every_fold_open(evaluation_page: Path, show: Show) -> None:
    page = show(evaluation_page, 720, 1000, scheme="dark").page  # A4 less its margins
    assert len(page.pdf(format="A4", print_background=True)) > 20_000
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".scroll").evaluate_all("(all) => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length") == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 3


def test_the_length_file_shows_alone(tmp_path: Path, show: Show) -> None:
    path = tmp_path / "length.svg"
    path.write_text(length_figure(EVALUATION["length"]))
    page = show(path).page
    assert page.locator("text").filter(has_text="KL 1.250 nats").count() == 1
    assert page.locator(".line.prediction").first.evaluate("(e) => getComputedStyle(e).stroke") == "rgb(10, 95, 180)"
