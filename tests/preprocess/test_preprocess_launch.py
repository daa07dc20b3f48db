"""The launch files of examples/launch/preprocess: the parts of a job array, and a dask cluster in one job, started for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import samples_segmenter
from samples_ct import hu_array, write_nifti

from reg2rg.cli.app import load_command
from reg2rg.data.store import Store

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "launch" / "preprocess"
BIN = Path(sys.executable).parent


def stub(folder: Path, name: str, body: str) -> Path:
    """A program on a PATH of its own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
    (folder / name).chmod(0o755)
    return folder


def launched(script: str, *arguments: object, path: list[Path], **env: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]), **env}
    return subprocess.run([FOLDER / script, *map(str, arguments)], capture_output=True, text=True, env=own, timeout=120)


@pytest.mark.parametrize("status, left", [(0, 0), (3, 0), (1, 1)])
def test_each_job_of_an_array_takes_its_part(tmp_path: Path, status: int, left: int) -> None:
    say = f'printf "%s\\n" "$@"\nexit {status}'
    env = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_CPUS_PER_TASK": "4"}
    done = launched("array.sh", "scans", "--out", "a store", path=[stub(tmp_path / "bin", "reg2rg", say)], **env)
    assert done.returncode == left, done.stderr
    name, *words = done.stdout.splitlines()
    given = load_command(name).make_context(name, words).params
    assert (given["shard"], given["workers"], str(given["out"])) == ("3/16", 4, "a store")
    again = launched(
        "array.sh", "x", "--out", "y", path=[tmp_path / "bin"], **{**env, "SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "16"}
    )
    assert "3/16" in again.stdout.splitlines()


def test_a_job_with_a_dask_cluster_fills_the_store_and_ends_it(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra cluster isn't installed")
    package = samples_segmenter.install(tmp_path / "package")
    for name in ("a", "b"):
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", hu_array())
    (tmp_path / "in" / "c.nii.gz").write_text("words")
    file = tmp_path / "scheduler.json"
    done = launched(
        "dask.sh", tmp_path / "in", "--out", tmp_path / "out", "--segmenter", "dense", "--json",
        path=[stub(tmp_path / "bin", "srun", 'exec "$@"'), BIN], SCHEDULER_FILE=str(file), TMPDIR=str(tmp_path),
        PYTHONPATH=os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]), SLURM_JOB_ID="7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["studies"], summary["done"], summary["refused"]) == (3, 2, 1)
    assert Store(tmp_path / "out").ids() == ["a", "b"] and not file.exists()
