"""DICOM series made up slice by slice: what must read, what must be refused, and what must never be said."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, write_dicom, write_nifti

from reg2rg.ct import find_scans, identity, read_scan, read_volume
from reg2rg.errors import UserError

SECRETS = ("ZEBRA", "QUAGGA", "PID4711", "19330303", "ACC0815", "20200202", "1.2.826.77")


@pytest.fixture(autouse=True)
def salted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")


def expected() -> np.ndarray:
    """What `write_dicom` of `hu_array()` must read as: LPS turned to RAS."""
    return hu_array()[::-1, ::-1]


def test_a_series_reads_in_place(tmp_path: Path) -> None:
    write_dicom(tmp_path, hu_array())
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, expected())
    assert volume.spacing == pytest.approx((2.5, 3.0, 4.0))
    # stored voxel (0, 0, 0) at LPS (-30, -40, -50) is the last in x and y, at RAS (30, 40, -50)
    assert (volume.affine @ [19, 23, 0, 1])[:3] == pytest.approx((30, 40, -50))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)), down=st.booleans())
def test_file_names_and_direction_don_t_matter(tmp_path_factory: pytest.TempPathFactory, order: list[int], down: bool) -> None:
    folder = tmp_path_factory.mktemp("series")
    hu = hu_array()
    write_dicom(folder, hu, order=order, step=[0, 0, -4.0 if down else 4.0])
    assert np.array_equal(read_volume(folder).hu, hu[::-1, ::-1, ::-1] if down else hu[::-1, ::-1])


def test_sagittal_and_oblique_stacks_keep_their_place(tmp_path: Path) -> None:
    write_dicom(tmp_path / "s", hu_array(), step=[-4, 0, 0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    sagittal = read_volume(tmp_path / "s")
    assert sagittal.shape == (12, 20, 24) and sagittal.spacing == pytest.approx((4.0, 2.5, 3.0))
    c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
    write_dicom(tmp_path / "o", hu_array(), step=[0, -4 * s, 4 * c], ImageOrientationPatient=[1, 0, 0, 0, c, s])
    oblique = read_volume(tmp_path / "o")
    assert np.array_equal(oblique.hu, expected())
    assert np.degrees(np.arccos(oblique.affine[2, 2] / oblique.spacing[2])) == pytest.approx(15, abs=1e-3)


def test_unsigned_pixels_and_padding(tmp_path: Path) -> None:
    hu = hu_array()
    hu[:2] = -3000
    write_dicom(tmp_path, hu, intercept=-3000, PixelRepresentation=0)
    volume = read_volume(tmp_path)
    assert (volume.hu[-2:] == -1024).all() and np.array_equal(volume.hu[:-2], expected()[:-2])
    assert any("padding" in note for note in volume.notes)


def test_numbers_beyond_any_ct_are_refused(tmp_path: Path) -> None:
    """Negative pixels under a header that calls them unsigned."""
    write_dicom(tmp_path, hu_array(), intercept=0, PixelRepresentation=0)
    assert "beyond the range" in refusal(tmp_path)


def test_a_crop_without_air_is_believed_where_the_file_says_ct(tmp_path: Path) -> None:
    soft = np.random.default_rng(1).integers(20, 90, (20, 24, 12)).astype(np.int16)
    write_dicom(tmp_path / "ct", soft)
    assert read_volume(tmp_path / "ct").hu.min() >= 20
    write_dicom(tmp_path / "bare", soft, intercept=0, RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(UserError, match="aren't Hounsfield"):
        read_volume(tmp_path / "bare")


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_volume(folder)
    return str(caught.value)


def test_gap_duplicate_tilt_and_shift(tmp_path: Path) -> None:
    paths = write_dicom(tmp_path / "gap", hu_array())
    paths[5].unlink()
    assert "gap of 8.000 mm at z -30.000" in refusal(tmp_path / "gap")
    write_dicom(tmp_path / "tilt", hu_array(), step=[0, 1.0, 4.0])
    assert "tilted by 14.0°" in refusal(tmp_path / "tilt")
    write_dicom(tmp_path / "two", hu_array())
    write_dicom(tmp_path / "two", hu_array(seed=1), names=lambda k, d: _other_instance(k, d))
    assert "differ" in refusal(tmp_path / "two")
    paths = write_dicom(tmp_path / "shift", hu_array())
    _change(paths[6], ImagePositionPatient=[-24.0, -40.0, -26.0])
    assert "shifted against each other" in refusal(tmp_path / "shift")


def _other_instance(k: int, data: Any) -> str:
    data.SOPInstanceUID = f"1.2.3.8.{k}"
    return f"B{k}"


def _change(path: Path, **fields: Any) -> None:
    from pydicom import dcmread

    data = dcmread(path)
    for key, value in fields.items():
        setattr(data, key, value)
    data.save_as(path)


def test_a_stray_slice_is_left_out_only_where_the_stack_is_whole(tmp_path: Path) -> None:
    write_dicom(tmp_path, hu_array())
    small = hu_array((10, 12, 12))[:, :, :1]
    write_dicom(tmp_path, small, names=lambda k, d: _other_instance(k, d))
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, expected())
    assert any("another matrix" in note for note in volume.notes)
    (tmp_path / "IM0004").unlink()
    assert "mixes matrices" in refusal(tmp_path)


def test_the_one_ct_volume_is_picked_among_other_series(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", hu_array())
    write_dicom(tmp_path / "b", hu_array(), uid="1.2.4", Modality="MR")
    write_dicom(tmp_path / "c", hu_array()[:, :, :2], uid="1.2.5", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, expected()) and any("2 other series" in note for note in volume.notes)
    scans = find_scans(tmp_path)
    assert len(scans) == 3
    results = []
    for scan in scans:
        try:
            results.append(str(read_scan(scan).shape))
        except UserError as error:
            results.append(error.what)
    assert sorted(results) == ["(20, 24, 12)", "it is a localizer (scout), not a volume", "its modality is MR, not CT"]


def test_a_series_spread_over_folders_is_one_scan(tmp_path: Path) -> None:
    paths = write_dicom(tmp_path / "a", hu_array())
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for path in paths[::2]:
        path.rename(tmp_path / "b" / "deep" / path.name)
    (scan,) = find_scans(tmp_path)
    assert np.array_equal(read_scan(scan).hu, expected())


def test_cut_slices_are_named(tmp_path: Path) -> None:
    paths = write_dicom(tmp_path, hu_array())
    paths[3].write_bytes(paths[3].read_bytes()[:-100])
    assert "IM0004: it is cut short or damaged (860 of 960 bytes" in refusal(tmp_path)


def test_jpeg_2000_and_rle_cut_short_are_refused(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    paths = write_dicom(tmp_path, hu_array())
    for path in paths:
        data = dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    assert np.array_equal(read_volume(tmp_path).hu, expected())
    paths[3].write_bytes(paths[3].read_bytes()[:-300])
    assert "IM0004" in refusal(tmp_path)


def test_nothing_of_the_patient_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Names of files often hold what the header hides: then the slice is told by its place."""
    names = [lambda k, d: f"ZEBRA_QUAGGA_{k}.dcm", lambda k, d: f"{d.SOPInstanceUID}.dcm", lambda k, d: f"PID4711-{k}"]
    for n, name in enumerate(names):
        folder = tmp_path / f"{n}"
        paths = write_dicom(folder, hu_array(), names=name)
        paths[3].write_bytes(paths[3].read_bytes()[:-100])
        (scan,) = find_scans(folder)
        with pytest.raises(UserError) as caught:
            read_scan(scan)
        text = f"{caught.value} {scan.id} {scan.label}"
        assert "a slice at z -38.000" in text
        assert not any(secret in text for secret in (*SECRETS, "1.2.3.9"))
    assert not any(secret in "".join(capfd.readouterr()) for secret in SECRETS)


def test_strange_header_values_are_not_quoted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_dicom(tmp_path, hu_array(), uid="1.2.3")
    for path in sorted(tmp_path.iterdir()):
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"19330303", b"1933OOPS"))
    assert read_volume(tmp_path).shape == (20, 24, 12)
    assert "1933OOPS" not in "".join(capfd.readouterr())


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_are_hashes_that_hold_over_stores_and_differ_by_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom(tmp_path / "a", hu_array())
    write_dicom(tmp_path / "b" / "c", hu_array())
    (first,), (second,) = find_scans(tmp_path / "a"), find_scans(tmp_path / "b")
    assert first.id == second.id and re.fullmatch(r"dicom-[0-9a-f]{16}", first.id)
    monkeypatch.setenv("REG2RG_SALT", "another")
    assert find_scans(tmp_path / "a")[0].id != first.id
    assert find_scans(tmp_path / "a", keep_ids=True)[0].id == "1.2.3"


def test_the_salt_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REG2RG_SALT")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = identity.pseudonym("1.2.3")
    assert identity.pseudonym("1.2.3") == first
    kept = tmp_path / "reg2rg" / "salt"
    assert len(kept.read_text()) == 64 and kept.stat().st_mode & 0o077 == 0
    assert [p.name for p in kept.parent.iterdir()] == ["salt"]
    kept.unlink()
    assert identity.pseudonym("1.2.3") != first

    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    kept.unlink()
    monkeypatch.setattr(os, "link", no_links)
    second = identity.pseudonym("1.2.3")
    assert identity.pseudonym("1.2.3") == second and [p.name for p in kept.parent.iterdir()] == ["salt"]
    kept.write_text("")
    with pytest.raises(UserError, match="salt"):
        identity.pseudonym("1.2.3")


# --- zip and folders -------------------------------------------------------------------------------------------------


def zip_of(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_zips_of_a_series_and_of_an_image(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "s", hu_array())
    (tmp_path / "z").mkdir()
    zipped = zip_of(tmp_path / "z" / "ZEBRA.zip", tmp_path / "a")
    assert np.array_equal(read_volume(zipped).hu, expected())
    (scan,) = find_scans(tmp_path / "z")
    assert np.array_equal(read_scan(scan).hu, expected())
    assert "ZEBRA" not in f"{scan.id}{scan.label}" and scan.id == find_scans(tmp_path / "a")[0].id
    write_nifti(tmp_path / "n" / "chest.nii.gz", hu_array())
    other = zip_of(tmp_path / "chest.zip", tmp_path / "n")
    assert np.array_equal(read_volume(other).hu, hu_array())


@pytest.mark.parametrize("name", ["../evil.nii", "/etc/evil.nii", "a/../../evil.nii", "..\\evil.nii", "C:\\evil.nii"])
def test_a_zip_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    assert "path that leaves it" in refusal(tmp_path / "a.zip")


def test_broken_and_crowded_zips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reg2rg.ct import archive

    write_dicom(tmp_path / "a", hu_array())
    zipped = zip_of(tmp_path / "a.zip", tmp_path / "a")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    assert "too large (12 members)" in refusal(zipped)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 100)
    assert "larger than" in refusal(zipped)
    monkeypatch.undo()
    zipped.write_bytes(zipped.read_bytes()[:-60])
    assert "damaged or cut short" in refusal(zipped)


def test_image_files_get_their_names_and_are_told_apart(tmp_path: Path) -> None:
    for place in ("p1/ct.nii.gz", "p2/ct.nii.gz", "p2/other.nrrd", "p3/x/ct.nii", "p3/x/ct.nii.gz"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    for junk in ("readme.txt", ".hidden/ct.nii.gz", "p1/.DS_Store", "__MACOSX/ct.nii.gz"):
        (tmp_path / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / junk).write_bytes(b"")
    ids = [scan.id for scan in find_scans(tmp_path)]
    assert ids == sorted(ids) and len(set(ids)) == 5
    assert {"p1_ct", "p2_ct", "other"} <= set(ids)
    assert len([i for i in ids if i.startswith("p3_x_ct")]) == 2


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a" / "ct.nii.gz", hu_array())
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert [scan.id for scan in find_scans(tmp_path)] == ["ct"]
