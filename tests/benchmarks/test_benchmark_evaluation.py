"""The growth of `evaluate` is measured on the real command, and its documents are kept where asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_size_is_a_row_and_its_evaluation_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "evaluation.py", "20", "40", "--metrics", "length", "--keep", tmp_path]
    done = subprocess.run([*command, "--extra", "--ci", "10"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert rows == ["20", "40"]
    found = json.loads((tmp_path / "40.json").read_text())
    assert found["n"] == 40 and found["length"]["density"]["words"] and found["settings"]["ci"] == 10
