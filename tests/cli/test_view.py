"""`reg2rg view` through the program: each kind of input gives a page, anything else one sentence."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reg2rg.contracts import GroundedReport, RegionMask, RegionSection, Study, Volume
from reg2rg.data.store import write_info, write_study

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the demo leaves it: a store of three studies, their reports, an evaluation."""
    root = tmp_path_factory.mktemp("demo")
    (root / "store/studies").mkdir(parents=True)
    lung = np.zeros((20, 20, 10), bool)
    lung[4:16, 4:16, 2:8] = True
    volume, mask = Volume(np.full(lung.shape, -700, np.int16), np.eye(4)), RegionMask.from_masks({"lung": lung})
    lines = []
    for i in range(3):
        study = Study(f"s{i}", "test" if i else "train", {"lung": f"The lungs of study {i} are clear."}, "A whole report.")
        write_study(root / f"store/studies/s{i}.h5", volume, mask, study)
        sections = (RegionSection(0, "lung", "lung", 0.9, "Generated text."),)
        lines.append(json.dumps(GroundedReport(f"s{i}", sections, "Generated text.", "A reference.").to_json()))
    write_info(root / "store", {"format": 1})
    (root / "reports.jsonl").write_text("\n".join(lines) + "\n")
    (root / "evaluation.json").write_text(json.dumps({"n": 3, "metrics": {"bleu4": {"value": 0.25}}}))
    return root


def pictures(page: Path) -> int:
    return page.read_text().count('type="application/json"')


def test_a_study_of_a_store(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    page = tmp_path / "page.html"
    done = reg2rg("view", demo / "store/studies/s1.h5", "--out", page)
    assert done.returncode == 0 and done.stdout == "" and str(page) in done.stderr
    assert pictures(page) == 1 and "The lungs of study 1 are clear." in page.read_text()
    assert "Reference report" in page.read_text()


def test_a_store_and_one_of_its_splits(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    page = tmp_path / "page.html"
    assert reg2rg("view", demo / "store", "--out", page).returncode == 0
    assert pictures(page) == 3
    assert reg2rg("view", demo / "store", "--split", "test", "--limit", 1, "--out", page).returncode == 0
    assert pictures(page) == 1 and "study 0" not in page.read_text() and "study 2" in page.read_text()
    done = reg2rg("view", demo / "store", "--most", 2, "--out", page)
    assert "The first 2 of 3 studies" in page.read_text() and "2 studies" in done.stderr
    none = reg2rg("view", demo / "store", "--split", "valid", "--out", page)
    assert none.returncode == 1 and "no study in its split 'valid'" in none.stderr


def test_reports_with_and_without_their_store(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    page = tmp_path / "page.html"
    assert reg2rg("view", demo / "reports.jsonl", "--data", demo / "store", "--out", page).returncode == 0
    assert pictures(page) == 3 and "0.250" in page.read_text()
    done = reg2rg("view", demo / "reports.jsonl", "--out", page)
    assert done.returncode == 0 and "text only" in done.stderr
    assert pictures(page) == 0 and "Text only" in page.read_text() and "Generated text." in page.read_text()


def test_a_demos_folder_finds_its_store_and_scores(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    page = tmp_path / "page.html"
    assert reg2rg("view", demo, "--out", page).returncode == 0
    assert pictures(page) == 3 and "0.250" in page.read_text()


def test_scores_of_other_reports_are_left_out(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    (tmp_path / "reports.jsonl").write_text((demo / "reports.jsonl").read_text().splitlines()[0])
    (tmp_path / "evaluation.json").write_text((demo / "evaluation.json").read_text())
    page = tmp_path / "page.html"
    done = reg2rg("view", tmp_path / "reports.jsonl", "--out", page)
    assert done.returncode == 0 and "left out" in done.stderr and "0.250" not in page.read_text()
    done = reg2rg("view", tmp_path / "reports.jsonl", "--evaluation", tmp_path / "evaluation.json", "--out", page)
    assert done.returncode == 0 and "0.250" in page.read_text()


def test_a_bench_as_file_and_folder(tmp_path: Path, reg2rg: Run) -> None:
    bench = {
        "rows": [{"name": "reg2rg", "recipe": "reg2rg", "seed": 0, "metrics": {"micro_f1": 0.7}}],
        "comparisons": [],
        "paper": [],
    }
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    for path in (tmp_path, tmp_path / "bench.json"):
        page = tmp_path / "page.html"
        assert reg2rg("view", path, "--out", page).returncode == 0
        assert "0.700" in page.read_text()
        page.unlink()


def test_a_reports_folder_gives_its_own_page(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    folder, page = tmp_path / "out", tmp_path / "page.html"
    folder.mkdir()
    (folder / "report.json").write_text((demo / "reports.jsonl").read_text().splitlines()[0])
    assert reg2rg("view", folder, "--out", page).returncode == 0
    assert pictures(page) == 0 and "Text only" in page.read_text()
    (folder / "page.html").write_text("<p>drawn</p>")
    assert reg2rg("view", folder, "--out", page).returncode == 0 and page.read_text() == "<p>drawn</p>"
    assert reg2rg("view", folder, "--out", folder / "page.html").returncode == 0
    assert reg2rg("view", folder, "--data", demo / "store", "--out", page).returncode == 0 and pictures(page) == 1


BAD = {
    "gone.jsonl": (None, "no such file"),
    "notes.txt": ("hello", "has no page"),
    "empty.jsonl": ("", "empty.jsonl"),
    "broken.jsonl": ('{"study": "a"', "broken.jsonl"),
    "scores.json": ('{"metrics": {}, "n": "2"}', "reg2rg evaluate"),
    "bench.json": ('{"rows": [1]}', "rows"),
    "fake.h5": ("not hdf5", "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_no_page(name: str, tmp_path: Path, reg2rg: Run) -> None:
    content, words = BAD[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    done = reg2rg("view", tmp_path / name, "--out", tmp_path / "new/page.html")
    assert done.returncode == 1 and "Traceback" not in done.stderr and words in done.stderr and name in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_folders_and_names_that_do_not_fit(demo: Path, tmp_path: Path, reg2rg: Run) -> None:
    (tmp_path / "run").mkdir()
    done = reg2rg("view", tmp_path / "run", "--out", tmp_path / "p.html")
    assert done.returncode == 1 and "nothing in this folder" in done.stderr
    (tmp_path / "run/recipe.yaml").write_text("name: x")
    done = reg2rg("view", tmp_path / "run", "--out", tmp_path / "p.html")
    assert done.returncode == 1 and "reg2rg generate" in done.stderr
    assert reg2rg("view", demo / "store", "--out", tmp_path / "page.pdf").returncode == 2
    assert reg2rg("view", demo / "store").returncode == 2
    other = tmp_path / "other"
    (other / "studies").mkdir(parents=True)
    write_info(other, {"format": 1})
    done = reg2rg("view", demo / "reports.jsonl", "--data", other, "--out", tmp_path / "p.html")
    assert done.returncode == 1 and "none of these studies" in done.stderr


def test_help_shows_an_example(reg2rg: Run) -> None:
    done = reg2rg("view", "--help")
    assert done.returncode == 0 and "--data" in done.stdout and "Example: reg2rg view" in done.stdout
