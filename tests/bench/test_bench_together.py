"""A bench under a launcher: two real processes train every row together, and each writes its part of the reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training import together

from reg2rg.bench import together as processes
from reg2rg.errors import UserError


@pytest.mark.timeout(300)
def test_two_processes_train_each_row_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["bench", "--studies", "24", "--seeds", "1", "--max-steps", "2", "--ablate", "geometry", "--out", str(out)]
    done = together([*given, "--set", "generation.max_new_tokens=8"])
    assert done.returncode == 0, done.stderr[:6000]  # the launcher's own words come last
    document = json.loads((out / "bench.json").read_text())
    assert [row["name"] for row in document["rows"]] == ["with geometry", "without geometry"]
    assert document["failures"] == [] and len(document["comparisons"]) > 5
    for row in document["rows"]:
        [run] = (out / "runs").glob(f"{row['run']}-*")
        studies = [json.loads(line)["study"] for line in (run / "reports.jsonl").read_text().splitlines()]
        assert len(studies) == document["settings"]["test_studies"] and studies == sorted(studies)
        assert not list(run.glob("part-*"))
        logged = json.loads((run / "run" / "metrics.jsonl").read_text().splitlines()[-1])
        assert logged["step"] == 2


def test_alone_is_a_plain_call_in_one_process() -> None:
    done: list[int] = []
    processes.alone(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(UserError, match="no room"):
        processes.alone(lambda: (_ for _ in ()).throw(UserError("no room")))
