"""Tables for papers: the published rows stand apart and marked, and LaTeX gets nothing that it can't set."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.contracts import GroundedReport, RegionSection
from reg2rg.evaluate import evaluate, published
from reg2rg.evaluate.assess import assess
from reg2rg.evaluate.latex import escape, latex
from reg2rg.evaluate.reading import ReportsFile
from reg2rg.evaluate.tables import markdown, tables


def reports(n: int, text: str = "Cardiomegaly is present.") -> list[GroundedReport]:
    section = RegionSection(0, "heart", "heart", 0.9, text, "Cardiomegaly is present.")
    return [GroundedReport(f"s{i}", (section,), text, "Cardiomegaly is present.") for i in range(n)]


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    one = ReportsFile(reports(6), {"the id stood before": {"n": 2, "studies": ["s_1", "s%2"]}}, (), "our_file 50%.csv")
    other = ReportsFile(reports(6, "The heart is normal & small."), {}, (), "their#file.csv")
    return assess(one, against=other, metrics=["bleu", "rouge", "clinical", "recognition", "length"], ci=20)[0]


def test_published_rows_are_the_last_and_marked_with_their_data(result: dict[str, object]) -> None:
    made = {table.title: table for table in tables(result)}
    language = made["Language"]
    assert language.published == 12 and len(language.rows) == 13
    assert language.rows[0][:2] == ("this file", "n = 6")
    assert all(row[1].endswith(", published") for row in language.rows[1:]) and "Reg2RG paper, Table I" in language.note
    further = made["Further language metrics"]
    assert not further.published and "corpus BLEU-4" in further.columns and "corpus BLEU-4" not in language.columns
    assert {row[1].split(",")[0] for row in language.rows[1:]} == {"RadGenome-ChestCT", "CTRG-Chest"}
    assert made["Clinical efficacy"].published == 6 and made["Region recognition"].published == 10
    for title, table in (("Language", "Table I"), ("Clinical efficacy", "Table II"), ("Region recognition", "Table III")):
        assert published.PROTOCOL[table] in made[title].note
    text = markdown(result)
    assert text.count("*Reg2RG*") == 2 and "| *Reg2RG, micro (RadGenome-ChestCT, published)*" in text
    assert not re.search(r"this file.*published", text)


def test_published_rows_as_data_are_the_tables() -> None:
    rows = published.rows()
    assert {name: len(found) for name, found in rows.items()} == {"Table I": 12, "Table II": 6, "Table III": 10}
    assert rows["Table I"][5]["metrics"]["bleu4"] == 0.2487 and rows["Table I"][5]["data"] == "RadGenome-ChestCT"
    assert all(row["protocol"] and row["source"].startswith("published: ") for found in rows.values() for row in found)


def unset(text: str) -> str:
    """What LaTeX would stumble over: special characters without a backslash, outside comments."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    return "".join(re.findall(r"(?<!\\)[#%]|[^\x00-\x7f’“”é]", body.replace("{!}{%", "")))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles_within_the_line(result: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(latex(result), encoding="utf-8")
    frame = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{tables}\end{document}"
    (tmp_path / "page.tex").write_text(frame)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-2000:]


def test_latex_has_floats_that_close_and_nothing_unset(result: dict[str, object]) -> None:
    text = latex(result)
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") >= 6
    assert unset(text) == ""
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
    labels = re.findall(r"\\label\{([^}]*)\}", text)
    assert len(labels) == len(set(labels)) and all(re.fullmatch(r"tab:[a-z0-9-]+", name) for name in labels)
    assert r"our\_file 50\%.csv minus their\#file.csv" in text
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(block[0])}


@given(st.text(st.characters(codec="ascii")))
def test_any_ascii_text_is_escaped(text: str) -> None:
    made = escape(text)
    assert not re.search(r"(?<!\\)[&%#_]", made) and "\n" not in made
    assert len(re.findall(r"(?<!\\)\{", made)) == len(re.findall(r"(?<!\\)\}", made))


def test_the_comparison_and_its_exclusions_are_shown(result: dict[str, object]) -> None:
    made = {table.title: table for table in tables(result)}
    assert made["Comparison"].columns == ("metric", "this file", "other", "difference", "p")
    row = next(r for r in made["Comparison"].rows if r[0] == "micro F1")
    assert row[1:3] == ("1.000", "0.000") and row[3].startswith("1.000 [")
    assert "- Left out, the id stood before: 2." in markdown(result)


def test_a_plain_evaluation_has_tables_too() -> None:
    found = evaluate(reports(3), metrics=["bleu"], ci=0)
    assert "3 reports" not in markdown(found) and "1 distinct reports in 3." in markdown(found)
    assert unset(latex(found)) == ""
