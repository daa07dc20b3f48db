"""`reg2rg convert` as a user runs it: a converted run writes reports, an encoder goes into training, and back again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from official_files import Pieces, Sizes, llama_folder, pieces, radfm_files
from official_files import reg2rg as official
from safetensors.torch import load_file
from training import Small

from reg2rg.anatomy import REGIONS

Run = Callable[..., subprocess.CompletedProcess[str]]
S = Sizes()


@pytest.fixture(scope="module")
def parts() -> Pieces:
    return pieces(S, seed=5, words=torch.float16)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, parts: Pieces) -> Path:
    """The published files of a small model, and its language model's folder."""
    root = tmp_path_factory.mktemp("published")
    torch.save(official(parts), root / "pytorch_model.bin")
    for name, data in radfm_files(parts).items():
        torch.save(data, root / name)
    llama_folder(root / "llama", S, parts.llama)
    return root


@pytest.fixture(scope="module")
def run(root: Path, reg2rg: Run) -> Path:
    done = reg2rg("convert", "reg2rg", root, "--out", root / "run", "--decoder", root / "llama", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["base_left_out"] and facts["keys"] == len(official(pieces(S))) - 1 - S.blocks
    assert "views.size is [64, 64, 16]" in done.stderr and "Next: reg2rg report SCAN" in done.stderr
    return root / "run"


def test_a_converted_run_generates(small: Small, run: Path, tmp_path: Path, reg2rg: Run) -> None:
    out = tmp_path / "reports.jsonl"
    done = reg2rg("generate", run, "--data", small.store, "--out", out, "--max-new-tokens", 12, "--split", "valid")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows and all(r["named"] in (*REGIONS, "") for row in rows for r in row["regions"])


def test_a_converted_run_reports_on_one_scan(small: Small, root: Path, tmp_path: Path, reg2rg: Run) -> None:
    """The form that holds its whole decoder, its tokenizer from where the user says."""
    torch.save(official(pieces(S, seed=5)), tmp_path / "pytorch_model.bin")
    done = reg2rg("convert", "reg2rg", tmp_path / "pytorch_model.bin", "--out", tmp_path / "run")
    assert done.returncode == 0 and "--decoder FOLDER" in done.stderr, done.stderr
    scan = sorted(small.data.glob("volumes/**/*.nii.gz"))[0]
    masks = small.data / "masks" / f"seg_{scan.name}"
    out = tmp_path / "out"
    report = ["report", scan, "--run", tmp_path / "run", "--masks", masks, "--out", out, "--decoder", root / "llama"]
    done = reg2rg(*report, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert len(data["regions"]) >= 9 and (out / "page.html").is_file()
    assert any("not a medical device" in w for w in data["settings"]["warnings"])


def test_an_encoder_goes_into_training(small: Small, root: Path, tmp_path: Path, reg2rg: Run, parts: Pieces) -> None:
    done = reg2rg("convert", "radfm", root, "--out", tmp_path / "encoder")
    assert done.returncode == 0, done.stderr
    assert "Next: reg2rg train" in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "--set" in line]
    sets = [word for word in line.rstrip(".").split() if "=" in word]
    options = [x for text in (*sets, "views.size=[64,64,16]", "training.accumulation=2") for x in ("--set", text)]
    made = tmp_path / "run"
    train = ["train", "--data", small.store, "--out", made, "--decoder", root / "llama", "--max-steps", 1]
    done = reg2rg(*train, "--init", tmp_path / "encoder", *options)
    assert done.returncode == 0, done.stderr
    held = load_file(made / "model.safetensors")
    assert all(torch.equal(held[f"visual.volume_encoder.{k}"], v) for k, v in parts.vision.items())


def test_a_converted_run_starts_another_one(small: Small, run: Path, root: Path, tmp_path: Path, reg2rg: Run) -> None:
    """Fine-tuning from the published weights: the visual side of the run, under its own recipe."""
    train = ["train", "--data", small.store, "--out", tmp_path / "run", "--recipe", run, "--init", run, "--max-steps", 1]
    done = reg2rg(*train, "--set", "training.accumulation=2", "--set", "decoder.dtype=float32")
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run", run))
    assert set(ours) == set(theirs)


def test_back_again(run: Path, root: Path, tmp_path: Path, reg2rg: Run) -> None:
    out = tmp_path / "pytorch_model.bin"
    done = reg2rg("convert", "reg2rg", run, "--back", "--out", out)
    assert done.returncode == 0, done.stderr
    ours, theirs = (torch.load(p, weights_only=True) for p in (out, root / "pytorch_model.bin"))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in theirs)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["reg2gr", "SOURCE"], 2, "Did you mean 'reg2rg'"),
        (["reg2rg", "SOURCE/RadFM_vit3d.pth"], 1, "Use: reg2rg convert radfm"),
        (["reg2rg", "SOURCE", "--set", "volum=5"], 2, "unknown key 'volum'"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence(root: Path, tmp_path: Path, reg2rg: Run, arguments: list[str], code: int, said: str) -> None:
    done = reg2rg("convert", *(a.replace("SOURCE", str(root)) for a in arguments), "--out", tmp_path / "out")
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr and not list(tmp_path.iterdir())
