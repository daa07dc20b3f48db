"""CT-RATE's metadata against its headers: a rescale is applied exactly once, a wrong spacing is put right, both are said."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, ras_affine, write_nifti

from reg2rg.ct import Facts, Scan, read_scan
from reg2rg.errors import UserError

HU = hu_array()


def scan(path: Path, facts: Facts | None) -> Scan:
    return Scan(path.name, (path,), "image", facts=facts)


@settings(max_examples=40, deadline=None)
@given(
    slope=st.sampled_from([0.5, 1.0, 2.0]),
    intercept=st.sampled_from([-8192, -1024, -1000, 0, 500]),
    raw=st.booleans(),
    padding=st.sampled_from([None, -2000, -3024]),
    kind=st.sampled_from([np.int16, np.int32, np.float32]),
)
def test_a_rescale_is_applied_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, slope: float, intercept: int, raw: bool, padding: int | None, kind: type
) -> None:
    """Whether a volume is raw (first release) or in HU (re-release) is told by its values, padding and all."""
    hu = (HU // 2 * 2).astype(np.int16)
    stored = (hu.astype(float) - intercept) / slope if raw else hu.astype(float)
    if padding is not None:
        stored[:2] = padding
    path = write_nifti(tmp_path_factory.mktemp("facts") / "a.nii", stored.astype(kind))
    try:
        volume = read_scan(scan(path, Facts(slope, float(intercept))))
    except UserError as error:
        # halved or doubled numbers may fit as well: then nothing is guessed. The rescales that scanners write are always told
        assert "don't tell" in error.what and not (slope == 1 and intercept <= 0)
        return
    assert np.array_equal(volume.hu[2:], hu[2:])
    notes = " ".join(volume.notes)
    if (slope, intercept) == (1, 0):
        assert "rescale" not in notes
    else:
        words = f"(slope {slope:g}, intercept {intercept}) was {'' if raw else 'not '}applied"
        assert words in notes


def test_the_header_s_own_rescale_counts_once(tmp_path: Path) -> None:
    """A header that says what the table says, and one that says otherwise of values that fit it."""
    path = write_nifti(tmp_path / "a.nii", HU + 1024)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([1, -1024], "<f4").tobytes()
    path.write_bytes(raw)
    volume = read_scan(scan(path, Facts(1.0, -1024.0)))
    assert np.array_equal(volume.hu, HU) and volume.notes == ()
    volume = read_scan(scan(path, Facts(1.0, -8192.0)))
    assert np.array_equal(volume.hu, HU) and "not applied again" in volume.notes[0]


def test_values_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", HU)
    with pytest.raises(UserError, match="don't tell whether"):
        read_scan(scan(path, Facts(1.0, -20.0)))
    pictures = write_nifti(tmp_path / "b.nii", (HU // 8 + 128).clip(0, 255).astype(np.uint8))
    with pytest.raises(UserError, match="aren't Hounsfield"):
        read_scan(scan(pictures, Facts(1.0, -1024.0)))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLP", "PIR"])
def test_a_wrong_spacing_is_put_right_along_the_right_axes(tmp_path: Path, codes: str) -> None:
    """Directions and the first voxel stay; x, y and z are found by where the axes point, not by their order."""
    turn = nib.orientations.axcodes2ornt(codes)
    array = nib.orientations.apply_orientation(HU, nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn))
    affine = np.eye(4)
    affine[:3, :3] = nib.orientations.inv_ornt_aff(turn, HU.shape)[:3, :3].T
    affine[:3, 3] = (5, 6, 7)
    volume = read_scan(scan(write_nifti(tmp_path / "a.nii.gz", array, affine), Facts(spacing=(2.5, 3.0, 4.0))))
    assert volume.spacing == pytest.approx((2.5, 3.0, 4.0)) and np.array_equal(volume.hu, HU)
    corners = volume.affine @ np.array([[0, 0, 0, 1], [19, 23, 11, 1]]).T
    ends = np.sort(corners[:3], axis=1)
    first = np.array([5, 6, 7])
    assert ((np.abs(ends - first[:, None])).min(axis=1) < 1e-4).all()
    assert "its header says 1×1×1 mm, the metadata table 2.5×3×4 mm" in " ".join(volume.notes)


def test_a_spacing_that_fits_changes_nothing(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", HU)
    volume = read_scan(scan(path, Facts(spacing=(3.0, 2.501, 4.0))))
    assert np.allclose(volume.affine, ras_affine()) and volume.notes == ()


def test_the_spacing_of_another_grid_is_not_taken(tmp_path: Path) -> None:
    """A resampled copy goes by the same name as the volume that the table describes."""
    path = write_nifti(tmp_path / "a.nii.gz", HU)
    volume = read_scan(scan(path, Facts(spacing=(0.7, 0.7, 1.0), shape=(512, 512, 300))))
    assert volume.spacing == pytest.approx((3.0, 2.5, 4.0)) and "another grid" in volume.notes[0]
    volume = read_scan(scan(path, Facts(spacing=(2.0, 2.0, 3.0), shape=(20, 24, 12))))
    assert volume.spacing == pytest.approx((2.0, 2.0, 3.0))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=5, max_size=5),
    shape=st.none() | st.just((20, 24, 12)),
)
def test_any_row_gives_a_volume_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, rows: list[float], shape: tuple[int, int, int] | None
) -> None:
    path = write_nifti(tmp_path_factory.mktemp("row") / "a.nii", HU)
    try:
        read_scan(scan(path, Facts(rows[0], rows[1], (rows[2], rows[3], rows[4]), shape)))
    except UserError as error:
        assert error.what
