"""The phantom on disk: layout, determinism, resuming."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from reg2rg.anatomy import FINDINGS, REGIONS
from reg2rg.errors import UserError
from reg2rg.phantom import plan_study, render, sentences, write_phantom


def _digests(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(out, studies=12, seed=5, workers=1)
    return out


def test_same_bytes_on_any_number_of_workers(phantom: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "two", studies=12, seed=5, workers=2)
    assert _digests(tmp_path / "two") == _digests(phantom)


def test_a_study_does_not_depend_on_how_many_there_are(phantom: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "three", studies=3, seed=5, workers=1)
    large, small = _digests(phantom), _digests(tmp_path / "three")
    assert {k: v for k, v in small.items() if "/" in k}.items() <= large.items()


def test_layout_is_radgenome(phantom: Path) -> None:
    splits = _rows(phantom / "split.csv")
    assert list(splits[0]) == ["Volumename", "Split"]
    assert [r["Split"] for r in splits[:4]] == ["train", "valid", "test", "train"]
    for row in splits:
        volume = row["Volumename"].removesuffix(".nii.gz")
        patient = volume.rsplit("_", 2)[0]
        assert (phantom / "volumes" / patient / f"{patient}a" / f"{volume}.nii.gz").is_file()
        assert (phantom / "masks" / f"seg_{volume}.nii.gz").is_file()
        assert json.loads((phantom / "plans" / f"{volume}.json").read_text())["about"] == "procedural phantom, not a patient"


def test_report_rows_follow_the_plan(phantom: Path) -> None:
    rows = _rows(phantom / "region_report.csv")
    assert list(rows[0]) == ["Volumename", "Anatomy", "Sentence"]
    names = [r["Volumename"] for r in _rows(phantom / "split.csv")]
    for i, name in enumerate(names):
        mine = {r["Anatomy"]: r["Sentence"] for r in rows if r["Volumename"] == name}
        whole = mine.pop("")
        assert mine == sentences(plan_study(5, i))
        assert whole == " ".join(mine[r] for r in REGIONS if r in mine)


def test_labels_follow_the_plan(phantom: Path) -> None:
    rows = _rows(phantom / "labels.csv")
    assert list(rows[0]) == ["VolumeName", *FINDINGS]
    for i, row in enumerate(rows):
        assert {f: int(row[f]) for f in FINDINGS} == plan_study(5, i).labels


def test_some_studies_are_stored_in_another_orientation(phantom: Path) -> None:
    codes = set()
    for path in sorted((phantom / "volumes").rglob("*.nii.gz")):
        image = nibabel.load(path)
        mask = nibabel.load(phantom / "masks" / f"seg_{path.name}")
        assert image.get_data_dtype() == np.int16 and mask.get_data_dtype() == np.uint16
        assert np.array_equal(image.affine, mask.affine) and image.shape == mask.shape == (96, 96, 48)
        codes.add(nibabel.aff2axcodes(image.affine))
    assert codes == {("R", "A", "S"), ("L", "P", "S")}


def test_turned_studies_show_the_same_anatomy(phantom: Path) -> None:
    """The liver lies on the patient's right, the spine behind, in world coordinates, however the file is stored."""
    for path in sorted((phantom / "volumes").rglob("*.nii.gz")):
        image = nibabel.as_closest_canonical(nibabel.load(path))
        bits = np.asarray(nibabel.as_closest_canonical(nibabel.load(phantom / "masks" / f"seg_{path.name}")).dataobj)
        heart = np.argwhere(bits >> REGIONS.index("heart") & 1).mean(axis=0)
        breast = np.argwhere(bits >> REGIONS.index("breast") & 1).mean(axis=0)
        trachea = np.argwhere(bits >> REGIONS.index("trachea and bronchie") & 1).mean(axis=0)
        spine = np.argwhere(bits >> REGIONS.index("bone") & 1).mean(axis=0)
        assert heart[0] < spine[0] - 1 and breast[1] > heart[1] > trachea[1] and heart[2] < trachea[2]
        assert np.asarray(image.dataobj).min() >= -1024


def test_strict_studies_are_stored_in_many_ways(tmp_path: Path) -> None:
    """Orientations and spacings differ; turned to RAS every one shows what its plan draws."""
    write_phantom(tmp_path / "data", studies=11, seed=5, profile="strict", workers=2)
    codes, shapes = set(), set()
    for path in (tmp_path / "data" / "volumes").rglob("*.nii.gz"):
        image = nibabel.load(path)
        codes.add("".join(nibabel.aff2axcodes(image.affine)))
        drawn = render(plan_study(5, int(path.name.split("_")[1]) - 1, "strict"))
        turned = nibabel.as_closest_canonical(image)
        shapes.add(turned.shape)
        assert np.array_equal(np.asarray(turned.dataobj), drawn.hu) and np.allclose(turned.affine, drawn.affine)
    assert {"RAS", "LPS", "LAS", "PSR", "SAL"} <= codes and len(shapes) >= 3


def test_one_file_a_region(tmp_path: Path) -> None:
    write_phantom(tmp_path / "files", studies=2, seed=5, masks="files", workers=1)
    write_phantom(tmp_path / "bits", studies=2, seed=5, masks="bits", workers=1)
    name = "train_1_a_1"
    bits = np.asarray(nibabel.load(tmp_path / "bits" / "masks" / f"seg_{name}.nii.gz").dataobj)
    for path in (tmp_path / "files" / "masks" / f"seg_{name}").iterdir():
        mask = np.asarray(nibabel.load(path).dataobj)
        assert np.array_equal(mask, bits >> REGIONS.index(path.name.removesuffix(".nii.gz")) & 1)


def test_an_interrupted_run_goes_on(phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    write_phantom(out, studies=12, seed=5, workers=1)
    for path in (out / "plans" / "train_1_a_1.json", out / "masks" / "seg_train_1_a_1.nii.gz", out / "labels.csv"):
        path.unlink()
    (out / "volumes" / ".train_9.part").write_bytes(b"half")
    write_phantom(out, studies=12, seed=5, workers=1)
    assert _digests(out) == _digests(phantom)


def test_counts_make_the_split(tmp_path: Path) -> None:
    write_phantom(tmp_path / "data", studies=4, seed=1, split=(2, 1, 1), workers=1)
    assert [r["Split"] for r in _rows(tmp_path / "data" / "split.csv")] == ["train", "train", "valid", "test"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": "smal"}, "Did you mean 'small'"),
        ({"profile": "easy"}, "demo, strict"),
        ({"masks": "bit"}, "Did you mean 'bits'"),
        ({"studies": 0}, "One" ),
        ({"seed": -1}, "negative"),
        ({"split": (1, 1, 1)}, "add up"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(tmp_path: Path, change: dict[str, object], says: str) -> None:
    settings: dict[str, object] = {"studies": 2, "seed": 0, "workers": 1, **change}
    with pytest.raises(UserError) as fault:
        write_phantom(tmp_path / "data", **settings)  # type: ignore[arg-type]
    assert says.lower() in str(fault.value).lower()
    assert not (tmp_path / "data").exists()


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="isn't empty"):
        write_phantom(tmp_path, studies=1, workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_another_phantom_is_refused(tmp_path: Path) -> None:
    write_phantom(tmp_path / "data", studies=1, seed=1, workers=1)
    with pytest.raises(UserError, match="different: seed"):
        write_phantom(tmp_path / "data", studies=1, seed=2, workers=1)
