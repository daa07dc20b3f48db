"""`reg2rg preprocess` and `reg2rg inspect` as a user runs them: exit codes, JSON, killed and resumed runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples_segmenter
from samples_ct import hu_array, write_dicom, write_nifti

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = samples_segmenter.install(tmp_path_factory.mktemp("package"))
    return {"PYTHONPATH": str(folder), "REG2RG_SALT": "a salt for tests", "SLOW": "0.3"}


def scans(folder: Path, count: int) -> Path:
    for i in range(count):
        write_nifti(folder / f"s{i:02d}.nii.gz", hu_array(seed=i))
    return folder


def test_exit_codes_and_json(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 2)
    command = ("preprocess", source, "--out", tmp_path / "out", "--segmenter", "dense", "--workers", "1", "--json")
    done = reg2rg(*command, env=env)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["studies"], summary["done"], summary["skipped"], summary["refused"]) == (2, 2, 0, 0)
    assert summary["store"] == str(tmp_path / "out") and set(summary) >= {"seconds"}
    (source / "s02.nii.gz").write_text("words")
    some = reg2rg(*command, env=env)
    assert some.returncode == 3 and json.loads(some.stdout)["skipped"] == 2
    assert "refused s02 (read): it isn't an image: it is a text file" in some.stderr and "Traceback" not in some.stderr
    for path in (source / "s00.nii.gz", source / "s01.nii.gz"):
        path.unlink()
    none = reg2rg("preprocess", source, "--out", tmp_path / "none", "--segmenter", "dense", "--workers", "1", env=env)
    assert none.returncode == 1 and none.stdout == ""
    usage = reg2rg("preprocess", source, "--out", tmp_path / "x", "--shard", "9/3", env=env)
    assert usage.returncode == 2 and usage.stderr.count("\n") == 1


def test_bad_requests_are_one_sentence(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    cases: list[tuple[list[Any], str]] = [
        ([tmp_path / "nothing"], "no such file or folder"),
        ([tmp_path / "empty"], "holds no scan"),
        ([source, "--segmenter", "thresold"], "Did you mean 'threshold'"),
        ([source, "--segmenter", "dense", "--reports", tmp_path / "bad.csv"], "no column"),
        ([source, "--segmenter", "dense", "--set", "limit=many"], "'limit' is 'many'"),
    ]
    for arguments, word in cases:
        done = reg2rg("preprocess", *arguments, "--out", tmp_path / "out", env=env)
        assert done.returncode == 1 and word in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("reg2rg: ") and done.stdout == ""
        assert not (tmp_path / "out").exists()


def test_options_reach_the_segmenter(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    done = reg2rg(
        "preprocess", scans(tmp_path / "in", 1), "--out", tmp_path / "out", "--segmenter", "dense", "--set", "limit=-100",
        "--workers", "1", env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/store.json").read_text())["segmenter"]["options"] == {"limit": -100}


def start(source: Path, out: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reg2rg", "preprocess", source, "--out", out, "--segmenter", "slow", "--workers", "2"]
    return subprocess.Popen(
        list(map(str, command)), env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    """Processes whose parent is `pid`."""
    out = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            out.add(int(stat.parent.name))
    return out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see the workers")
def test_a_killed_run_goes_on_and_leaves_the_same_store(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 12)
    process = start(source, tmp_path / "out", env)
    studies = tmp_path / "out/studies"
    wait_for(lambda: studies.is_dir() and len(list(studies.glob("*.h5"))) >= 3)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and pid in _running(pid) for pid in workers), 20)
    finished = len([p for p in studies.glob("*.h5") if p.name[0] != "."])
    assert 3 <= finished < 12
    (studies / ".s11.h5.elsewhere.1.tmp").write_bytes(b"half")
    again = ["--segmenter", "slow", "--workers", "2", "--json"]
    done = reg2rg("preprocess", source, "--out", tmp_path / "out", *again, env={**env, "SLOW": "0"})
    summary = json.loads(done.stdout)
    assert done.returncode == 0 and summary["skipped"] == finished and summary["done"] == 12 - finished
    calm = reg2rg("preprocess", source, "--out", tmp_path / "calm", *again, env={**env, "SLOW": "0"})
    assert calm.returncode == 0
    names = sorted(p.name for p in studies.iterdir())
    assert names == sorted(p.name for p in (tmp_path / "calm/studies").iterdir()) and len(names) == 12
    for name in names:
        assert (studies / name).read_bytes() == (tmp_path / "calm/studies" / name).read_bytes()


def _running(pid: int) -> set[int]:
    """`pid` unless it is a zombie that only waits to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return set()
    return set() if state == "Z" else {pid}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see the workers")
def test_a_killed_worker_costs_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 8)
    process = start(source, tmp_path / "out", env)
    studies = tmp_path / "out/studies"
    wait_for(lambda: studies.is_dir() and len(list(studies.glob("s*.h5"))) >= 2)
    workers = [pid for pid in children(process.pid) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert sorted(p.name for p in studies.iterdir()) == [f"s{i:02d}.h5" for i in range(8)]


def test_ctrl_c_stops_cleanly(tmp_path: Path, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 12)
    process = start(source, tmp_path / "out", env)
    studies = tmp_path / "out/studies"
    wait_for(lambda: studies.is_dir() and len(list(studies.glob("s*.h5"))) >= 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert all(p.suffix == ".h5" and p.name[0] != "." for p in studies.iterdir())
    assert (tmp_path / "out/failures.csv").is_file()


# --- inspect ---------------------------------------------------------------------------------------------------------


def described(reg2rg: Program, path: Path, **options: Any) -> dict[str, Any]:
    done = reg2rg("inspect", path, "--json", **options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_inspect_a_volume_a_mask_and_a_series(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    volume = described(reg2rg, write_nifti(tmp_path / "a.nii.gz", hu_array()))
    assert volume["kind"] == "volume" and volume["shape"] == [20, 24, 12] and volume["spacing_mm"] == [3.0, 2.5, 4.0]
    assert volume["stored"]["orientation"] == "RAS" and volume["hu"]["min"] == int(hu_array().min())
    mask = (hu_array() > -400).astype("uint8") * 3
    labels = described(reg2rg, write_nifti(tmp_path / "m.nii.gz", mask))
    assert labels["kind"] == "label map" and labels["labels"]["3"]["voxels"] == int((mask > 0).sum())
    write_dicom(tmp_path / "d", hu_array())
    series = described(reg2rg, tmp_path / "d", env=env)
    assert series["format"] == "DICOM" and series["stored"]["orientation"] == "LPS"
    many = described(reg2rg, tmp_path, env=env)
    assert many["kind"] == "folder of scans" and len(many["scans"]) == 3
    bad = reg2rg("inspect", write_nifti(tmp_path / "b.nii.gz", hu_array()[:, :, 0]))
    assert bad.returncode == 1 and "single slice" in bad.stderr and "Traceback" not in bad.stderr


def test_inspect_a_store_and_its_study(tmp_path: Path, reg2rg: Program, env: dict[str, str]) -> None:
    source = scans(tmp_path / "in", 2)
    (source / "bad.nii.gz").write_text("words")
    (tmp_path / "r.csv").write_text("Volumename,Anatomy,Sentence\ns00.nii.gz,lung,Clear lungs.\n")
    reg2rg("preprocess", source, "--out", tmp_path / "out", "--segmenter", "dense", "--reports", tmp_path / "r.csv", env=env)
    store = described(reg2rg, tmp_path / "out")
    assert (store["kind"], store["studies"], store["refused"], store["with_report"]) == ("store", 2, 1, 1)
    study = described(reg2rg, tmp_path / "out/studies/s00.h5")
    assert study["region_reports"] == {"lung": "Clear lungs."} and set(study["regions_ml"]) == {"heart", "lung"}
    assert study["regions_missing"]["thyroid"] == "this segmenter can't give it"
    text = reg2rg("inspect", tmp_path / "out")
    assert text.returncode == 0 and "segmenter" in text.stdout and text.stderr == ""


def test_inspect_tables_recipes_and_nonsense(tmp_path: Path, reg2rg: Program) -> None:
    (tmp_path / "t.csv").write_text("Volumename,Split\na,train\n")
    table = described(reg2rg, tmp_path / "t.csv")
    assert table["kind"] == "table" and table["columns"] == ["Volumename", "Split"]
    (tmp_path / "r.yaml").write_text("extends: reg2rg\nsummary: mine\n")
    assert described(reg2rg, tmp_path / "r.yaml")["kind"] == "recipe"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("extends: reg2rg\n")
    (tmp_path / "run/metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    run = described(reg2rg, tmp_path / "run")
    assert run["kind"] == "run" and run["last_step"] == {"step": 2} and run["decoder"] == "llama2-7b"
    line = {"study": "a", "report": "One two.", "reference": "", "regions": [{"region": "lung", "report": "One two."}]}
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    reports = described(reg2rg, tmp_path / "r.jsonl")
    assert reports["kind"] == "reports" and reports["sections"] == {"lung": 1} and reports["mean_words"] == 2.0
    (tmp_path / "empty").mkdir()
    for path, word in ((tmp_path / "empty", "nothing that reg2rg knows"), (tmp_path / "x", "no such file")):
        done = reg2rg("inspect", path)
        assert done.returncode == 1 and word in done.stderr and done.stderr.count("\n") == 1


def test_help_shows_an_example_and_imports_nothing_heavy(reg2rg: Program) -> None:
    for command in ("preprocess", "inspect"):
        done = reg2rg(command, "--help")
        assert done.returncode == 0 and f"Example: reg2rg {command}" in done.stdout
    code = (
        "import sys, reg2rg.cli.preprocess, reg2rg.cli.inspect\n"
        "print([m for m in ('numpy', 'torch', 'h5py', 'nibabel', 'pydicom', 'SimpleITK') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
