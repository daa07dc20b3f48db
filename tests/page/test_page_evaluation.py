"""The page of an evaluation as a file: same bytes, self-contained, every number of the document, published figures apart."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from page_evaluations import COMPARISON, EVALUATION, EXAMPLES, PUBLISHED

from reg2rg.errors import UserError
from reg2rg.page.evaluation import write_evaluation_page
from reg2rg.page.evaluation_view import comparison_rows, confusion, left_out, metric_rows, published_tables, tiles
from reg2rg.page.plots import density_plot, length_figure, wide_bar, wide_difference


def page(folder: Path, evaluation: dict[str, Any] = EVALUATION, **options: Any) -> str:
    write_evaluation_page(folder / "e.html", evaluation, **options)
    return (folder / "e.html").read_text()


def text_of(made: str) -> str:
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", made, flags=re.S)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", body).split()))


def test_the_same_input_gives_the_same_bytes_and_nothing_points_outside(tmp_path: Path) -> None:
    one = page(tmp_path, examples=EXAMPLES, published=PUBLISHED)
    assert one == page(tmp_path, json.loads(json.dumps(EVALUATION)), examples=EXAMPLES, published=PUBLISHED)
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//|\.)""", one)
    assert "default-src 'none'" in one


def test_every_part_of_the_document_is_shown(tmp_path: Path) -> None:
    shown = text_of(page(tmp_path, {**EVALUATION, "comparison": COMPARISON}, examples=EXAMPLES, published=PUBLISHED))
    for wanted in (
        "Evaluation of mine.jsonl",
        "20 studies, 95 % intervals from 1,000 resamples",
        "Only 1 distinct report",
        "BLEU-4 0.410 0.380 to 0.440",
        "Finding CRG score 0.360",
        "most frequent report",
        "mine.jsonl minus other.jsonl over the 18",
        "only in this file 2 s1, s2",
        "the id stood before 3 a, b, c",
        "METEOR: WordNet isn't installed",
        "A note.",
        "KL 1.250 nats",
        "stated by both",
        "Names missing: 1, unknown: 2, repeated: 3",
    ):
        assert wanted in shown, wanted


def test_what_is_absent_is_left_out(tmp_path: Path) -> None:
    shown = text_of(page(tmp_path, {"n": 1, "metrics": {}}, examples={}))
    assert "1 study, no intervals" in shown and "No number of whole reports was computed" in shown
    for absent in ("Comparison", "Region recognition", "Report length", "Published", "Worst", "Floors"):
        assert absent not in shown
    assert "made from the scores alone" in text_of(page(tmp_path, {"n": 1, "metrics": {}}))


@pytest.mark.parametrize("wrong", [{}, {"n": 3}, {"metrics": {}, "n": "3"}])
def test_other_documents_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="reg2rg evaluate"):
        page(tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []


def test_published_rows_are_marked_and_apart(tmp_path: Path) -> None:
    made = page(tmp_path, published=PUBLISHED)
    section = made[made.index('id="published"') :]
    first = section[: section.index("</table>")]
    own, theirs = first.split('<tbody class="apart">')
    assert "this file" in own and "0.410" in own and "published" not in re.sub(r".*<tbody>", "", own, flags=re.S)
    assert theirs.count('<span class="tag">published</span>') == 2 and "CTRG-Chest" in theirs and "0.249" in theirs
    assert "Means over test reports" in first
    (language, clinical, regions) = published_tables(PUBLISHED, EVALUATION)
    assert [c.value for c in language["own"][0]["cells"]] == [0.41, None]
    assert [c.value for c in clinical["own"][0]["cells"]] == [0.7, 0.72, 0.71]
    assert [row["name"] for row in regions["own"]] == ["this file: lung"]


def test_floors_are_ticks_on_the_bars() -> None:
    rows = {row["key"]: row for row in metric_rows(EVALUATION)}
    assert rows["bleu4"]["marks"] == [("frequent", 0.39), ("shuffled", 0.35)]
    assert rows["rougeL"]["marks"] == [] and rows["cider"]["top"] == 10.0


def test_tiles_warn_of_one_report_for_all() -> None:
    made = {tile["name"]: tile for tile in tiles(EVALUATION)}
    assert made["Distinct reports"]["bad"] and "5.0 % of the studies; references: 19" in made["Distinct reports"]["note"]
    assert made["Studies"]["note"] == "3 left out, see below"
    assert not next(t for t in tiles({**EVALUATION, "distinct_reports": 12}) if t["name"] == "Distinct reports")["bad"]


def test_differences_say_which_file_is_better() -> None:
    rows = {row["key"]: row for row in comparison_rows(COMPARISON["rows"])}
    assert {name: row["better"] for name, row in rows.items()} == {"bleu4": "this", "micro_f1": "", "length_kl": "this"}
    assert rows["bleu4"]["reach"] == rows["micro_f1"]["reach"] > 0.2 and rows["length_kl"]["reach"] == pytest.approx(1.05 * 0.9)
    (bare,) = comparison_rows([{"finding": "Emphysema", "difference": 0.1, "value": 0.2, "other": 0.1}])
    assert bare["name"] == "Emphysema" and bare["better"] == ""


def test_the_heat_map_has_shares_of_its_rows() -> None:
    made = confusion(EVALUATION["region_recognition"]["confusion"])
    assert [row["name"] for row in made["rows"]] == ["lung", "pleura"]
    assert [cell["share"] for cell in made["rows"][0]["cells"]] == [0.75, 0.2, 0.05]
    assert confusion({}) == {"named": [], "truth": [], "rows": []}


def test_what_was_left_out_is_listed() -> None:
    rows = left_out({**EVALUATION, "comparison": COMPARISON})
    assert [(row["what"], row["n"]) for row in rows] == [("Left out", 3), ("Not compared", 2), ("Not computed", None)]


# --- plots -------------------------------------------------------------------------------------------------------------


def test_a_bar_is_as_long_as_its_value() -> None:
    made = ElementTree.fromstring(wide_bar(0.5, 0.4, 0.7, marks=[("frequent", 0.25)]))
    assert made.attrib["aria-label"] == "0.500 (0.400 to 0.700)"
    widths = [float(r.attrib["width"]) for r in made.iter("rect")]
    assert widths == [150.0]
    paths = {p.attrib["class"]: p.attrib["d"] for p in made.iter("path")}
    assert paths["mark frequent"].startswith("M75.0 ") and paths["whisker"].startswith("M120.0 9H210.0")
    for nothing in (None, float("nan"), float("inf")):
        assert wide_bar(nothing) == ""
    assert 'width="300.0"' in wide_bar(3.0) and 'width="0.0"' in wide_bar(-1.0)


def test_a_difference_stands_about_zero() -> None:
    made = ElementTree.fromstring(wide_difference(-0.1, -0.2, 0.0, reach=0.2, better="other"))
    (dot,) = made.iter("circle")
    assert float(dot.attrib["cx"]) == 75.0 and dot.attrib["class"] == "dot other"
    assert wide_difference(0.1, reach=0.0) == ""


def test_the_length_plot_is_a_picture_of_its_own() -> None:
    made = ElementTree.fromstring(length_figure(EVALUATION["length"]))
    assert made.tag == "{http://www.w3.org/2000/svg}svg" and "KL 1.250" in made.attrib["aria-label"]
    words = [t.text for t in made.iter("{http://www.w3.org/2000/svg}text")]
    assert "references, mean 30.0 words" in words and "written reports, mean 20.0 words" in words
    assert "KL 1.250 nats (1.10 to 1.40)" in words and "words in a report" in words
    paths = sorted(made.iter("{http://www.w3.org/2000/svg}path"), key=lambda p: len(p.attrib["d"]))
    curves = {p.attrib["class"]: p.attrib["d"] for p in paths}  # the legend has short ones of the same class
    peaks = {side: min(_points(curves[f"line {side}"]), key=lambda p: p[1])[0] for side in ("reference", "prediction")}
    assert peaks["prediction"] < peaks["reference"]
    assert length_figure({}) == "" and density_plot({"density": {"words": [0], "reference": [1], "prediction": [1]}}) == ""


def _points(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split())) for pair in path[1:].split("L")]  # type: ignore[misc]
