"""The evidence check: the right evidence tells a finding, the wrong doesn't, and the table says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reg2rg.anatomy import FINDINGS, REGIONS
from reg2rg.bench.evidence import HOMES, Evidence, answers, check, f1, from_file, from_store, leaks, stacked, verdict
from reg2rg.contracts import RegionMask, Study, Volume
from reg2rg.data.store import FORMAT, Store, write_info, write_study
from reg2rg.errors import UserError

BODY = (slice(4, 20), slice(4, 20), slice(2, 14))
HEART = (slice(6, 12), slice(6, 12), slice(4, 10))


def _study(i: int, rng: np.random.Generator) -> tuple[Volume, RegionMask, dict[str, int]]:
    """A block of body with a heart; dense spots in the heart are calcium, a heart that lies higher is a large one."""
    calcium, large = i % 2, i // 2 % 2
    hu = np.full((24, 24, 16), -1000, np.int16)
    hu[BODY] = 30 + rng.integers(-20, 20, hu[BODY].shape)
    heart = (*HEART[:2], slice(HEART[2].start + 4 * large, HEART[2].stop + 4 * large))
    spots = hu[heart]
    spots[::2, ::2, ::2] = 900 if calcium else 60
    inside = np.zeros(hu.shape, bool)
    inside[heart] = True
    labels = dict.fromkeys(FINDINGS, 0) | {"Coronary artery wall calcification": calcium, "Cardiomegaly": large}
    return Volume(hu, np.diag([4.5, 4.5, 8.0, 1.0]), str(i)), RegionMask.from_masks({"heart": inside}), labels


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root, rng = tmp_path_factory.mktemp("evidence") / "store", np.random.default_rng(0)
    (root / "studies").mkdir(parents=True)
    write_info(root, {"format": FORMAT})
    for i in range(44):
        volume, mask, labels = _study(i, rng)
        split = "valid" if i >= 40 else "test" if i % 5 == 4 else "train"
        write_study(root / "studies" / f"s{i:02}.h5", volume, mask, Study(f"s{i:02}", split, labels=labels))
    return Store(root)


def test_views_of_a_study(store: Store) -> None:
    """Regions that aren't there are air in their views and nothing in their masks."""
    seen = from_file(store.path("s02"))
    assert {kind: views.shape for kind, views in seen.items()} == {
        "whole": (1, 32, 32, 16),
        "crops": (len(HOMES), 32, 32, 16),
        "masked": (len(HOMES), 32, 32, 16),
        "geometry": (len(REGIONS), 16, 16, 8),
    }
    heart, lung = HOMES.index("heart"), HOMES.index("lung")
    assert (seen["crops"][heart] > -0.5).all() and 0 < (seen["masked"][heart] > -0.5).mean() < 0.1
    assert (seen["crops"][lung] == -1).all() and (seen["geometry"][REGIONS.index("lung")] == 0).all()


def test_the_right_evidence_tells_and_the_wrong_does_not(store: Store) -> None:
    """Spots are read from the crop and not from geometry, place from geometry and not from the crop."""
    classes = {"detail": ["Coronary artery wall calcification"], "geometry": ["Cardiomegaly"]}
    data = from_store(store)
    assert data.train == 32 and len(data.labels) == 40
    spots, place = check(data, classes, steps=6)
    assert spots["prevalence"] == place["prevalence"] == 0.5 and spots["always_yes"] == pytest.approx(2 / 3)
    assert spots["crops"] == 1 and spots["geometry"] < 0.8
    assert place["geometry"] == 1 and place["crops"] < 0.8
    assert place["holds"] == "yes" and place["leaks"] == []


def test_answers_depend_on_the_seed_alone(store: Store) -> None:
    data, threads = from_store(store), torch.get_num_threads()
    one, two = (answers(data, steps=2, seed=3, kinds=kinds)["geometry"] for kinds in (["geometry"], ["masked", "geometry"]))
    assert np.array_equal(one, two) and torch.get_num_threads() == threads


def test_a_store_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    write_info(tmp_path, {"format": FORMAT})
    volume, mask, labels = _study(0, np.random.default_rng(0))
    write_study(tmp_path / "studies" / "a.h5", volume, mask, Study("a", "train", labels=labels))
    with pytest.raises(UserError, match="'test' has labels"):
        check(Store(tmp_path), {})


def _row(name: str, **found: float) -> dict[str, Any]:
    return {"class": name, "always_yes": 0.3} | dict.fromkeys(("whole", "crops", "masked", "geometry", "all"), 0.2) | found


@pytest.mark.parametrize(
    ("row", "says", "wrong"),
    [
        (_row("detail", crops=0.8, all=0.8), "yes", []),
        (_row("detail", crops=0.8, whole=0.41), "no", ["whole"]),
        (_row("detail", crops=0.4), "not learned", []),
        (_row("detail", crops=0.45, whole=0.38), "no", []),
        (_row("bulk", whole=0.41, geometry=0.9), "yes", []),
        (_row("geometry", geometry=0.95, crops=0.55, whole=0.9), "no", ["crops"]),
        (_row("context", all=0.6, crops=0.4, whole=0.4), "yes", []),
        (_row("context", all=0.6, crops=0.5, whole=0.45), "no", ["whole", "crops"]),
    ],
    ids=lambda value: value["class"] if isinstance(value, dict) else None,
)
def test_verdicts(row: dict[str, Any], says: str, wrong: list[str]) -> None:
    assert verdict(row) == says and leaks(row) == wrong


def test_f1_by_finding() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0]], dtype=bool)
    assert f1(truth, np.array([[1, 0], [0, 0], [1, 0]], dtype=bool)).tolist() == [0.5, 0.0]


def test_studies_are_stacked_in_their_order() -> None:
    rows = [{"whole": np.full((1, 2, 2, 2), i, np.float16)} for i in range(3)]
    data: Evidence = stacked(rows, [dict.fromkeys(FINDINGS, i % 2) for i in range(3)], train=2)
    assert data.seen["whole"][:, 0, 0, 0, 0].tolist() == [0, 1, 2] and data.labels[:, 0].tolist() == [0, 1, 0]
