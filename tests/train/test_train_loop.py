"""Training through the program: what a run holds, going on after a kill, bit for bit, and what is refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import SMALL, Small, together

Run = Callable[..., subprocess.CompletedProcess[str]]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]


def test_a_run_holds_what_the_interface_says(small: Small) -> None:
    names = {p.name for p in small.run.iterdir()}
    assert {"recipe.yaml", "config.json", "model.safetensors", "metrics.jsonl", "README.md", "checkpoints"} <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert [step for step, _ in losses(small.run)] == list(range(1, 9))
    assert not [n for n in names if n.endswith(".tmp") or n.startswith(".")]
    card = (small.run / "README.md").read_text()
    assert "not for clinical use" in card and "conv3d" in card


def test_training_lowers_the_loss(small: Small) -> None:
    rows = losses(small.run)
    assert rows[-1][1] < rows[0][1] - 0.3


def test_a_killed_run_goes_on_bit_for_bit(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    """The process is killed in the middle; the resumed run's losses and weights equal the unbroken one's."""
    run = tmp_path / "run"
    arguments = [
        "train",
        "--data",
        small.store,
        "--out",
        run,
        "--recipe",
        "tiny",
        "--init",
        small.encoder,
        "--max-steps",
        8,
        *SMALL,
    ]
    slow = [sys.executable, "-m", "reg2rg", *map(str, arguments)]
    process = subprocess.Popen(slow, stderr=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "step-000004" / "state.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (run / "config.json").exists():
        pytest.skip("the run was over before it could be killed")
    assert (run / "checkpoints" / "step-000004").is_dir()
    done = reg2rg(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(small.run)
    ours, theirs = load_file(run / "model.safetensors"), load_file(small.run / "model.safetensors")
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_the_frozen_parts_stay_as_they_were(small: Small) -> None:
    trained = load_file(small.run / "model.safetensors")
    given = load_file(small.encoder / "encoder.safetensors")
    assert given
    for name, tensor in given.items():
        assert torch.equal(trained[f"visual.{name}"], tensor), name


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ([], 1, "holds a run already"),
        (["--decoder", "lama"], 1, "no decoder is called 'lama'"),
        (["--volume-encoder", "vit"], 1, "vit3d"),
        (["--set", "training.lrr=3"], 2, "unknown key 'training.lrr'"),
        (["--recipe", "tinny"], 1, "tiny"),
        (["--max-steps", "0"], 2, "max-steps"),
    ],
)
def test_faults_are_one_sentence(small: Small, reg2rg: Run, extra: list[str], code: int, said: str) -> None:
    recipe = [] if "--recipe" in extra else ["--recipe", "tiny"]
    done = reg2rg("train", "--data", small.store, "--out", small.run, *recipe, *extra)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


def limited(size: int) -> Callable[[], None]:
    """A disk that takes no file larger than `size` bytes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize(
    ("workers", "said"), [(0, "the checkpoint of step 8 can't be written"), (1, "a batch finds no room in shared memory")]
)
def test_a_full_disk_leaves_the_last_good_checkpoint(
    small: Small, tmp_path: Path, reg2rg: Run, workers: int, said: str
) -> None:
    """Nothing takes more: a sentence, the checkpoint before is as it was, and with room the run goes on from it."""
    run = tmp_path / "run"
    given = ["train", "--data", small.store, "--out", run, "--recipe", "tiny", "--init", small.encoder, *SMALL]
    given += ["--max-steps", 8, "--set", "training.keep=3", "--set", f"training.workers={workers}"]
    done = reg2rg(*given)
    assert done.returncode == 0, done.stderr
    good = run / "checkpoints" / "step-000004"
    shutil.rmtree(run / "checkpoints" / "step-000008")
    (run / "config.json").unlink()
    before = {p.name: p.read_bytes() for p in good.iterdir()}
    command = [sys.executable, "-m", "reg2rg", *map(str, given), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited(200_000), timeout=120)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("reg2rg:")]) == 1
    assert [p.name for p in (run / "checkpoints").iterdir()] == [good.name] and not (run / "config.json").exists()
    assert {p.name: p.read_bytes() for p in good.iterdir()} == before
    done = reg2rg(*given, "--resume")
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(small.run)


def test_a_run_goes_on_with_its_own_data_only_and_mends_its_log(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    shutil.copytree(small.run, run)
    (run / "config.json").unlink()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # killed while writing
    given = ["train", "--out", run, "--recipe", "tiny", "--init", small.encoder, "--max-steps", 8, *SMALL, "--resume"]
    shutil.copytree(small.store, store, ignore=shutil.ignore_patterns("cache"))
    next((store / "studies").glob("*.h5")).unlink()
    done = reg2rg(*given, "--data", store)
    assert done.returncode == 1 and "isn't what the checkpoint was made from" in done.stderr, done.stderr
    done = reg2rg(*given, "--data", small.store)
    assert done.returncode == 0 and losses(run) == losses(small.run), done.stderr
    assert "nan" not in done.stdout + done.stderr


@pytest.mark.parametrize("out", ["a_file/run", "/proc/reg2rg/run"])
def test_a_folder_that_cannot_be_made_is_told_before_any_work(small: Small, tmp_path: Path, reg2rg: Run, out: str) -> None:
    (tmp_path / "a_file").write_text("")
    done = reg2rg("train", "--data", small.store, "--out", tmp_path / out, "--recipe", "tiny", "--max-steps", 1)
    assert done.returncode == 1 and "the run's folder can't be written" in done.stderr and "Traceback" not in done.stderr


def test_a_dead_worker_is_one_sentence(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = ["train", "--data", small.store, "--out", run, "--recipe", "tiny", "--init", small.encoder, "--max-steps", 2000]
    given += ["--set", "training.workers=1", *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-m", "reg2rg", *map(str, given)], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system doesn't tell a process's children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "a process that prepares batches died" in err and "Traceback" not in err, err
    assert "--set training.workers=0" in err and not (run / "config.json").exists()


def test_a_store_without_labels_cannot_pretrain(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("volumes", "masks", "region_report.csv", "split.csv"):
        (data / name).symlink_to(small.data / name)
    done = reg2rg("preprocess", data, "--out", tmp_path / "store", "--segmenter", "precomputed", "--workers", 1)
    assert done.returncode == 0, done.stderr
    done = reg2rg("pretrain", "--data", tmp_path / "store", "--out", tmp_path / "encoder", "--max-steps", 1)
    assert done.returncode == 1 and "no study of the train split has finding labels" in done.stderr
    assert not (tmp_path / "encoder").exists()


def test_the_papers_decoder_says_what_is_missing(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    options = ["--set", "views.size=[32,32,16]", "--volume-encoder", "conv3d", "--geometry-encoder", "none"]
    done = reg2rg("train", "--data", small.store, "--out", tmp_path / "run", "--decoder", "llama2-7b", *options)
    assert done.returncode == 1
    assert "meta-llama/Llama-2-7b-chat-hf" in done.stderr and "--decoder FOLDER" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder of LLaMA architecture with a tokenizer, as a user would have one."""
    from reg2rg.plugins import resolve

    folder = tmp_path_factory.mktemp("llama")
    texts = ["The region 0 is lung: Both lungs are clear. The region 1 is heart: The heart is enlarged. 2 3 4 5 6 7 8 9"]
    model, tokenizer = resolve("decoder", "tiny", {"width": 32, "layers": 1, "heads": 2}).build(texts)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_default_recipe_trains_a_local_llama_folder(small: Small, tmp_path: Path, reg2rg: Run, llama: Path) -> None:
    """The paper's modules and LoRA at a small view, a decoder from a folder: adapters are saved, the base is named."""
    run = tmp_path / "run"
    options = ["--set", "views.size=[64,64,16]", "--set", "training.accumulation=2", "--set", "volume_encoder.options.depth=1"]
    done = reg2rg("train", "--data", small.store, "--out", run, "--decoder", llama, "--max-steps", 1, *options)
    assert done.returncode == 0, done.stderr
    names = set(load_file(run / "model.safetensors"))
    assert any("lora_A" in n and "q_proj" in n for n in names) and any("v_proj" in n for n in names)
    assert not any("mlp" in n for n in names if n.startswith("decoder."))
    assert json.loads((run / "config.json").read_text())["base"] == str(llama)
    done = reg2rg(
        "generate", run, "--data", small.store, "--out", tmp_path / "r.jsonl", "--max-new-tokens", 8, "--batch-size", 4
    )
    assert done.returncode == 0, done.stderr


def test_features_cache_wants_a_frozen_encoder(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    done = reg2rg(
        "train", "--data", small.store, "--out", tmp_path / "run", "--recipe", "tiny", "--set", "volume_encoder.freeze=false"
    )
    assert done.returncode == 1 and "only while the volume encoder is frozen" in done.stderr


def test_cached_features_give_the_same_losses(small: Small, tmp_path: Path, reg2rg: Run) -> None:
    run = tmp_path / "run"
    options = ["--init", small.encoder, "--max-steps", 3, "--set", "training.cache_features=false", *SMALL]
    done = reg2rg(
        "train", "--data", small.store, "--out", run, "--recipe", "tiny", *options, "--set", "training.schedule.name=constant"
    )
    assert done.returncode == 0, done.stderr
    # half-precision features: equal to their rounding
    first = losses(small.run)[0][1]
    assert losses(run)[0][1] == pytest.approx(first, abs=2e-3)


def test_two_processes_train_as_one(small: Small, tmp_path: Path) -> None:
    """Two real processes (gloo) share each step: the losses are the single process's, the last short step included."""
    run = tmp_path / "run"
    given = [
        "train",
        "--data",
        small.store,
        "--out",
        run,
        "--recipe",
        "tiny",
        "--init",
        small.encoder,
        "--max-steps",
        8,
        *SMALL,
    ]
    done = together([str(part) for part in given])
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = losses(run), losses(small.run)
    assert [s for s, _ in ours] == [s for s, _ in theirs]
    assert [v for _, v in ours] == pytest.approx([v for _, v in theirs], rel=2e-3)
    assert done.stderr.count("Next: reg2rg generate") == 1
