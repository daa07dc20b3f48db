"""A third party: the example package, installed by pip into a fresh environment, is found, keeps its contracts, scores and
trains a step, and the repository isn't touched for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "reg2rg-example-plugin"


class Environment:
    """A virtual environment of its own that sees the development environment's packages, and no more."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        self.folder = folder
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # addsitedir, not the bare path: the development environment's own .pth files (its editable installs) count too
        heavy = sysconfig.get_path("purelib")
        (site / "development.pth").write_text(f"import site; site.addsitedir({heavy!r})\n")

    def run(self, *arguments: object, code: int = 0) -> str:
        """Runs this environment's Python; gives its stdout."""
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
        clean |= {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [self.python, *map(str, arguments)], capture_output=True, text=True, env=clean, cwd=self.folder, timeout=200
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def reg2rg(self, *arguments: object) -> str:
        return self.run("-m", "reg2rg", *arguments)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    fresh = Environment(tmp_path_factory.mktemp("third-party") / "venv")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(fresh.python), "install", *options, str(EXAMPLE)]
    subprocess.run(pip, check=True, timeout=200)
    return fresh


def test_it_is_listed_with_its_package_beside_the_defaults(environment: Environment) -> None:
    data = json.loads(environment.reg2rg("plugins", "list", "--json"))
    found = {(row["kind"], row["name"]): row["package"] for row in data["plugins"]}
    assert found["metric", "vocabulary"] == found["volume-encoder", "axial-slices"] == "reg2rg-example-plugin"
    assert found["metric", "bleu"] == "reg2rg" and data["broken"] == []


def test_it_is_in_no_other_environment() -> None:
    done = subprocess.run([sys.executable, "-m", "reg2rg", "plugins", "list", "--json"], capture_output=True, text=True)
    assert "reg2rg-example-plugin" not in done.stdout and "vit3d" in done.stdout


@pytest.mark.parametrize("name", ["vocabulary", "axial-slices"])
def test_it_keeps_its_contracts(environment: Environment, name: str) -> None:
    assert json.loads(environment.reg2rg("plugins", "check", name, "--json"))["passed"]


def test_its_own_tests_pass(environment: Environment) -> None:
    environment.run("-m", "pytest", "-p", "no:cacheprovider", "--rootdir", EXAMPLE, EXAMPLE / "tests")


def test_its_metric_scores_a_reports_file(environment: Environment, tmp_path: Path) -> None:
    texts = [("The lungs are clear.", "The lungs are clear."), ("The lungs are clear.", "A nodule is seen.")]
    lines = [
        json.dumps({"study": f"s{i}", "report": p, "reference": r, "regions": [], "settings": {}})
        for i, (p, r) in enumerate(texts)
    ]
    (tmp_path / "reports.jsonl").write_text("\n".join(lines) + "\n")
    options = ("--metrics", "vocabulary", "--ci", "50", "--json")
    scores = json.loads(environment.reg2rg("evaluate", tmp_path / "reports.jsonl", *options))["metrics"]
    assert scores["vocabulary_coverage"]["value"] == pytest.approx(4 / 8)
    assert scores["vocabulary_coverage"]["low"] <= scores["vocabulary_coverage"]["high"]


def test_its_encoder_trains_a_step(environment: Environment, tmp_path: Path) -> None:
    data, store, run = tmp_path / "data", tmp_path / "store", tmp_path / "run"
    environment.reg2rg("phantom", data, "--studies", "10", "--seed", "1", "--workers", "1")
    environment.reg2rg("preprocess", data, "--out", store, "--segmenter", "precomputed", "--workers", "1")
    options = ("--recipe", "tiny", "--volume-encoder", "axial-slices", "--max-steps", "1", "--set", "training.log_every=1")
    environment.reg2rg("train", "--data", store, "--out", run, *options)
    assert "name: axial-slices" in (run / "recipe.yaml").read_text()
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses and any("loss" in row for row in losses)
    from safetensors import safe_open

    with safe_open(run / "model.safetensors", "pt") as weights:
        assert any("along.weight" in key for key in weights.keys())  # noqa: SIM118 - it isn't a dict
