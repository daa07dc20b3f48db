"""What people hand in: odd files are read, faults are one sentence, and what can't be scored is counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.errors import UserError
from reg2rg.evaluate import read_reports
from reg2rg.evaluate.entries import entries
from reg2rg.evaluate.reading import LONGEST
from reg2rg.evaluate.rows import TOO_FEW, TOO_MANY, read_rows

HEAD = "study,prediction,reference\n"
GOOD = HEAD + "a,Clear.,Clear lungs.\nb,A nodule.,Nodule.\n"
WANTED = [("a", "Clear.", "Clear lungs."), ("b", "A nodule.", "Nodule.")]
LINES = "\n".join(json.dumps({"study": s, "report": p, "reference": r}) for s, p, r in WANTED) + "\n"


def read(folder: Path, content: str | bytes, name: str = "r.csv", **options: Any) -> Any:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_reports(path, **options)


def texts(found: Any) -> list[tuple[str, str, str]]:
    return [(r.study, r.report, r.reference) for r in found.reports]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GOOD.replace(",", ";"), "r.csv"),
        (GOOD.replace(",", "\t"), "r.tsv"),
        (GOOD.replace(",", "|"), "r.csv"),
        (GOOD.replace(",", ", "), "r.csv"),
        ("sep=;\r\n" + GOOD.replace(",", ";"), "r.csv"),
        ("\n\r\n" + GOOD, "r.csv"),
        (GOOD.replace("\n", "\r\n"), "r.csv"),
        (GOOD.replace("\n", "\r"), "r.csv"),
        ("\ufeff" + GOOD, "r.csv"),
        (GOOD.encode("utf-16"), "r.csv"),
        (GOOD.encode("utf-32"), "r.csv"),
        (GOOD.replace("\n", ",\n"), "r.csv"),  # a separator at the end of each line
        ('"study, of one";prediction;reference\na;Clear.;Clear lungs.\nb;A nodule.;Nodule.\n', "r.csv"),
        (LINES, "r.jsonl"),
        ("\ufeff" + LINES, "r.txt"),
        (LINES.replace("\n", "\r\n\r\n"), "r.jsonl"),
        (LINES.encode("utf-16"), "r.jsonl"),
        (json.dumps([json.loads(line) for line in LINES.splitlines()], indent=2), "r.json"),
        (LINES.replace('"report"', '"prediction"').replace('"study"', '"AccNum"'), "r.jsonl"),
    ],
)
def test_the_same_reports_in_every_dress(tmp_path: Path, content: str | bytes, name: str) -> None:
    id_column = "study, of one" if isinstance(content, str) and content.startswith('"study,') else None
    found = read(tmp_path, content, name, id_column=id_column)
    assert texts(found) == WANTED
    assert found.excluded == {} and found.notes == ()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "r.csv", "the file is empty"),
        ("\n \n", "r.csv", "the file is empty"),
        ("", "r.jsonl", "the file is empty"),
        ("[]", "r.json", "list is empty"),
        (HEAD, "r.csv", "no report is left.*a header but no row"),
        ("Clear lungs without a header " * 9 + ",b\na,b\n", "r.csv", r"among 'Clear lungs without a header Clear lung…', 'b'"),
        ("AccNum,Question\na,What is seen?\n", "r.csv", "predicted reports.*'AccNum', 'Question'.*--prediction-column"),
        (HEAD + "a,Café.,b\n".encode("latin-1").decode("latin-1"), "latin", r"isn't UTF-8 \(byte 0xe9 in line 2\).*iconv"),
        (GOOD.encode("utf-16-le"), "r.csv", "without its mark"),
        (gzip.compress(GOOD.encode(), mtime=0), "r.csv", "gzip archive.*gunzip"),
        (b"PK\x03\x04" + bytes(range(256)), "r.csv", "Excel workbook.*Save the sheet as CSV"),
        (bytes(range(256)) * 20, "r.csv", "binary file"),
        (HEAD + 'a,"never closed,b\nc,d,e\n', "r.csv", "opens in the row at line 2 is never closed"),
        (HEAD + 'a,"a "big" nodule",b\n', "r.csv", "line 2.*must be doubled"),
        (HEAD + "a,Clear, of all,Clear.\n", "r.csv", f"no report is left.*{TOO_MANY}: 1"),
        (LINES + '{"study": "c", "rep', "r.jsonl", "line 3 isn't valid JSON"),
        ('{"study": "a", "rep\n' + LINES, "r.jsonl", "line 1 isn't valid JSON"),
        ('{\n "study": "a",\n "report" "b"}', "r.json", "line 3 isn't valid JSON"),
        ("[" * 100_000, "r.json", "isn't readable JSON"),
        (LINES + "[1]\n", "r.jsonl", "entry 3 isn't a JSON object"),
        ("study,prediction\n", "r.jsonl", "isn't valid JSON.*A CSV ends in .csv"),
        ('{"generated_reports": 3}', "r.json", "isn't a list"),
        ('{"metrics": {}, "n": 3}', "r.json", "no text field 'study'"),
    ],
)
def test_faults_are_one_sentence(tmp_path: Path, content: str | bytes, name: str, message: str) -> None:
    if name == "latin":
        content, name = content.encode("latin-1"), "r.csv"  # type: ignore[union-attr]
    with pytest.raises(UserError, match=message) as fault:
        read(tmp_path, content, name)
    assert str(tmp_path / name) in str(fault.value) and len(str(fault.value)) < 500


@pytest.mark.parametrize(
    ("rows", "kept", "excluded"),
    [
        ("a,,Clear.\nb,nan,Clear.\n", [("a", "", "Clear."), ("b", "", "Clear.")], {}),
        ("a,x,NaN\nb,x\n", [("a", "x", ""), ("b", "x", "")], {}),
        ("a,1,2\na,3,4\na.nii.gz,5,6\n", [("a", "1", "2")], {"the id stood before": 2}),
        ("a,1,2\nb\nc,3,4\n", [("a", "1", "2"), ("c", "3", "4")], {TOO_FEW: 1}),
        ("a,1,2\nb,1,2,3\n", [("a", "1", "2")], {TOO_MANY: 1}),
        (f"a,1,2\nb,{'word ' * 21_000},2\n", [("a", "1", "2")], {f"a text has more than {LONGEST:,} characters": 1}),
        ('a,"one\ntwo, ""three""",2\n', [("a", 'one\ntwo, "three"', "2")], {}),
    ],
)
def test_what_cannot_be_scored_is_counted(tmp_path: Path, rows: str, kept: list[Any], excluded: dict[str, int]) -> None:
    found = read(tmp_path, HEAD + rows)
    assert texts(found) == kept
    assert {reason: entry["n"] for reason, entry in found.excluded.items()} == excluded


def test_forms_that_were_never_filled_in_count_as_empty(tmp_path: Path) -> None:
    truth = "The region 0 is lung: Clear. The region 1 is heart: Normal."
    rows = [
        ("a", "The region 0 is lung: The region 1 is heart:", truth),
        ("b", "The region 0 is lung: The region 1 is", truth),
        ("c", "The region 0 is lung: Clear. The region 1 is heart:", truth),
    ]
    lines = "".join(json.dumps({"AccNum": s, "Pred_whole_report": p, "GT_whole_report": r}) + "\n" for s, p, r in rows)
    assert [bool(r.report) for r in read(tmp_path, lines, "r.jsonl").reports] == [False, False, True]


def test_prompts_in_predictions_are_taken_off_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "study,Question,prediction,reference\na,Q?,Q?,x\nb,Q?,Q? Clear.,x\nc,Q?,Clear. Q?,x\n")
    assert [r.report for r in found.reports] == ["", "Clear.", "Clear. Q?"]
    assert found.notes == (
        "1 predictions only repeat their prompt (column 'Question') and count as empty.",
        "1 predictions begin with their prompt (column 'Question'), which is not scored.",
    )


def test_json_of_pandas(tmp_path: Path) -> None:
    lines = '{"study": 7, "report": null, "reference": "x"}\n{"study": 8, "report": "y", "reference": NaN}\n'
    assert texts(read(tmp_path, lines, "r.jsonl")) == [("7", "", "x"), ("8", "y", "")]


def test_ids_without_a_partner_and_references_of_regions(tmp_path: Path) -> None:
    references = tmp_path / "truth.csv"
    references.write_text(
        "Volumename,Anatomy,Sentence\nv.nii.gz,heart,Normal heart.\nv.nii.gz,lung,Clear.\nw.nii.gz,lung,No.\n"
    )
    found = read(tmp_path, "study,prediction\nv,Fine.\nu,Fine.\n", references=references)
    assert texts(found) == [("v", "Fine.", "Normal heart. Clear.")]
    assert {reason: entry["studies"] for reason, entry in found.excluded.items()} == {
        "the id has no partner among the references": ["u"],
        "the reference has no prediction": ["w"],
    }
    references.write_text("study,reference\nv,One.\nv,Two.\n")
    assert (
        "another reference of the id stood before" in read(tmp_path, "study,prediction\nv,x\n", references=references).excluded
    )


def test_a_folder_names_a_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "reports.jsonl").write_text(LINES)
    with pytest.raises(UserError, match=r"for example .*reports\.jsonl"):
        read_reports(tmp_path)


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2), max_size=5),
    st.sampled_from(",;\t|"),
)
def test_any_text_comes_back_from_a_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["one", "two"], *rows])
    columns, found = read_rows(path)
    assert columns == ["one", "two"] and [list(row.values()) for row in found] == rows


def test_json_lines_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(LINES + "broken\n")
    found = entries(path)
    assert [next(found)[0], next(found)[0]] == [1, 2]
    with pytest.raises(UserError, match="line 3"):
        next(found)


def test_faults_and_exclusions_reach_the_user(reg2rg: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(HEAD + "a,Clear lungs.,Clear.\na,x,y\nb,,Clear.\nc,Clear.,\n")
    done = reg2rg("evaluate", path, "--metrics", "bleu", "--ci", 0)
    assert done.returncode == 0, done.stderr
    for line in ("1 predictions are empty", "Left out, the id stood before: 1.", "Left out, no reference: 1."):
        assert line in done.stdout
    path.write_bytes(b"PK\x03\x04")
    done = reg2rg("evaluate", path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("name", ["r.jsonl", "r.json"])
def test_half_characters_become_question_marks(tmp_path: Path, name: str) -> None:
    """What `errors="surrogateescape"` leaves in JSON: it could be read, and then written nowhere."""
    line = r'{"study": "a", "report": "Clear \ud800 lungs, \ud83d\ude00.", "reference": "\\uDfff"}'
    found = read(tmp_path, line if name == "r.jsonl" else f"[\n{line}\n]", name)
    assert texts(found) == [("a", "Clear ? lungs, 😀.", r"\uDfff")]
