"""BERTScore, RadGraph-F1 and RaTEScore by stand-ins of their packages, with the same names, parameters and results.

The stand-ins refuse what the real ones do not take (seen in bert-score 0.3.13, radgraph 0.1.18, RaTEScore 0.6.0), print to
stdout as those do, and refuse to run online.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reg2rg import plugins
from reg2rg.conformance import conform
from reg2rg.contracts import GroundedReport
from reg2rg.errors import UserError

Run = Callable[..., subprocess.CompletedProcess[str]]

STAND_INS = {
    "transformers/__init__.py": "__version__ = '4.57.6'\n",
    "torch/__init__.py": "class cuda:\n    is_available = staticmethod(lambda: False)\n",
    "bert_score/__init__.py": """
import os
from .utils import overlap

class BERTScorer:
    def __init__(self, model_type=None, num_layers=None, batch_size=64, nthreads=4, all_layers=False, idf=False, idf_sents=None,
                 device=None, lang=None, rescale_with_baseline=False, baseline_path=None, use_fast_tokenizer=False):
        assert os.path.isabs(model_type) and os.path.isfile(os.path.join(model_type, "config.json"))
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"
        print("loading", model_type)
        self.layers, self.device = num_layers, device

    def score(self, cands, refs, verbose=False, batch_size=64, return_hash=False):
        assert all(cands) and all(refs)  # an empty text makes the real one fail
        print("scoring")
        rows = [(overlap(c, r), overlap(r, c), self.layers / 100) for c, r in zip(cands, refs)]
        return tuple(zip(*rows))
""",
    "bert_score/utils.py": """
model2layers = {"roberta-large": 17, "microsoft/deberta-xlarge-mnli": 40}

def overlap(a, b):
    a, b = set(a.split()), set(b.split())
    return len(a & b) / len(a)
""",
    "radgraph/__init__.py": """
import json, os
from bert_score.utils import overlap

class F1RadGraph:
    def __init__(self, reward_level, model_type=None, batch_size=1, cuda=None, temp_dir=None, model_cache_dir=None,
                 tokenizer_cache_dir=None):
        assert reward_level == "all" and model_type in ("radgraph", "radgraph-xl", "echograph", "modern-radgraph-xl")
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        folder = os.path.join(model_cache_dir, model_type)
        assert open(os.path.join(folder, "weights.th")).read() and os.path.isdir(os.path.join(folder, "vocabulary"))
        config = json.load(open(os.path.join(folder, "config.json")))
        names = {config["dataset_reader"]["token_indexers"]["bert"]["model_name"],
                 config["model"]["embedder"]["token_embedders"]["bert"]["model_name"]}
        [self.encoder] = names
        print("Using device:", cuda)
        self.cuda = cuda

    def __call__(self, refs, hyps):
        assert all(hyps) and all(refs) and len(hyps) == len(refs)
        marks = [1.0 if self.encoder.endswith("words") else 0.5] * len(hyps)
        rewards = ([overlap(h, r) for h, r in zip(hyps, refs)], marks, [float(self.cuda == -1)] * len(hyps))
        return tuple(sum(r) / len(r) for r in rewards), rewards, [], []
""",
    "RaTEScore/__init__.py": """
import os

class RaTEScore:
    def __init__(self, bert_model="x", eval_model="y", batch_size=1, use_gpu=True, visualization_path=None,
                 affinity_matrix="long"):
        assert os.path.isdir(bert_model) and os.path.isdir(eval_model) and not use_gpu
        self.value = batch_size / 10

    def compute_score(self, candidate_list, reference_list):
        if not isinstance(candidate_list, list) or not isinstance(reference_list, list):
            raise ValueError("candidate must be a list")
        if "die" in candidate_list:
            os._exit(3)
        if "fail" in candidate_list:
            raise RuntimeError("a tensor\\nof another shape")
        if "odd" in candidate_list:
            return [float("nan")] * len(candidate_list)
        return [self.value] * len(candidate_list)
""",
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-ins where the other Python (this one) finds them, and the folders of their models."""
    root = tmp_path / "packages"
    for name, text in STAND_INS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("REG2RG_METRICS_PYTHON", sys.executable)
    return root


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for name in ("roberta-large", "other", "entities", "synonyms", "words", "graph/vocabulary"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    bert = {"bert": {"model_name": "hub/name"}}
    config = {"dataset_reader": {"token_indexers": bert}, "model": {"embedder": {"token_embedders": bert}}}
    (root / "graph" / "config.json").write_text(json.dumps(config))
    (root / "graph" / "weights.th").write_text("weights")
    return root


def pairs(*texts: tuple[str, str]) -> list[GroundedReport]:
    return [GroundedReport(f"s{i}", (), report, reference) for i, (report, reference) in enumerate(texts)]


REPORTS = pairs(("a b", "a b c d"), ("", "a"), ("x", "y"), ("a b", "a b c d"), ("  ", "a"))


def score(name: str, reports: list[GroundedReport] = REPORTS, **options: Any) -> dict[str, float]:
    metric = plugins.resolve("metric", name, options)
    rows = metric.statistics(reports)
    assert rows.dtype == np.float64 and rows.shape == (len(reports), len(metric.names) + 1)
    return {key: float(value) for key, value in metric.combine(rows.sum(axis=0)).items()}


def test_bertscore(packages: Path, models: Path) -> None:
    found = score("bertscore", weights=str(models / "roberta-large"))
    assert found == pytest.approx({"bertscore_precision": 2 / 5, "bertscore_recall": 1 / 5, "bertscore_f1": 3 / 5 * 0.17})
    assert score("bertscore", weights=str(models / "other"), layers=9)["bertscore_f1"] == pytest.approx(3 / 5 * 0.09)


def test_radgraph(packages: Path, models: Path) -> None:
    found = score("radgraph", weights=str(models / "graph"), device="cpu")
    assert found == pytest.approx({"radgraph_simple": 2 / 5, "radgraph_partial": 0.3, "radgraph_complete": 3 / 5})
    found = score("radgraph", weights=str(models / "graph"), encoder=str(models / "words"), model="radgraph")
    assert found == pytest.approx({"radgraph_simple": 2 / 5, "radgraph_partial": 0.6, "radgraph_complete": 0})
    assert json.loads((models / "graph" / "config.json").read_text())["model"]["embedder"]["token_embedders"]["bert"] == {
        "model_name": "hub/name"
    }


def test_ratescore(packages: Path, models: Path) -> None:
    options = {"entities": str(models / "entities"), "synonyms": str(models / "synonyms"), "batch_size": 7}
    assert score("ratescore", **options) == pytest.approx({"ratescore": 0.7 * 3 / 5})


@pytest.mark.parametrize("name", ["bertscore", "radgraph", "ratescore"])
def test_they_keep_the_contract(packages: Path, models: Path, name: str) -> None:
    weights = {"bertscore": "roberta-large", "radgraph": "graph"}
    options = {"weights": str(models / weights[name])} if name in weights else {}
    if name == "ratescore":
        options = {"entities": str(models / "entities"), "synonyms": str(models / "synonyms")}
    verdict = conform("metric", name, options)
    assert verdict.passed, str(verdict)


def test_the_other_python_is_started_once_and_progress_is_told(packages: Path, models: Path) -> None:
    told: list[tuple[Any, ...]] = []
    options = {"weights": str(models / "roberta-large")}
    one = plugins.resolve("metric", "bertscore", options, progress=lambda *args: told.append(args))
    two = plugins.resolve("metric", "bertscore", options)
    assert one._ask is two._ask
    many = pairs(*((f"a {i}", "a b") for i in range(40)))
    assert one.statistics(many).shape == (40, 4)
    assert told == [("bertscore", 0, 40), ("bertscore", 32, 40), ("bertscore", 40, 40)]


# --- what is missing ---------------------------------------------------------------------------------------------------


def fault(name: str, reports: list[GroundedReport] = REPORTS, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        plugins.resolve("metric", name, options).statistics(reports)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_and_what_belongs_there_are_named(models: Path) -> None:
    assert "'bertscore.weights' is missing" in (text := fault("bertscore")) and "roberta-large" in text
    text = fault("radgraph", weights=str(models / "other"))
    assert "lacks weights.th and vocabulary" in text and "StanfordAIMI/RRG_scorers" in text
    assert "Angelakeke/RaTE-NER-Deberta" in fault("ratescore")
    assert "FremyCompany/BioLORD-2023-C" in fault("ratescore", entities=str(models / "entities"))
    assert "first layer is 1" in fault("bertscore", weights=str(models / "other"), layers=0)


def test_the_other_python_is_asked_for_and_its_faults_are_told(
    packages: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = str(models / "other")
    text = fault("bertscore", weights=weights)
    assert "give the option 'layers'" in text and sys.executable in text
    monkeypatch.setenv("PYTHONPATH", str(packages / "none"))
    text = fault("radgraph", weights=str(models / "graph"))
    assert (
        "ModuleNotFoundError: No module named 'radgraph'" in text and "pip install radgraph requests 'transformers<5'" in text
    )
    assert "can't start its Python (No such file" in fault("bertscore", weights=weights, python="/nowhere/python")
    assert "ended with code" in fault("bertscore", weights=weights, python="/bin/true")
    monkeypatch.delenv("REG2RG_METRICS_PYTHON")
    text = fault("bertscore", weights=weights)
    assert "needs a Python of its own" in text and "REG2RG_METRICS_PYTHON=metrics/bin/python" in text


def test_bertscore_is_not_taken_from_transformers_5(packages: Path, models: Path) -> None:
    (packages / "transformers" / "__init__.py").write_text("__version__ = '5.24.0'\n")
    assert "install 'transformers<5' there" in fault("bertscore", weights=str(models / "roberta-large"))


def test_a_metric_that_fails_midway_is_told_and_starts_anew(packages: Path, models: Path) -> None:
    options = {"entities": str(models / "entities"), "synonyms": str(models / "synonyms")}
    assert "RuntimeError: a tensor of another shape" in fault("ratescore", pairs(("fail", "a")), **options)
    assert "it ended with code 3" in fault("ratescore", pairs(("die", "a")), **options)
    assert "aren't finite" in fault("ratescore", pairs(("odd", "a")), **options)
    assert score("ratescore", pairs(("b", "a")), **options) == pytest.approx({"ratescore": 0.8})


def test_evaluate_gives_them_and_skips_with_a_reason(packages: Path, models: Path, reg2rg: Run, tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    file.write_text("study,reference,prediction\na,the heart is large,the heart is normal\nb,lungs clear,lungs clear\n")
    done = reg2rg(
        "evaluate", file, "--metrics", "bleu,radgraph,bertscore", "--metric-options", f"radgraph.weights={models / 'graph'}",
        "--ci", 20, "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["metrics"]["radgraph_simple"]["value"] == pytest.approx(0.875) and "low" in found["metrics"]["radgraph_simple"]
    assert "'bertscore.weights' is missing" in found["skipped"]["bertscore"] and "bleu1" in found["metrics"]
