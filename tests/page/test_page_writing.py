"""The pages as files: same bytes, self-contained, escaped, small; scores, floors and benches as rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_studies import make_mask, make_report, make_volume

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import GroundedReport, RegionMask, Volume
from reg2rg.errors import UserError
from reg2rg.page import write_bench_page, write_reports_page, write_study_page

EVALUATION: dict[str, Any] = {
    "n": 20,
    "metrics": {"bleu4": {"value": 0.41, "low": 0.38, "high": 0.44}, "rougeL": {"value": 0.5}},
    "clinical": {
        "micro": {"precision": 0.7, "recall": 0.72, "f1": 0.71},
        "micro_interval": {"f1": [0.68, 0.74]},
        "macro": {"f1": 0.66},
        "per_label": {"Lung nodule": {"precision": 0.5, "recall": 0.4, "f1": 0.444, "support": 7}},
        "per_label_interval": {"Lung nodule": {"f1": [0.3, 0.6]}},
    },
    "region_recognition": {
        "accuracy": 0.99,
        "accuracy_interval": [0.98, 1.0],
        "per_region": {"lung": {"precision": 1.0, "recall": 0.99, "f1": 0.995, "support": 20}},
    },
    "skipped": {"meteor": "WordNet isn't installed"},
}
FLOORS = {
    "all findings always": {"micro_f1": {"value": 0.431, "low": 0.4, "high": 0.46}},
    "perfect reader in other words": {"micro_f1": 1.0, "bleu4": {"value": 0.47}},
}


def reports(n: int) -> list[GroundedReport]:
    return [make_report(f"scan-{i}") for i in range(n)]


def loader(study: str) -> tuple[Volume, RegionMask]:
    return make_volume(), make_mask()


def text_of(html: str) -> str:
    body = re.sub(r"<(script|style|template)\b.*?</\1>", " ", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_study_page(tmp_path / f"{name}1.html", volume=make_volume(), mask=make_mask(), report=make_report())
        write_reports_page(tmp_path / f"{name}2.html", reports(3), store_loader=loader, evaluation=EVALUATION, floors=FLOORS)
    for kind in ("1", "2"):
        assert (tmp_path / f"a{kind}.html").read_bytes() == (tmp_path / f"b{kind}.html").read_bytes()


def test_nothing_points_outside_the_file(tmp_path: Path) -> None:
    write_study_page(tmp_path / "new/folder/p.html", volume=make_volume(), mask=make_mask(), report=make_report())
    html = (tmp_path / "new/folder/p.html").read_text()
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//|\.)""", html)
    assert "default-src 'none'" in html
    assert [p.name for p in (tmp_path / "new/folder").iterdir()] == ["p.html"]


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    page.write_text("old")
    with pytest.raises(UserError):
        write_study_page(page, volume=make_volume((5, 5, 5)), mask=make_mask(), report=make_report())
    assert page.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_scores_stand_beside_floors_and_ceiling(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    write_reports_page(page, reports(2), evaluation=EVALUATION, floors=FLOORS)
    text = text_of(page.read_text())
    assert "this model 0.710 0.68–0.74 0.660 0.990 0.98–1.00 0.410 0.38–0.44 0.500" in text
    assert "all findings always floor 0.431 0.40–0.46" in text
    assert "perfect reader in other words ceiling 1.000" in text
    assert "Lung nodule 0.44 0.50 0.40 7" in text
    assert "Not computed: meteor (WordNet isn&#39;t installed)" in text
    assert 'aria-label="0.710 (0.680 to 0.740)"' in page.read_text()


def test_without_scores_there_is_no_table(tmp_path: Path) -> None:
    write_reports_page(tmp_path / "p.html", reports(2))
    assert "<table" not in (tmp_path / "p.html").read_text()
    write_reports_page(tmp_path / "p.html", [])
    assert "There is no report here." in (tmp_path / "p.html").read_text()


def test_studies_beyond_the_limit_or_lost_from_the_store_are_text(tmp_path: Path) -> None:
    def patchy(study: str) -> tuple[Volume, RegionMask]:
        if study == "scan-0":
            raise UserError("the store has no such study")
        return loader(study)

    write_reports_page(tmp_path / "p.html", reports(5), store_loader=patchy, limit=2)
    html = (tmp_path / "p.html").read_text()
    assert re.findall(r'data-payload="(s\d)"', html) == ["s1", "s2"]
    assert html.count("text only") == 2
    assert "The slices can't be shown: the store has no such study." in html


def test_shared_warnings_and_settings_stand_once(tmp_path: Path) -> None:
    other = GroundedReport(
        "other", (), "x", settings={"run": "runs/x", "seed": 3, "warnings": ["Trained on phantoms.", "Odd."]}
    )
    write_reports_page(tmp_path / "p.html", [*reports(3), other], notes=["Not for clinical use."])
    html = (tmp_path / "p.html").read_text()
    banner = text_of(html[html.index('class="banner"') :].split("</div>")[0])
    assert "Not for clinical use. Trained on phantoms." in banner and "Odd" not in banner
    assert "<dt>run</dt><dd>runs/x</dd>" in html and "<dt>seed</dt>" not in html


def test_twelve_phantoms_make_a_page_of_a_few_megabytes(tmp_path: Path, show: Callable[..., Any]) -> None:
    from reg2rg.phantom import plan_study, render

    def draw(study: str) -> tuple[Volume, RegionMask]:
        drawn = render(plan_study(1, int(study.split("-")[1])))
        return Volume(drawn.hu, drawn.affine), RegionMask(drawn.bits, frozenset(REGIONS))

    page = tmp_path / "p.html"
    write_reports_page(page, reports(100), store_loader=draw, evaluation=EVALUATION, floors=FLOORS)
    assert page.stat().st_size < 4e6
    opened = show(page).ready("article[data-study=scan-0]")
    # only what was opened is unpacked
    assert opened.page.locator("article[data-ready=true]").count() == 1
    opened.page.locator("summary", has=opened.page.get_by_text("scan-3", exact=True)).click()
    opened.ready("article[data-study=scan-3]")
    opened.page.locator("article[data-study=scan-3]").get_by_text("There is no nodule.").click()
    selected = opened.page.locator("li.selected")
    assert selected.count() == 1 and selected.get_attribute("data-region") == "lung"


def test_studies_are_filtered_by_words_and_by_mistakes(tmp_path: Path, show: Callable[..., Any]) -> None:
    fine = GroundedReport("fine", (), "An unusual word: quokka.")
    write_reports_page(tmp_path / "p.html", [*reports(4), fine], store_loader=loader, limit=1)
    page = show(tmp_path / "p.html").page
    visible = lambda: [b.text_content() for b in page.locator("details.case:visible > summary > b").all()]  # noqa: E731
    page.get_by_label("Filter the studies").fill("quokka")
    assert visible() == ["fine"] and page.locator("#shown").inner_text() == "1 of 5 studies"
    page.get_by_label("Filter the studies").fill("SCAN-2")
    assert visible() == ["scan-2"]
    page.get_by_label("Filter the studies").fill("")
    page.get_by_label("only with misnamed regions").check()
    assert visible() == [f"scan-{i}" for i in range(4)]


def test_an_anchor_opens_the_study_and_its_region(tmp_path: Path, show: Callable[..., Any]) -> None:
    write_reports_page(tmp_path / "p.html", reports(3), store_loader=loader)
    opened = show(tmp_path / "p.html", anchor="#scan-2/heart").ready("article[data-study=scan-2]")
    assert opened.page.locator("article[data-study=scan-2] li.selected").get_attribute("data-region") == "heart"


def row(name: str, seed: int, f1: float, **more: Any) -> dict[str, Any]:
    metrics = {"micro_f1": {"value": f1, "low": f1 - 0.03, "high": f1 + 0.03}, "odd_metric": 0.5}
    return {"name": name, "recipe": name, "seed": seed, "metrics": metrics, "seconds": 41.23, "parameters": 412345, **more}


BENCH: dict[str, Any] = {
    "rows": [row("reg2rg", 0, 0.6), row("reg2rg", 1, 0.7), row("lfd-off", 0, 0.4)],
    "comparisons": [
        {"a": "reg2rg", "b": "lfd-off", "metric": "micro_f1", "difference": 0.2, "low": 0.1, "high": 0.3, "p": 0.001},
        {"a": "reg2rg", "b": "lfd-off", "metric": "odd_metric", "difference": -0.01, "low": -0.02, "high": 0.01, "p": 0.4},
    ],
    "paper": [{"table": "Table IV", "name": "LFD on", "metrics": {"bleu1": 47.25, "micro_f1": 0.253}}],
}


def test_a_bench_shows_methods_comparisons_and_the_papers_rows(tmp_path: Path, show: Callable[..., Any]) -> None:
    write_bench_page(tmp_path / "b.html", BENCH)
    text = text_of((tmp_path / "b.html").read_text())
    assert "reg2rg 2 seeds 0.650 0.60–0.70 0.500" in text and "lfd-off 0.400 0.37–0.43" in text
    assert "reg2rg − lfd-off Finding F1, micro 0.200 0.100 to 0.300 0.001" in text
    assert "Published: Table IV" in text and "LFD on published 0.253 47.25" in text
    assert "412,345" in text
    page = show(tmp_path / "b.html", 400).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_bench_takes_evaluation_documents_and_gaps(tmp_path: Path) -> None:
    rows = [{"name": "a", "seed": None, "metrics": EVALUATION}, {"name": "b", "metrics": {}, "parameters": "many"}]
    write_bench_page(
        tmp_path / "b.html", {"rows": rows, "comparisons": [{"a": "a", "b": "b", "metric": "x", "difference": None}]}
    )
    assert "a 0.710 0.68–0.74" in text_of((tmp_path / "b.html").read_text())
    write_bench_page(tmp_path / "b.html", {"rows": []})
    assert "This bench has no rows." in (tmp_path / "b.html").read_text()


@pytest.mark.parametrize("bench", [{}, {"rows": 3}, {"rows": [1]}])
def test_what_is_no_bench_is_refused(bench: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows"):
        write_bench_page(tmp_path / "b.html", bench)
    assert not list(tmp_path.iterdir())


def test_text_in_a_bench_is_text(tmp_path: Path, show: Callable[..., Any]) -> None:
    evil = "</script><script>window.taken=1</script>"
    write_bench_page(tmp_path / "b.html", json.loads(json.dumps(BENCH).replace("reg2rg", evil.replace("/", "\\/"))))
    page = show(tmp_path / "b.html").page
    assert page.evaluate("window.taken") is None and evil in page.inner_text("main")


def test_intervals_outside_the_track_stay_inside_the_picture() -> None:
    from reg2rg.page.charts import bar, difference_bar, number

    assert number(None) == number(float("nan")) == "–" and number(-0.5) == "−0.500"
    assert bar(None) == bar(float("inf")) == difference_bar(0.1, None, None, reach=0) == ""
    numbers = [float(n) for n in re.findall(r"(?<=[MH])[\d.]+", str(bar(1.5, -0.2, 2.0)))]
    assert min(numbers) >= 0 and max(numbers) <= 120
    assert np.isclose(float(re.search(r'cx="([\d.]+)"', str(difference_bar(0.0, -1, 1, reach=1))).group(1)), 60)  # type: ignore[union-attr]
