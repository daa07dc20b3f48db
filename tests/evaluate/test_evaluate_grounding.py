"""Faithfulness by intervention: models whose answer is known by construction, the formulas by hand, tables and page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.errors import UserError
from reg2rg.evaluate.grounding import grounding
from reg2rg.evaluate.grounding_tables import markdown, remarks, tables
from reg2rg.page import write_grounding_page

REGIONS = ("heart", "lung", "pleura", "bone")
FINDING = {"heart": "Cardiomegaly", "lung": "Emphysema", "pleura": "Pleural effusion"}
TEXT = {
    "heart": ("Heart contours are normal.", "The heart is enlarged, with cardiomegaly."),
    "lung": ("The lungs are clear.", "Emphysema is seen in both lungs."),
    "pleura": ("Costophrenic angles remain open.", "There is pleural effusion on the right."),
    "bone": ("Vertebrae keep their height.", "Degenerative changes are seen."),
}
STUDIES = ("s0", "s1", "s2", "s3")
Scan = Mapping[str, int]  # region → what its tokens show
Writer = Callable[[Scan], Mapping[str, str]]


def scan(study: str) -> Scan:
    """Even studies are healthy, odd ones have everything."""
    return dict.fromkeys(REGIONS, int(study[1]) % 2)


def line(
    study: str, texts: Mapping[str, str], kind: str, region: str = "", donor: str = "", differs: Any = None
) -> GroundedReport:
    sections = tuple(RegionSection(i, r, r, 1.0, texts[r]) for i, r in enumerate(REGIONS))
    done = {"kind": kind, "region": region, "donor": donor, "differs": differs}
    return GroundedReport(study, sections, " ".join(texts.values()), settings={"intervention": done})


def experiment(write: Writer, labelled: bool = True) -> list[GroundedReport]:
    """What a model that is the function `write` leaves: each region of each study as the next study has it."""
    lines = []
    for i, study in enumerate(STUDIES):
        own, donor = scan(study), STUDIES[(i + 1) % len(STUDIES)]
        lines += [line(study, write(own), "none"), line(study, write(own), "control", donor=study)]
        for region in REGIONS:
            swapped = {**own, region: scan(donor)[region]}
            differs = {FINDING[region]: [own[region], swapped[region]]} if region in FINDING else {}
            lines.append(line(study, write(swapped), "both", region, donor, differs if labelled else None))
    return lines


def faithful(shown: Scan) -> Mapping[str, str]:
    return {region: TEXT[region][shown[region]] for region in REGIONS}


def blind(shown: Scan) -> Mapping[str, str]:
    return {region: TEXT[region][1] for region in REGIONS}


def mixing(shown: Scan) -> Mapping[str, str]:
    """Writes every section from the sum of all regions: each swap changes all sections alike."""
    return {region: f"word{sum(shown.values())}" for region in REGIONS}


def test_a_model_that_writes_each_section_from_its_own_region() -> None:
    found = grounding(experiment(faithful), ci=100)
    text = found["kinds"]["both"]["text"]
    assert text["other"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert text["own"]["value"] == text["faithfulness"]["value"] == text["between"]["value"] > 0.5
    assert text["most"]["value"] == 1.0 and text["n"] == text["n_donor"] == 16
    assert found["kinds"]["both"]["findings"]["own"]["value"] == 1.0
    follows = found["kinds"]["both"]["follows"]
    assert follows["after"]["value"] == follows["donor"]["value"] == 1.0
    assert follows["before"]["value"] == 0.0 and follows["chance"]["value"] == 0.5
    assert follows["n"] == 12


def test_a_model_that_does_not_look_changes_nothing() -> None:
    found = grounding(experiment(blind), ci=0)["kinds"]["both"]
    for measure in ("text", "findings", "names"):
        values = found[measure]
        assert values["own"] == values["other"] == values["faithfulness"] == values["most"] == {"value": 0.0}
    # it says "present" always: right for half of the donors, and it said so before
    assert found["follows"]["after"] == found["follows"]["before"] == found["follows"]["chance"] == {"value": 0.5}


def test_a_model_that_mixes_all_regions_has_no_faithfulness() -> None:
    found = grounding(experiment(mixing), ci=0)["kinds"]["both"]
    assert found["text"]["own"] == found["text"]["other"] == {"value": 1.0}
    assert found["text"]["faithfulness"] == {"value": 0.0} and found["text"]["most"] == {"value": 0.0}


def test_the_numbers_by_hand() -> None:
    before = {"heart": "a b c d", "lung": "e f", "pleura": "g h", "bone": "i"}
    after = {"heart": "a b x y", "lung": "e f", "pleura": "g z", "bone": "i"}
    lines = [line("s0", before, "none"), line("s0", after, "texture", "heart", "s9", None)]
    found = grounding(lines, ci=0)["kinds"]["texture"]
    # ROUGE-L F1: 2·2/(4+4) for the heart; 1, 2·1/(2+2) and 1 for the others
    assert found["text"]["own"]["value"] == pytest.approx(0.5)
    assert found["text"]["other"]["value"] == pytest.approx((0 + 0.5 + 0) / 3)
    assert found["text"]["faithfulness"]["value"] == pytest.approx(0.5 - 0.5 / 3)
    assert found["text"]["most"]["value"] == 0.0  # the pleura changed as much
    assert found["text"]["n_donor"] == 0 and "between" not in found["text"]
    assert set(found["per_region"]) == {"heart"}


def test_a_section_that_becomes_empty_changes_fully_and_an_empty_one_that_stays_does_not() -> None:
    before = {"heart": "a", "lung": "", "pleura": "c", "bone": "d"}
    lines = [line("s0", before, "none"), line("s0", {**before, "heart": ""}, "both", "heart", "s9")]
    text = grounding(lines, ci=0)["kinds"]["both"]["text"]
    assert text["own"] == {"value": 1.0} and text["other"] == {"value": 0.0}


def test_a_changed_name_counts_apart_from_the_text() -> None:
    lines = experiment(blind)
    last = lines[-1]
    renamed = tuple(RegionSection(s.index, s.region, "liver", 1.0, s.report) for s in last.sections)
    lines[-1] = GroundedReport(last.study, renamed, last.report, settings=last.settings)
    names = grounding(lines, ci=0)["kinds"]["both"]["names"]
    assert names["own"]["value"] == names["other"]["value"] == pytest.approx(1 / 16)
    assert "between" not in names


def test_a_control_that_changes_something_is_said() -> None:
    lines = experiment(faithful)
    assert grounding(lines, ci=0)["control"] == {"n": 4, "sections": 16, "changed": 0}
    lines[1] = line("s0", mixing(scan("s0")), "control", donor="s0")
    found = grounding(lines, ci=0)
    assert found["control"]["changed"] == 4
    assert any("noise" in remark for remark in remarks(found))


def test_studies_of_unknown_labels_have_no_follows() -> None:
    found = grounding(experiment(faithful, labelled=False), ci=0)
    assert "follows" not in found["kinds"]["both"] and found["donors"]["labels unknown"] == 16
    assert any("unknown labels" in remark for remark in remarks(found))
    assert "follows" not in tables(found, narrow=True)[0].columns


def test_the_intervals_hold_the_values_and_follow_from_the_seed() -> None:
    lines = experiment(faithful)[:-3]
    found, again = (grounding(lines, ci=200, seed=1) for _ in range(2))
    assert found == again
    for part in (found["kinds"]["both"]["text"]["own"], found["kinds"]["both"]["per_region"]["lung"]["text"]["own"]):
        assert part["low"] <= part["value"] <= part["high"]


def test_lines_without_a_swap_or_its_report_are_refused() -> None:
    lines = experiment(faithful)
    with pytest.raises(UserError, match="no line tells of a swapped region"):
        grounding(lines[:2])
    with pytest.raises(UserError, match="no unswapped report"):
        grounding(lines[2:])


def test_tables_and_page_show_every_region_and_the_telling_swaps(tmp_path: Path) -> None:
    found = grounding(experiment(faithful), ci=50)
    json.dumps(found, allow_nan=False)
    table = tables(found)[0]
    assert [row[0] for row in table.rows] == ["all", "bone", "heart", "lung", "pleura"]
    assert "| lung | 4 | " in markdown(found)
    write_grounding_page(tmp_path / "page.html", {**found, "settings": {"warnings": ["<b>Phantoms.</b>"], "ci": 50}})
    html = (tmp_path / "page.html").read_text()
    assert "Emphysema is seen in both lungs." in html and "Pleural effusion: absent here, present in the donor" in html
    assert "&lt;b&gt;Phantoms" in html and not re.search(r"(?:src|href)=\"http", html)
    with pytest.raises(UserError, match="a grounding has 'kinds'"):
        write_grounding_page(tmp_path / "page.html", {"rows": []})
