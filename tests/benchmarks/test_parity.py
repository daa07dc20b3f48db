"""The parity harness: the shared fixtures pass, what differs or can't be run fails, and nothing but case.json is relied on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_data
import numpy as np
import parity
import pytest
from safetensors.numpy import load_file, save_file
from samples_golden import second_set, write

KEYS = {"family", "case", "max_abs", "max_rel", "passed"}
SCRIPT = Path(parity.__file__)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second set of fixtures."""
    return second_set(tmp_path_factory.mktemp("golden"))


def run_script(*arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, rows and stderr of `parity.py ARGUMENTS --json`."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return done.returncode, json.loads(done.stdout)["cases"] if done.stdout else [], done.stderr


def test_every_shared_case_passes(shared: Path) -> None:
    code, rows, errors = run_script(shared / "golden")
    assert not [row for row in rows if not row["passed"]], errors
    assert code == 0 and all(set(row) == KEYS for row in rows)
    folders = {(p.parent.parent.name, p.parent.name) for p in (shared / "golden").rglob("case.json")}
    assert {(row["family"], row["case"]) for row in rows} == folders and len(rows) == len(folders)
    assert {row["family"] for row in rows} == set(parity.FAMILIES)
    assert max(row["max_rel"] for row in rows) < 2e-6


def test_a_second_set_with_other_shapes_passes(second: Path) -> None:
    rows = list(parity.rows(second, parity.Material()))
    assert not [row for row in rows if not row["passed"]]
    assert {row["family"] for row in rows} == set(parity.FAMILIES) - {"prompt"}
    assert all(row["max_rel"] < 2e-6 for row in rows)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / "case.json").read_text())
    change(data)
    (folder / "case.json").write_text(json.dumps(data))


def shift(folder: Path, name: str, by: float) -> None:
    stored = load_file(folder / "expected.safetensors")
    stored[name] = stored[name].copy()
    stored[name].flat[-1] += by
    save_file(stored, folder / "expected.safetensors")


def put(data: dict[str, Any], value: Any, *path: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


CHANGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an element": ("vit3d/odd", lambda f: shift(f, "out", 1e-3), "out differs by"),
    "an element of nll": ("loss/three", lambda f: shift(f, "nll", 1e-3), "nll differs"),
    "a mean": ("mask_vit/odd", lambda f: edit(f, lambda d: put(d, 9.0, "outputs", "pooled", "mean")), "the mean of pooled"),
    "a dot": ("perceiver/odd", lambda f: edit(f, lambda d: put(d, 99.0, "outputs", "fc_out", "dot")), "the dot of fc_out"),
    "an unknown output": ("vit3d/odd", lambda f: edit(f, lambda d: put(d, d["outputs"]["out"], "outputs", "cls")), "'cls'"),
    "an array without output": ("vit3d/odd", lambda f: edit(f, lambda d: d["outputs"].pop("pos")), "'pos' was not compared"),
    "a parameter": ("lora/rank_3", lambda f: edit(f, lambda d: put(d, [9, 9], "params", "extra.weight")), "one side only"),
    "a factor": ("lora/rank_3", lambda f: edit(f, lambda d: put(d, 4.0, "lora", "scaling")), "factors of the adapters"),
    "a layout": ("embeddings/three", lambda f: edit(f, lambda d: put(d, 58, "token_id_layout", "<region0>")), "layout of ids"),
    "a gradient": (
        "loss/three",
        lambda f: edit(f, lambda d: put(d, 7.0, "expected", "grad_norms_l2", "lm_head.weight")),
        "gradient of lm_head",
    ),
    "a box": (
        "preprocess/small",
        lambda f: edit(f, lambda d: put(d, [[0, 0, 0], [1, 1, 1]], "crop_boxes", "boxes", "lung")),
        "the box of lung",
    ),
    "a text": ("metrics/texts", lambda f: edit(f, lambda d: put(d, "No.", "cases", 0, "rm_region_text")), "rm_region_text"),
    "a definition": ("metrics/texts", lambda f: edit(f, lambda d: put(d, {"f1": 1}, "cases", 1, "corrected")), "was refused"),
    "a seed": ("vit3d/odd", lambda f: edit(f, lambda d: put(d, 70, "seed")), "out differs by"),
    "no tolerance": ("vit3d/odd", lambda f: edit(f, lambda d: d.pop("tolerance_rel_absmax")), "KeyError"),
    "no stored file": ("vit3d/odd", lambda f: (f / "expected.safetensors").unlink(), "KeyError"),
    "broken json": ("vit3d/odd", lambda f: (f / "case.json").write_text("{"), "JSONDecodeError"),
    "another family": ("vit3d/odd", lambda f: edit(f, lambda d: put(d, "mask_vit", "family")), "case.json says 'mask_vit'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_fails_and_is_named(second: Path, tmp_path: Path, name: str) -> None:
    case, change, reason = CHANGES[name]
    shutil.copytree(second / case, tmp_path / case)
    change(tmp_path / case)
    (row,) = parity.rows(tmp_path, parity.Material())
    assert not row["passed"] and reason in row["reason"]
    json.dumps(row, allow_nan=False)


def test_failures_and_strangers_make_it_exit_1(second: Path, tmp_path: Path) -> None:
    for name in ("vit3d/odd", "metrics/texts"):
        shutil.copytree(second / name, tmp_path / name)
    assert run_script(tmp_path)[0] == 0
    edit(tmp_path / "metrics" / "texts", lambda data: put(data, "No.", "cases", 0, "rm_region_text"))
    for name in ("text_decoder/first", "vit3d/half", "volumes"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "text_decoder" / "first" / "case.json").write_text('{"family": "text_decoder"}')
    shutil.copy(second / "vit3d" / "odd" / "expected.safetensors", tmp_path / "vit3d" / "half")
    (tmp_path / "volumes" / "a.npy").write_bytes(b"")
    (tmp_path / "README.md").write_text("Ignored.")
    code, rows, _ = run_script(tmp_path)
    assert code == 1
    failed = {(row["family"], row["case"]): row["reason"] for row in rows if not row["passed"]}
    assert set(failed) == {("metrics", "texts"), ("text_decoder", "first"), ("vit3d", "half"), ("volumes", "?")}
    assert "unknown" in failed["text_decoder", "first"] and "no case.json" in failed["vit3d", "half"]
    assert [row["case"] for row in rows if row["passed"]] == ["odd"]


def test_a_family_alone_and_an_empty_folder(second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["family"] for row in parity.rows(second / "metrics", parity.Material())] == ["metrics"]
    assert run_script(tmp_path)[:2] == (1, [])
    assert run_script(tmp_path / "missing")[0] == 2


def test_what_is_not_at_hand_fails(shared: Path) -> None:
    folders = [shared / "golden" / name for name in ("prompt/test_one_region", "metrics/released_region_means")]
    rows = [parity.run(folder, parity.Material()) for folder in folders]
    assert ["--tokenizer" in rows[0]["reason"], "--data" in rows[1]["reason"]] == [True, True]


TEMPLATE = {
    "lead_in": "See: ", "image_block": "<image>{<image0>..<image1>}</image>; ", "instruction": "Write.",
    "region_block": "Slot {i} <region>{<region3i>..<region3i+2>}</region>, ",
    "target_block": "Slot {i} = {area}: {region report} ", "joiner": " ",
}  # fmt: skip


def test_another_wording_and_other_token_counts(shared: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(shared / "data" / "llama-tokenizer" / "tokenizer.model"))
    inputs = {
        "mask_files_present": ["heart", "bone"], "empty_masks": [], "train_shuffled_order": ["heart", "bone"],
        "csv_rows": [["a.nii.gz", "bone", "Fine  ."], ["a.nii.gz", "heart", "Large."]],
        "csv_columns": ["Volumename", "Anatomy", "Sentence"],
    }  # fmt: skip
    target = "Slot 0 = heart: Large. Slot 1 = bone: Fine  . "
    runs = [[32000, 32004, 32005, 32001], [32002, 32006, 32007, 32008, 32003], [32002, 32009, 32010, 32011, 32003]]
    texts = ["See: ", "; Slot 0 ", ", Slot 1 ", ", Write."]

    def ids(last: str) -> list[int]:
        parts = [pieces.encode(text) for text in (*texts[:3], last)]
        return [1, *(i for part, run in zip(parts, [*runs, []], strict=True) for i in (*part, *run))]

    asked, whole = ids(texts[3]), ids(f"{texts[3]} {target}")
    expected = {"region_order": ["heart", "bone"], "target": target, "prompt_length": len(asked), "n_attended": len(whole)}
    row = [*whole, 2] + [0] * (95 - len(whole))
    labels = [-100] * len(asked) + row[len(asked) : len(whole) + 1] + [-100] * (95 - len(whole))
    attended = [int(i < len(whole)) for i in range(96)]
    stored = {"input_ids": row, "label": labels, "attention_mask": attended}
    data = {"family": "prompt", "case": "worded", "mode": "train", "max_seq": 96, "inputs": inputs, "template": TEMPLATE}
    arrays = {k: np.array(v, np.int32) for k, v in stored.items()}
    folder = write(tmp_path, {**data, "expected": expected, "tolerance": "exact"}, {}, arrays)
    assert golden_data.token_counts(parity.Case(folder)) == (2, 3)
    result = parity.run(folder, parity.default_material())
    assert result["passed"], result
    shift(folder, "label", 1)
    assert not parity.run(folder, parity.default_material())["passed"]
