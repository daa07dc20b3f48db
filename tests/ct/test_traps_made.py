"""Made-up traps beside the shared ones: each image file reads as the one array it holds, or is refused for the named reason."""

from __future__ import annotations

import functools
import gzip
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from samples_ct import ras_affine, write_dicom, write_nifti
from samples_traps import HU, META, NIFTI, NRRD, RAW, meta, nrrd

from reg2rg.ct import find_scans, read_scan, read_volume
from reg2rg.errors import UserError


@pytest.mark.parametrize("name", NIFTI)
def test_nifti_reads_right_or_says_why_not(tmp_path: Path, name: str) -> None:
    make, words = NIFTI[name]
    check(make(tmp_path), words)


def check(path: Path, words: str) -> None:
    if words:
        with pytest.raises(UserError) as caught:
            read_volume(path)
        assert words in caught.value.what and caught.value.fix and len(str(caught.value)) < 500 + len(str(path))
        return
    volume = read_volume(path)
    assert np.array_equal(volume.hu, HU)
    assert np.allclose(volume.affine, ras_affine(), atol=1e-3)


def test_a_header_of_50_mb_costs_no_memory(tmp_path: Path) -> None:
    """The extension is skipped piece by piece, plain and packed."""
    image = nib.Nifti1Image(HU, ras_affine())
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"x" * (50 << 20)))
    nib.save(image, tmp_path / "a.nii")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes(), 1))
    for name in ("a.nii", "b.nii.gz"):
        tracemalloc.start()
        assert np.array_equal(read_volume(tmp_path / name).hu, HU)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20


@pytest.mark.parametrize("name", NRRD)
def test_nrrd_reads_right_or_says_why_not(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    fields, words = NRRD[name]
    check(nrrd(tmp_path, **fields), words)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", META)
def test_metaimage_reads_right_or_says_why_not(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    fields, words = META[name]
    check(meta(tmp_path, **fields), words)
    assert capfd.readouterr().err == ""


def test_detached_voxels_that_are_missing_are_named(tmp_path: Path) -> None:
    for path in (nrrd(tmp_path, detached="b.raw"), meta(tmp_path, file="b.raw")):
        (tmp_path / "b.raw").unlink()
        with pytest.raises(UserError) as caught:
            read_volume(path)
        assert "data file is missing" in caught.value.what and "b.raw" in caught.value.fix
        (tmp_path / "b.raw").write_bytes(b"")


# --- zip files, links, permissions -----------------------------------------------------------------------------------


def test_a_zip_gives_a_header_its_voxels(tmp_path: Path) -> None:
    for made in (nrrd(tmp_path, detached="sub/a.raw"), meta(tmp_path, file="sub/a.raw")):
        zipped = tmp_path / "a.zip"
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.write(made, f"study/{made.name}")
            archive.write(tmp_path / "sub/a.raw", "study/sub/a.raw")
            archive.writestr("a.raw", b"another file of that name")
        check(zipped, "")
        (scan,) = find_scans(zipped)
        assert np.array_equal(read_scan(scan).hu, HU)


@pytest.mark.parametrize("outside", ["../secret.raw", "/secret.raw", "..\\secret.raw"])
def test_a_header_in_a_zip_can_t_reach_outside(tmp_path: Path, outside: str) -> None:
    (tmp_path / "secret.raw").write_bytes(RAW)
    path = nrrd(tmp_path, detached="b.raw")
    path.write_text(path.read_text().replace("b.raw", outside))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a/a.nhdr")
        archive.write(tmp_path / "secret.raw", "secret.raw")
    check(tmp_path / "a.zip", "data file is missing")


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    """A member that says it inflates to 300 GB, and one whose directory lies about that."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nii", bytes(1 << 20))
        archive.filelist[0].file_size = 300 << 30
    check(path, "too large")
    (scan,) = find_scans(tmp_path)
    with pytest.raises(UserError, match="too large"):
        read_scan(scan)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nii", bytes(1 << 20))
        archive.filelist[0].file_size = 1000
    with pytest.raises(UserError):
        read_volume(path)


def test_a_zip_s_directory_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it for every member took a time that grew with the square of their number."""
    opened = []
    kept = zipfile.ZipFile.__init__

    def counted(self: zipfile.ZipFile, *arguments: Any, **options: Any) -> None:
        opened.append(1)
        kept(self, *arguments, **options)

    paths = write_dicom(tmp_path / "s", HU)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")
    monkeypatch.setattr(zipfile.ZipFile, "__init__", counted)
    (scan,) = find_scans(tmp_path / "a.zip")
    assert np.array_equal(read_scan(scan).hu, HU[::-1, ::-1]) and len(opened) == 1


def test_links_that_point_at_themselves_are_no_scans(tmp_path: Path) -> None:
    write_nifti(tmp_path / "in/a.nii.gz", HU)
    (tmp_path / "in/b.nii.gz").symlink_to(tmp_path / "in/b.nii.gz")
    (tmp_path / "in/c.nii.gz").symlink_to(tmp_path / "in/nothing.nii.gz")
    (tmp_path / "in/deep").symlink_to(tmp_path, target_is_directory=True)
    assert [scan.id for scan in find_scans(tmp_path / "in")] == ["a"]
    check(tmp_path / "in/b.nii.gz", "no such file")


def test_what_can_t_be_opened_is_a_scan_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders without permission; the super-user of a container has every permission, so they are made to fail."""
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")
    write_nifti(tmp_path / "a.nii.gz", HU)
    (tmp_path / "ZEBRA").mkdir()
    for name in ("1.2.840.77", "b.nii.gz", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    shut = {str(tmp_path / name) for name in ("ZEBRA", "1.2.840.77", "b.nii.gz", "c.txt")}
    scandir, opened = os.scandir, Path.open

    def walls(path: Any = ".") -> Any:
        if str(path) in shut:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def doors(self: Path, *arguments: Any, **options: Any) -> Any:
        if str(self) in shut:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(os, "scandir", walls)
    monkeypatch.setattr(Path, "open", doors)
    found = find_scans(tmp_path)
    assert sorted(scan.id.partition("-")[0] for scan in found) == ["a", "b", "dicom", "dicom"]
    reasons = []
    for scan in found:
        try:
            read_scan(scan)
        except UserError as error:
            reasons.append(error.what)
            assert "ZEBRA" not in f"{scan!r}{error.what}" and "1.2.840.77" not in f"{scan!r}{error.what}"
    assert sorted(reasons) == [
        "a file can't be read (Permission denied)", "a folder can't be read", "it can't be read (Permission denied)",
    ]  # fmt: skip


def test_every_refusal_is_a_row_that_says_how_to_mend_it(tmp_path: Path) -> None:
    """All made-up traps as one data set: those that read end at the segmenter or in the store, the others at reading."""
    from reg2rg.preprocess import preprocess

    traps = [*NIFTI.values()]
    traps += [(functools.partial(nrrd, **fields), words) for fields, words in NRRD.values()]
    traps += [(functools.partial(meta, **fields), words) for fields, words in META.values()]
    wanted = {}
    for i, (make, words) in enumerate(traps):
        folder = tmp_path / "made" / f"trap{i}"
        folder.mkdir(parents=True)
        wanted[f"trap{i}_{make(folder).name.partition('.')[0]}"] = words
        for scratch in folder.glob("b.*"):
            scratch.unlink()
    summary = preprocess(tmp_path / "made", tmp_path / "store")
    rows = {row["study"]: row for row in summary.failures if row["stage"] == "read"}
    assert set(rows) == {study for study, words in wanted.items() if words}
    for study, row in rows.items():
        assert wanted[study] in row["error"] and row["hint"] and str(tmp_path) not in str(row)
    assert summary.studies == len(wanted)


def test_a_mask_of_floats_may_be_an_analyze_file_in_name_only(tmp_path: Path) -> None:
    """Analyze headers have no orientation at all: never read, whatever lies beside them."""
    nib.save(nib.AnalyzeImage(HU, ras_affine()), tmp_path / "a.img")
    assert struct.unpack("<i", (tmp_path / "a.hdr").read_bytes()[:4]) == (348,)
    check(tmp_path / "a.hdr", "isn't an image of a known format")
