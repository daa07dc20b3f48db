"""Whole reports → region sentences: tables in and out, what a third party's splitter may not do, and interrupted runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from samples_ct import hu_array, write_nifti

from reg2rg.data import splitting
from reg2rg.data.layouts import discover
from reg2rg.data.splitting import (
    Split,
    Splitter,
    check_out,
    counts,
    left_out,
    read_reports,
    split_reports,
    with_sentences,
    write_table,
)
from reg2rg.data.tables import region_texts
from reg2rg.errors import UserError

REPORT = "Findings: Lungs are clear.\n1. Heart is large.\nRibs are whole\n\nCompared with nothing."
RULES = Splitter("rules")


class Fake:
    """A splitter as a third party might write it: one text for everything, told by its options."""

    made: list[Fake] = []  # noqa: RUF012 - the last ones built

    def __init__(self, parts: Mapping[str, str] | None = None, stop: int = 1 << 30) -> None:
        self.parts, self.stop, self.asked = parts, stop, 0
        Fake.made.append(self)

    def split(self, report: str) -> dict[str, str]:
        self.asked += 1
        if self.asked > self.stop:
            raise KeyboardInterrupt
        return dict(self.parts) if self.parts is not None else {"lung": report}


class Together(Fake):
    """The same with batches; every second report is left to another one."""

    def split_all(self, reports: Sequence[str]) -> list[dict[str, str]]:
        self.fallbacks = {i: "it was too long" for i in range(1, len(reports), 2)}
        return [self.split(report) for report in reports]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a class in the place of every splitter plugin."""

    def use(cls: type[Fake], **options: Any) -> None:
        Fake.made.clear()
        monkeypatch.setattr(splitting, "resolve", lambda *_, **__: cls(**options))

    return use


def test_line_breaks_of_a_table_reach_the_splitter(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"id": "a.nii.gz", "report": REPORT}, {"id": "b", "report": "Not given."}]))
    reports = read_reports(path, {})
    assert reports == {"a": REPORT, "b": ""}
    found = split_reports(reports, RULES)
    # with blanks for line breaks, "Ribs are whole" and the rest would be one sentence
    assert found["a"].parts == {
        "bone": "Ribs are whole Compared with nothing.",
        "heart": "Heart is large.",
        "lung": "Lungs are clear.",
    }
    assert found["b"] == Split({})


def test_the_table_reads_back_as_region_sentences_with_the_whole_report(tmp_path: Path) -> None:
    reports = {"a": REPORT, "b": "", "c": "Compared with nothing."}
    found = split_reports(reports, RULES)
    write_table(tmp_path / "t.csv", reports, found)
    texts = region_texts(tmp_path / "t.csv")
    assert texts.regions == {"a": found["a"].parts} and not texts.notes
    assert texts.reports == {study: " ".join(reports[study].split()) for study in "ac"}
    assert read_reports(tmp_path / "t.csv", {}) == texts.reports, "the whole reports can be split anew"
    summary = counts(reports, found)
    assert (summary["n"], summary["empty"], summary["without_region"], summary["fallbacks"]) == (3, 1, 1, 0)
    assert summary["regions"]["heart"] == 1 and summary["regions"]["thyroid"] == 0


def test_what_cannot_be_split_or_written_is_said(tmp_path: Path) -> None:
    regions, whole = tmp_path / "regions.csv", tmp_path / "whole.csv"
    regions.write_text("Volumename,Anatomy,Sentence\na,lung,Clear.\n")
    whole.write_text("id,report\na,Clear.\n")
    with pytest.raises(UserError, match="no need to split"):
        read_reports(regions, {})
    with pytest.raises(UserError, match="no column 'text'"):
        read_reports(whole, {"report": "text"})
    for out, word in ((tmp_path, "a folder"), (whole, "whole reports itself")):
        with pytest.raises(UserError, match=word):
            check_out(out, whole)


def test_what_is_left_out_is_counted_in_sentences() -> None:
    assert left_out(REPORT, {}) == 4
    assert left_out(REPORT, {"lung": "Lungs are clear. Heart is large."}) == 2
    assert left_out(REPORT, {"lung": "Lungs are clear.", "bone": "Heart is large. Ribs are whole Compared with nothing."}) == 0
    assert left_out("FINDINGS:\n1. \n-", {}) == 0


BROKEN = {
    "an unknown region": ({"knee": "Lungs are clear."}, "unknown region"),
    "an empty text": ({"lung": " "}, "empty text"),
    "an invented sentence": ({"lung": "Lungs are clear. A nodule is seen."}, "doesn't say"),
    "another order": ({"lung": "Heart is large. Lungs are clear."}, "doesn't say"),
    "a word twice": ({"lung": "Lungs are clear clear."}, "doesn't say"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_splitter_that_breaks_its_contract_is_named_and_the_text_is_not(fake: Any, name: str) -> None:
    parts, word = BROKEN[name]
    fake(Fake, parts=parts)
    with pytest.raises(UserError, match=word) as error:
        split_reports({"s1": REPORT}, RULES)
    assert "s1" in str(error.value) and "clear" not in str(error.value)


def test_equal_texts_are_split_once_and_regions_come_in_order(fake: Any) -> None:
    fake(Fake, parts={"lung": "Lungs", "bone": "Ribs"})
    found = split_reports({"a": REPORT, "b": REPORT, "c": " "}, RULES)
    assert Fake.made[0].asked == 1 and found["a"] == found["b"]
    assert list(found["a"].parts) == ["bone", "lung"] and found["c"] == Split({})


def test_reasons_follow_their_reports(fake: Any) -> None:
    fake(Together)
    found = split_reports({"a": "One.", "b": "Two.", "c": "Three."}, RULES)
    assert [found[s].reason for s in "abc"] == ["", "it was too long", ""]
    assert counts(dict.fromkeys("abc", "One."), found)["reasons"] == {"it was too long": 1}


def test_an_interrupted_run_goes_on(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_AT_ONCE", 2)
    reports, kept = {f"s{i}": f"Text {i}." for i in range(6)}, tmp_path / ".out.part"
    fake(Fake, stop=3)
    with pytest.raises(KeyboardInterrupt):
        split_reports(reports, RULES, kept=kept)
    with kept.open("a") as file:
        file.write('{"made": "half a li')
    fake(Fake)
    found = split_reports(reports, RULES, kept=kept)
    assert Fake.made[0].asked == 4, "one batch of two was finished"
    assert {study: split.parts for study, split in found.items()} == {s: {"lung": text} for s, text in reports.items()}
    fake(Fake)
    assert split_reports(reports, RULES, kept=kept) == found and not Fake.made, "nothing was left to do"
    split_reports(reports, Splitter("rules", {"several": True}), kept=kept)
    assert Fake.made[0].asked == 6, "other options, other texts"


def test_studies_with_a_whole_report_alone_get_sentences(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_nifti(tmp_path / f"{name}.nii.gz", hu_array())
    (tmp_path / "reports.csv").write_text('id,report\na,"Lungs are clear.\nHeart is large"\nb,Nothing to say.\n')
    sources = discover(tmp_path)
    assert with_sentences(sources, None) == sources
    a, b, c = with_sentences(sources, RULES)
    assert (
        a.region_reports == {"heart": "Heart is large", "lung": "Lungs are clear."}
        and a.report == "Lungs are clear. Heart is large"
    )
    assert a.study({"file": "x"}).provenance == {"file": "x", "region_sentences": RULES.made()}
    assert b.region_reports == {} and c == sources[2]
    assert sources[0].study(a.study({"file": "x"}).provenance).provenance == {"file": "x"}, "no splitter, no such remark"
