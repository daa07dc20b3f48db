"""`reg2rg report`: one scan to text, JSON and page; real CTs where they are at hand; faults in one sentence."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from training import Small

import reg2rg as package
from reg2rg.anatomy import REGIONS

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def scan(small: Small) -> Path:
    return sorted(small.data.glob("volumes/**/*.nii.gz"))[0]


def test_a_scan_becomes_text_json_and_page(small: Small, scan: Path, tmp_path: Path, reg2rg: Run) -> None:
    done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.txt", "report.json", "page.html"}
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["study"] == scan.name.removesuffix(".nii.gz")
    shown = {r["region"] for r in data["regions"]}
    assert "lung" in shown and shown | set(data["missing_regions"]) == set(REGIONS)
    assert any("trained on procedural phantoms" in w and "Not for clinical use" in w for w in data["settings"]["warnings"])
    page = (tmp_path / "out" / "page.html").read_text()
    assert "Not for clinical use" in page and "this segmenter can&#39;t give it" in page.replace("&#x27;", "&#39;").replace(
        "'t", "&#39;t"
    )
    assert "No mask: " in done.stderr


def test_masks_of_ones_own(small: Small, scan: Path, tmp_path: Path, reg2rg: Run) -> None:
    name = scan.name.removesuffix(".nii.gz")
    masks = small.data / "masks" / f"seg_{name}.nii.gz"
    done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path, "--masks", masks, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert len(data["regions"]) >= 9 and data["settings"]["segmenter"] == "precomputed"


def test_the_python_object_does_the_same(small: Small, scan: Path, tmp_path: Path) -> None:
    model = package.Reg2RG.from_pretrained(small.run)
    result = model.report(scan)
    assert result.report == " ".join(r.report for r in result.regions if r.report)
    assert result.regions[0].named in REGIONS and result.regions[0].confidence is not None
    assert result.save(tmp_path / "out").is_file()
    model.save_pretrained(tmp_path / "copy")
    again = package.Reg2RG.from_pretrained(tmp_path / "copy").report(result.volume)
    assert [r.report for r in again.regions] == [r.report for r in result.regions]
    assert again.grounded.settings["warnings"] == result.grounded.settings["warnings"]


CHESTS = [
    "4dlung-113/ct.nii.gz",
    "cip-chest64/nifti/ct-64.nii.gz",
    "cip-chest64/nrrd/ct-64.nrrd",
    "cip-chest64/dicom",
    "ts-thorax-cta/ct.nii.gz",
    "ts-pulmonary-cta/ct.nii.gz",
    "ibsi-ct-phantom/phantom.nii.gz",
]


@pytest.mark.parametrize("name", CHESTS)
def test_every_real_chest_gets_its_report(small: Small, shared: Path, tmp_path: Path, reg2rg: Run, name: str) -> None:
    done = reg2rg("report", shared / "data" / name, "--run", small.run, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {"bone", "heart", "lung", "mediastinum", "pleura"} <= {r["region"] for r in data["regions"]}
    assert "thyroid" in data["missing_regions"]


def test_a_real_chest_as_mha(small: Small, shared: Path, tmp_path: Path, reg2rg: Run) -> None:
    import SimpleITK as sitk

    source = shared / "data" / "cip-chest64" / "nifti" / "ct-64.nii.gz"
    image = sitk.GetImageFromArray(sitk.GetArrayFromImage(whole := sitk.ReadImage(str(source))))
    image.CopyInformation(whole)
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))
    reports = []
    for scan in (source, tmp_path / "ct.mha"):
        done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path / "out", "--json")
        assert done.returncode == 0, done.stderr
        reports.append(json.loads(done.stdout)["report"])
    assert reports[0] == reports[1]


def test_an_abdomen_says_what_is_not_in_view(small: Small, shared: Path, tmp_path: Path, reg2rg: Run) -> None:
    scan = shared / "data" / "ts-abdomen" / "example_ct.nii.gz"
    done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["missing_regions"]["heart"] == "not in the field of view"


def bad_scans(folder: Path) -> dict[str, tuple[Path, str]]:
    """Each kind of bad scan: its path and words of the sentence that it must get."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    chest = np.full((40, 40, 40), -1000, np.int16)

    def save(name: str, array: np.ndarray) -> Path:
        nib.save(nib.Nifti1Image(array, affine), folder / name)
        return folder / name

    empty = folder / "empty"
    empty.mkdir()
    text = folder / "text.nii.gz"
    text.write_text("this is not an image")
    whole = save("whole.nii.gz", np.random.default_rng(0).integers(-1000, 1000, (40, 40, 40)).astype(np.int16)).read_bytes()
    cut = folder / "cut.nii.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    mr = folder / "mr.nii.gz"
    mr.write_bytes(
        gzip.compress(
            gzip.decompress(
                save("mr0.nii.gz", np.random.default_rng(1).integers(0, 800, chest.shape).astype(np.int16)).read_bytes()
            )
        )
    )
    return {
        "no such file": (folder / "none.nii.gz", "no such"),
        "empty folder": (empty, "empty"),
        "text": (text, "text.nii.gz"),
        "truncated": (cut, "cut"),
        "2-D": (save("flat.nii.gz", chest[..., 0]), "2"),
        "4-D": (save("four.nii.gz", np.stack([chest, chest], -1)), "4-D"),
        "no CT": (mr, "Hounsfield"),
        "air alone": (save("air.nii.gz", chest), "air.nii.gz"),
    }


KINDS = ["no such file", "empty folder", "text", "truncated", "2-D", "4-D", "no CT", "air alone"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_scan_gets_one_sentence(small: Small, tmp_path: Path, reg2rg: Run, kind: str) -> None:
    scan, words = bad_scans(tmp_path)[kind]
    done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--segmenter", "treshold"], 1, "threshold"),
        (["--masks", "nowhere"], 1, "no such masks"),
        (["--device", "warp"], 2, "can't be used"),
        (["--set", "levl=3"], 1, "unknown option 'levl'"),
    ],
)
def test_bad_options(small: Small, scan: Path, tmp_path: Path, reg2rg: Run, options: list[str], code: int, words: str) -> None:
    done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path / "out", *options)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_grid_is_refused(small: Small, scan: Path, tmp_path: Path, reg2rg: Run) -> None:
    volume = nib.load(scan)
    for name, array, affine, words in (
        ("shape", np.ones((8, 8, 8), np.uint8), volume.affine, "shape"),
        ("affine", np.ones(volume.shape, np.uint8), volume.affine + np.eye(4, k=3) * 20, "mm"),
        ("void", np.zeros(volume.shape, np.uint8), volume.affine, "empty"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        nib.save(nib.Nifti1Image(array, affine), folder / "lung.nii.gz")
        done = reg2rg("report", scan, "--run", small.run, "--out", tmp_path / "out", "--masks", folder)
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
