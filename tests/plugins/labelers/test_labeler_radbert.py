"""The labeler `radbert`: the published network at full size, a small one end to end, and what is said of missing files."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples_radbert as sample
import torch
from reg2rg_plugins.labelers.radbert import Classifier, RadBert

from reg2rg.anatomy import FINDINGS
from reg2rg.conformance import conform
from reg2rg.convert import convert
from reg2rg.convert.job import Request
from reg2rg.convert.kinds import KINDS
from reg2rg.errors import UserError
from reg2rg.plugins import resolve

Run = Callable[..., subprocess.CompletedProcess[str]]


def converted(source: Path, out: Path) -> Path:
    return convert(Request(KINDS["radbert"], source, out)).out


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample.published(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(source, tmp_path_factory.mktemp("converted") / "radbert")


def test_the_network_has_the_published_names_and_shapes() -> None:
    from transformers import RobertaConfig

    sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
    with torch.device("meta"):
        network = Classifier(RobertaConfig(**sizes))
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == sample.PUBLISHED
    # RoBERTa-base with its pooler, and 768 × 18 + 18
    assert sum(p.numel() for p in network.parameters()) == 124_645_632 + 13_842


def official(source: Path, texts: list[str], capacity: int) -> np.ndarray:
    """Sigmoids as the authors compute them: every text padded to the full length, one after the other."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    state = torch.load(source / "RadBertClassifier.pth", weights_only=True)
    encoder = RobertaModel(RobertaConfig(**json.loads((source / "config.json").read_text())))
    encoder.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    tokenizer = AutoTokenizer.from_pretrained(source, do_lower_case=True)
    rows = []
    for text in texts:
        given = tokenizer(text, return_tensors="pt", max_length=capacity, padding="max_length", truncation=True)
        assert given["input_ids"].shape == (1, capacity)
        with torch.no_grad():
            pooled = encoder.eval()(given["input_ids"], attention_mask=given["attention_mask"]).pooler_output
        rows.append(torch.sigmoid(pooled @ state["classifier.weight"].T + state["classifier.bias"])[0].numpy())
    return np.array(rows)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_the_authors_numbers_at_any_batch_size(source: Path, folder: Path, batch: int) -> None:
    texts = list(sample.TEXTS)
    ours = RadBert(str(folder), device="cpu", batch_size=batch).probabilities(texts)
    assert ours.shape == (4, 18) and ours.dtype == np.float64
    np.testing.assert_allclose(ours, official(source, texts, 64), atol=1e-5)
    assert ours.min() < 0.4 and ours.max() > 0.6  # the numbers tell something


def test_each_output_is_its_own_finding(tmp_path: Path) -> None:
    """A bias on one output of the published file becomes that finding, in CT-RATE's order, through every step."""
    source = sample.published(tmp_path / "source")
    weights = {k: torch.zeros_like(v) if k.startswith("classifier") else v for k, v in sample.state().items()}
    for i in (0, 4, 9, 17):
        bias = torch.full((18,), -1.0)
        bias[i] = 1.0
        torch.save({**weights, "classifier.bias": bias}, source / "RadBertClassifier.pth")
        found = RadBert(str(converted(source, tmp_path / f"out{i}"))).label(["A report."])
        assert [FINDINGS[j] for j in np.flatnonzero(found[0])] == [FINDINGS[i]]


def test_half_is_enough_and_a_hair_below_is_not(tmp_path: Path) -> None:
    source = sample.published(tmp_path / "source")
    weights = {k: torch.zeros_like(v) if k.startswith("classifier") else v for k, v in sample.state().items()}
    weights["classifier.bias"][1], weights["classifier.bias"][2] = -1e-10, 1e-10
    torch.save(weights, source / "RadBertClassifier.pth")
    folder = converted(source, tmp_path / "out")
    assert RadBert(str(folder)).label(["A report."])[0].tolist() == [1, 0] + [1] * 16
    assert RadBert(str(folder), threshold=0.6).label(["A report."]).sum() == 0


def test_what_is_longer_is_cut_and_said(folder: Path) -> None:
    told: list[tuple[Any, ...]] = []
    labeler = RadBert(str(folder), device="cpu", batch_size=2, progress=lambda *args: told.append(args))
    long = "There is a nodule. " * 200
    same = labeler.probabilities([long, long + "The heart is enlarged.", "A nodule.", "A nodule.", ""])
    np.testing.assert_allclose(same[0], same[1], atol=1e-5)
    np.testing.assert_array_equal(same[2], same[3])
    assert not same[4].any()
    assert [t[:3] for t in told] == [("radbert", 0, 3), ("radbert", 2, 3), ("radbert", 3, 3)]  # a text that recurs is read once
    assert told[-1][3] == "2 of 3 texts fill 64 tokens; what is longer is cut"


def test_weights_are_read_once_and_again_when_they_change(tmp_path: Path, source: Path) -> None:
    folder = converted(source, tmp_path / "out")
    first = RadBert(str(folder))
    assert RadBert(str(folder), batch_size=2).network is first.network
    other = sample.published(tmp_path / "other", sample.state(seed=1))
    shutil.copyfile(converted(other, tmp_path / "new") / "model.safetensors", folder / "model.safetensors")
    assert not np.allclose(RadBert(str(folder)).probabilities(["A."]), first.probabilities(["A."]))


def test_the_conformance_kit(folder: Path) -> None:
    verdict = conform("labeler", "radbert", {"weights": str(folder), "device": "cpu"})
    assert verdict.passed, str(verdict)


# --- files that are missing or others --------------------------------------------------------------------------------


def fault(**options: Any) -> str:
    with pytest.raises(UserError) as caught:
        resolve("labeler", "radbert", options)
    return str(caught.value)


def test_missing_files_are_named_with_where_they_come_from_and_go(
    tmp_path: Path, folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REG2RG_RADBERT", raising=False)
    for text in (fault(), fault(weights=str(tmp_path / "none")), fault(weights=str(tmp_path))):
        assert "RadBertClassifier.pth" in text and "Trusure/Reg2RG" in text and "zzxslp/RadBERT-RoBERTa-4m" in text
        assert "reg2rg convert radbert" in text and "--weights DIR" in text and "REG2RG_RADBERT" in text
    assert "lacks model.safetensors and config.json" in fault(weights=str(tmp_path))
    pth = source / "RadBertClassifier.pth"
    assert f"reg2rg convert radbert {pth} --out DIR" in fault(weights=str(pth))
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "vocab.json").unlink()
    text = fault(weights=str(bare))
    assert "has no tokenizer" in text and "--labeler-options tokenizer=FOLDER" in text
    assert RadBert(str(bare), tokenizer=str(source)).label(["A."]).shape == (1, 18)
    monkeypatch.setenv("REG2RG_RADBERT", str(folder))
    assert RadBert().label(["A."]).shape == (1, 18)
    assert RadBert(str(folder / "model.safetensors")).label(["A."]).shape == (1, 18)


def test_other_weights_and_options_are_refused(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    sample.config_file(other, intermediate_size=50)
    assert "don't fit the folder's config.json: model.encoder.layer.0.intermediate" in fault(weights=str(other))
    (other / "model.safetensors").write_bytes(b"none")
    sample.config_file(other)
    assert "the weights can't be read" in fault(weights=str(other))
    (other / "config.json").write_text("{")
    assert "can't be built from this folder" in fault(weights=str(other))
    assert "there is no device 'tpu9'" in fault(weights=str(folder), device="tpu9")
    assert "batch_size must be 1 or more" in fault(weights=str(folder), batch_size=0)
    assert "unknown option 'wieghts' (Did you mean 'weights'?" in fault(wieghts="x")


def test_a_bert_is_no_less_welcome(tmp_path: Path) -> None:
    """Its positions start at 0, and its tokenizer heeds the option to lower the case."""
    config = {"model_type": "bert", "pad_token_id": 0, "max_position_embeddings": 66}
    source = sample.config_file(tmp_path, **config)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "heart", "is", "enlarged", "."]
    (source / "vocab.txt").write_text("\n".join(words) + "\n")
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False}))
    torch.save(sample.state(), source / "RadBertClassifier.pth")
    labeler = RadBert(str(converted(source, tmp_path / "out")))
    assert labeler.max_length == 66
    found = labeler.probabilities(["The heart is enlarged.", "THE HEART IS ENLARGED.", "The heart is. " * 60])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


# --- on the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.csv"
    with path.open("w", newline="") as file:
        rows = [("study", "reference", "prediction"), *((f"s{i}", t, t) for i, t in enumerate(sample.TEXTS))]
        csv.writer(file).writerows(rows)
    return path


def test_label_and_evaluate_from_the_command_line(reg2rg: Run, source: Path, reports: Path, tmp_path: Path) -> None:
    out = tmp_path / "radbert"
    done = reg2rg("convert", "radbert", source / "RadBertClassifier.pth", "--out", out)
    assert done.returncode == 0 and f"--labeler radbert --weights {out}" in done.stderr, done.stderr
    labels = tmp_path / "labels.csv"
    done = reg2rg("label", reports, "--out", labels, "--labeler", "radbert", "--weights", out, "--text-column", "reference")
    assert done.returncode == 0, done.stderr
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = RadBert(str(out)).label(list(sample.TEXTS))
    assert [[int(row[f]) for f in FINDINGS] for row in rows] == wanted.tolist()
    options = ("--labeler-options", f"weights={out}", "--labeler-options", "batch_size=1", "--labeler-options", "device=cpu")
    done = reg2rg("evaluate", reports, "--metrics", "clinical", "--labeler", "radbert", *options, "--ci", 0, "--json")
    found = json.loads(done.stdout)
    assert found["clinical"]["reference"] == "radbert" and found["clinical"]["micro"]["f1"] == 1.0, done.stderr
    assert found["settings"]["options"] == {"radbert": {"weights": str(out), "batch_size": 1, "device": "cpu"}}


def test_without_weights_label_fails_and_evaluate_skips(reg2rg: Run, reports: Path, tmp_path: Path) -> None:
    env = {"REG2RG_RADBERT": ""}
    done = reg2rg("label", reports, "--out", tmp_path / "l.csv", "--labeler", "radbert", "--text-column", "reference", env=env)
    assert done.returncode == 1 and "reg2rg convert radbert" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "l.csv").exists()
    done = reg2rg("evaluate", reports, "--metrics", "clinical,bleu", "--labeler", "radbert", "--ci", 0, "--json", env=env)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and "bleu4" in found["metrics"] and "clinical" not in found
    assert "RadBertClassifier.pth" in found["skipped"]["clinical"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labeler-options", "weights"), "'weights' isn't KEY=VALUE"),
        (("--metric-options", "bleu.x"), "'bleu.x' isn't KEY=VALUE"),
        (("--metric-options", "blue.x=1"), "'blue.x' is no option of a metric that is asked for"),
        (("--metric-options", "x=1"), "Write NAME.KEY=VALUE"),
    ],
)
def test_options_that_are_none(reg2rg: Run, reports: Path, options: tuple[str, ...], message: str) -> None:
    done = reg2rg("evaluate", reports, "--metrics", "bleu", *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_an_option_of_a_metric_reaches_it(reg2rg: Run, reports: Path) -> None:
    done = reg2rg("evaluate", reports, "--metrics", "bleu", "--metric-options", "bleu.x=1", "--ci", 0, "--json")
    assert "unknown option 'x'" in json.loads(done.stdout)["skipped"]["bleu"]
