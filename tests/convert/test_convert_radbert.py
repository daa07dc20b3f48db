"""`convert radbert`: the published classifier to the labeler's folder and back, bit for bit, what is said of other files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import samples_radbert as sample
import torch
from safetensors.torch import load_file

from reg2rg.anatomy import FINDINGS
from reg2rg.convert import convert, labeler
from reg2rg.convert.job import Converted, Request
from reg2rg.convert.kinds import KINDS
from reg2rg.convert.shapes import Shapes
from reg2rg.errors import UserError


def do(source: Path, out: Path, back: bool = False, kind: str = "radbert", **more: str) -> Converted:
    return convert(Request(KINDS[kind], source, out, **more), back)  # type: ignore[arg-type]


def fault(source: Path, kind: str = "radbert", **more: str) -> str:
    """The sentence; nothing may be left, not even under a temporary name."""
    before = sorted(source.parent.iterdir())
    with pytest.raises(UserError) as caught:
        do(source, source.parent / "out", kind=kind, **more)
    assert sorted(source.parent.iterdir()) == before
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in this machine's hub cache is nothing to these tests."""
    monkeypatch.setattr(labeler, "local_folder", lambda name: Path(name) if Path(name).is_dir() else None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sample.published(tmp_path / "source")


def test_the_folder_holds_weights_by_their_names_the_findings_and_the_tokenizer(tmp_path: Path, source: Path) -> None:
    done = do(source, tmp_path / "out")
    assert done.tokenizer and done.notes == () and done.keys == len(sample.shapes())
    own, theirs = load_file(tmp_path / "out" / "model.safetensors"), sample.state()
    assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(config["id2label"].values()) == list(FINDINGS) and config["num_attention_heads"] == 4
    assert (tmp_path / "out" / "merges.txt").read_bytes() == (source / "merges.txt").read_bytes()


@pytest.mark.parametrize("old", [False, True], ids=["today", "with position_ids"])
def test_there_and_back_is_the_same_file(tmp_path: Path, old: bool) -> None:
    weights = {k: v.half() if k.startswith("classifier") else v for k, v in sample.state(old=old).items()}
    source = sample.published(tmp_path / "source", weights)
    do(source, tmp_path / "out")
    again = do(tmp_path / "out", tmp_path / "again.pth", back=True)
    theirs = torch.load(tmp_path / "again.pth", weights_only=True)
    assert list(theirs) == list(weights) and again.keys == len(weights)
    assert all(torch.equal(theirs[k], weights[k]) and theirs[k].dtype == weights[k].dtype for k in weights)
    with pytest.raises(UserError, match="no labeler's folder"):
        do(source, tmp_path / "b.pth", back=True)


def test_the_published_sizes_need_no_config() -> None:
    with torch.device("meta"):
        tensors = {key: torch.empty(shape) for key, shape in sample.PUBLISHED.items()}
    config, notes = labeler.configuration(Shapes(tensors), [])
    assert notes == [] and config["num_attention_heads"] == config["num_hidden_layers"] == 12
    assert (config["model_type"], config["layer_norm_eps"], config["pad_token_id"]) == ("roberta", 1e-5, 1)
    assert {key: tuple(shape) for key, shape in labeler.blueprint(config).items()} == sample.PUBLISHED


def test_config_and_tokenizer_come_from_where_the_user_says(tmp_path: Path, source: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (source / "RadBertClassifier.pth").rename(alone / "RadBertClassifier.pth")
    done = do(alone / "RadBertClassifier.pth", tmp_path / "bare")
    assert done.tokenizer is False and "zzxslp/RadBERT-RoBERTa-4m into the new folder" in done.notes[-1]
    assert "heads are taken to be 64 wide" in done.notes[0]
    assert do(alone, tmp_path / "whole", tokenizer=str(source)).tokenizer
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["num_attention_heads"] == 4
    assert "there is no such folder" in fault(alone, tokenizer=str(tmp_path / "none"))


def test_another_models_tokenizer_and_config_are_not_taken(tmp_path: Path, source: Path) -> None:
    other = sample.tokenizer_files(tmp_path / "other")
    vocab = {**json.loads((other / "vocab.json").read_text()), **{f"word{i}": 1000 + i for i in range(400)}}
    (other / "vocab.json").write_text(json.dumps(vocab))
    text = fault(source, tokenizer=str(other))
    assert "words, the classifier's table 400" in text and "zzxslp/RadBERT-RoBERTa-4m" in text
    (other / "vocab.json").write_text('{"<s>": 0}')
    assert "the tokenizer can't be loaded" in fault(source, tokenizer=str(other))
    sample.config_file(source, hidden_size=32)
    (source / "vocab.json").write_text(json.dumps(vocab))
    done = do(source, tmp_path / "out")
    assert done.tokenizer is False and any("is of another model" in note for note in done.notes)
    assert any("isn't used: the tokenizer has" in note for note in done.notes)
    assert not (tmp_path / "out" / "vocab.json").exists()


def test_keys_and_kinds_are_told(tmp_path: Path, source: Path) -> None:
    state, file = sample.state(), source / "RadBertClassifier.pth"
    twenty = {**state, "classifier.weight": torch.zeros(20, 64), "classifier.bias": torch.zeros(20)}
    torch.save(twenty, file)
    assert "'classifier.weight' is (20, 64) instead of (18, 64)" in fault(source)
    torch.save({k: v for k, v in state.items() if "pooler" not in k}, file)
    assert "2 keys are missing: 'model.pooler.dense.weight'" in fault(source)
    torch.save({"classifier.bias": state["classifier.bias"]}, file)
    assert "'model.embeddings.word_embeddings.weight'" in fault(source)
    torch.save({"roberta.embeddings.word_embeddings.weight": torch.zeros(2, 2)}, file)
    assert "a RoBERTa without its classifier" in fault(source)
    torch.save(state, file)
    assert "looks like RadBERT's classifier" in (text := fault(file, kind="radfm")) and "reg2rg convert radbert SOURCE" in text
    file.unlink()
    assert "none of RadBertClassifier.pth" in fault(source)


def test_heads_that_nobody_can_know(tmp_path: Path) -> None:
    source = sample.published(tmp_path / "source", sample.state(hidden=24))
    assert "isn't heads of 64" in fault(source)


class Malicious:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return Path.touch, (self.mark,)


def test_a_pickle_is_refused_without_running(tmp_path: Path, source: Path) -> None:
    mark = tmp_path / "pwned"
    torch.save({**sample.state(), "extra": Malicious(mark)}, source / "RadBertClassifier.pth")
    assert "could run code" in fault(source) and not mark.exists()
