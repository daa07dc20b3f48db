"""NIfTI in all wrappings, NRRD and MetaImage: the same voxels in the same place, whatever the bytes look like."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, ras_affine, write_nifti

from reg2rg.ct import read_labels, read_volume, to_ras
from reg2rg.ct.orientation import codes as axis_codes
from reg2rg.errors import UserError

ORIENTATIONS = [
    "".join(code)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for code in itertools.product(*axes)
]  # fmt: skip


def turned(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """A RAS array stored with the axis codes `codes`."""
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    stored = nib.orientations.apply_orientation(array, turn)
    return stored, affine @ nib.orientations.inv_ornt_aff(turn, array.shape)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_reads_as_ras(tmp_path: Path, codes: str) -> None:
    hu, affine = hu_array(), ras_affine()
    stored, stored_affine = turned(hu, affine, codes)
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", stored, stored_affine))
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.affine, affine, atol=1e-4)
    assert ("turned to RAS" in " ".join(volume.notes)) == (codes != "RAS")


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-20, 20)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    codes=st.sampled_from(ORIENTATIONS),
)
def test_turning_moves_no_voxel_in_the_world(angles: tuple[float, ...], spacing: tuple[float, ...], codes: str) -> None:
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ step
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = (5, -6, 7)
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    stored, stored_affine = turned(array, affine, codes)
    assert "".join(nib.aff2axcodes(stored_affine)) == axis_codes(stored_affine) == codes
    back, back_affine = to_ras(stored, stored_affine)
    where = {int(v): back_affine @ [*index, 1] for index, v in np.ndenumerate(back)}
    for index, value in np.ndenumerate(array):
        assert np.allclose(where[int(value)], affine @ [*index, 1], atol=1e-6)
    assert (np.diag(back_affine)[:3] > 0).all()


def test_a_scan_turned_past_telling_is_refused(tmp_path: Path) -> None:
    affine = ras_affine()
    # 45° about the head's axis, then 30° forward: two voxel axes point mostly the same way
    c, s = np.cos(np.pi / 4), np.sin(np.pi / 4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(0.5), -np.sin(0.5)], [0, np.sin(0.5), np.cos(0.5)]])
    affine[:3, :3] = turn @ lean * 3.0
    with pytest.raises(UserError, match="turned so far"):
        read_volume(write_nifti(tmp_path / "a.nii.gz", hu_array(), affine))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, ">i2", ">f4", np.uint16])
def test_every_number_type_gives_the_same_hu(tmp_path: Path, dtype: object) -> None:
    hu = hu_array()
    stored = (hu + 1024 if np.dtype(dtype).kind == "u" else hu).astype(dtype)  # type: ignore[call-overload]
    image = nib.Nifti1Image(stored, ras_affine())
    if np.dtype(dtype).kind == "u":  # type: ignore[call-overload]
        image.header.set_slope_inter(1, -1024)
    nib.save(image, tmp_path / "a.nii")
    if np.dtype(dtype).kind == "u":  # type: ignore[call-overload]
        _set_rescale(tmp_path / "a.nii", 1, -1024)
    assert np.array_equal(read_volume(tmp_path / "a.nii").hu, hu)


def _set_rescale(path: Path, slope: float, intercept: float) -> None:
    """Writes slope and intercept into a stored header (nibabel's own saving sets them aside)."""
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(raw)


@settings(max_examples=25, deadline=None)
@given(slope=st.sampled_from([0.25, 0.5, 1.0, 2.0]), intercept=st.integers(-2000, 500))
def test_slope_and_intercept_are_applied_once(tmp_path_factory: pytest.TempPathFactory, slope: float, intercept: int) -> None:
    path = tmp_path_factory.mktemp("rescale") / "a.nii"
    hu = (hu_array() // 2 * 2).astype(np.int16)
    write_nifti(path, ((hu.astype(np.float64) - intercept) / slope).astype(np.int32))
    _set_rescale(path, slope, intercept)
    # an odd intercept with slope 2 can't be stored exactly: within one unit
    assert np.abs(read_volume(path).hu.astype(int) - hu).max() <= (1 if slope == 2.0 else 0)


def test_values_beyond_int16_are_clipped_and_said(tmp_path: Path) -> None:
    hu = hu_array().astype(np.int32)
    hu[0, 0, 0] = 70000
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", hu))
    assert volume.hu[0, 0, 0] == 32767
    assert any("1 voxel was outside the range of int16" in note for note in volume.notes)


@pytest.mark.parametrize("padding", [-2000, -2048, -3024, -32768])
def test_padding_becomes_air(tmp_path: Path, padding: int) -> None:
    hu = hu_array()
    hu[:3] = padding
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", hu))
    assert volume.hu.min() == -1024 and (volume.hu[:3] == -1024).all()
    assert any("padding" in note for note in volume.notes)


def test_undershoot_of_resampling_stays(tmp_path: Path) -> None:
    hu = hu_array()
    hu[0, 0, 0] = -1180
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", hu))
    assert volume.hu.min() == -1180 and volume.notes == ()


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for name in ("a.nii", "a.nii.gz"):
        whole = write_nifti(folder / name, hu_array()).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError):
            read_volume(folder / name)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_in_compressed_voxels_never_reads_silently(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = write_nifti(tmp_path_factory.mktemp("bit") / "a.nii.gz", hu_array())
    raw = bytearray(path.read_bytes())
    raw[20 + place % (len(raw) - 20)] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises(UserError):
        read_volume(path)


def test_a_header_that_promises_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", hu_array())
    raw = bytearray(path.read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(raw)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(UserError, match="more than any chest CT"):
            read_volume(tmp_path / name)
    raw[42:48] = np.array([1000, 1000, 1000], "<i2").tobytes()
    path.write_bytes(raw)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(UserError, match="cut short"):
            read_volume(tmp_path / name)


def test_without_igzip_the_same_files_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reg2rg.ct import bytes as stored

    path = write_nifti(tmp_path / "a.nii.gz", hu_array())
    monkeypatch.setattr(stored, "_gzip", gzip)
    assert np.array_equal(read_volume(path).hu, hu_array())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="cut short"):
        read_volume(path)


def test_nifti_2_and_a_broken_rescale(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(hu_array(), ras_affine()), tmp_path / "two.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "two.nii.gz").hu, hu_array())
    write_nifti(tmp_path / "a.nii", hu_array())
    _set_rescale(tmp_path / "a.nii", 1.0, float("nan"))
    with pytest.raises(UserError, match="rescale is broken"):
        read_volume(tmp_path / "a.nii")


def test_a_long_series_of_volumes_is_refused_by_its_header_alone(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2, 300), np.int16))
    path.write_bytes(path.read_bytes()[:360])
    with pytest.raises(UserError, match="4-D"):
        read_volume(path)


def test_qform_alone_and_other_units(tmp_path: Path) -> None:
    image = nib.Nifti1Image(hu_array(), None)
    image.set_qform(ras_affine(), 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "q.nii.gz")
    assert np.allclose(read_volume(tmp_path / "q.nii.gz").affine, ras_affine(), atol=1e-4)
    metres = nib.Nifti1Image(hu_array(), np.diag([0.001, 0.001, 0.001, 1]) @ ras_affine())
    metres.header.set_xyzt_units("meter")
    nib.save(metres, tmp_path / "m.nii.gz")
    volume = read_volume(tmp_path / "m.nii.gz")
    assert volume.spacing == pytest.approx((3.0, 2.5, 4.0), abs=1e-3) and any("meter" in n for n in volume.notes)


BAD = {
    "text.nii.gz": (b"these are words, not voxels\n" * 9, "text file"),
    "json.nii.gz": (b'{"error": "not found"}', "text file"),
    "page.nii.gz": (b"<!DOCTYPE html><html></html>", "web page"),
    "noise.nii.gz": (bytes(range(256)) * 4, "isn't an image"),
    "empty.nii": (b"", "empty"),
    "gz.nii.gz": (gzip.compress(b"words in a gzip" * 20), "text file"),
    "short.nii.gz": (gzip.compress(b"\x5c\x01\x00\x00" + bytes(30)), "isn't an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_said(tmp_path: Path, name: str) -> None:
    content, word = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=word) as caught:
        read_volume(tmp_path / name)
    assert caught.value.where.endswith(name)


def test_no_file_empty_folder_and_crowded_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_volume(tmp_path / "nothing.nii.gz")
    with pytest.raises(UserError, match="holds no scan"):
        read_volume(tmp_path)
    write_nifti(tmp_path / "a.nii.gz", hu_array())
    assert read_volume(tmp_path).shape == (20, 24, 12)
    write_nifti(tmp_path / "b.nii.gz", hu_array())
    with pytest.raises(UserError, match="2 image files"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "shape, word", [((20, 24), "single slice"), ((20, 24, 1), "single"), ((20, 24, 5), "5 slices"), ((20, 24, 12, 2), "4-D")]
)
def test_wrong_dimensions(tmp_path: Path, shape: tuple[int, ...], word: str) -> None:
    array = np.resize(hu_array(), shape).astype(np.int16)
    with pytest.raises(UserError, match=word):
        read_volume(write_nifti(tmp_path / "a.nii.gz", array))


def test_too_small_a_piece_is_no_chest(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", hu_array(), ras_affine((1.0, 1.0, 1.0)))
    with pytest.raises(UserError, match="20×24×12 mm"):
        read_volume(path)
    assert read_volume(path, whole=False).shape == (20, 24, 12)


def test_sheared_and_impossible_geometry(tmp_path: Path) -> None:
    shear = ras_affine()
    shear[0, 2] = 0.5
    with pytest.raises(UserError, match="sheared by"):
        read_volume(write_nifti(tmp_path / "a.nii.gz", hu_array(), shear))
    with pytest.raises(UserError, match="which no CT has"):
        read_volume(write_nifti(tmp_path / "b.nii.gz", hu_array(), ras_affine((90.0, 90.0, 4.0))))


def test_colour_is_no_ct(tmp_path: Path) -> None:
    colour = np.zeros((20, 24, 12), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, ras_affine()), tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match="colours"):
        read_volume(tmp_path / "a.nii.gz")


# --- NRRD and MetaImage ----------------------------------------------------------------------------------------------


def write_itk(path: Path, array: np.ndarray, compress: bool) -> Path:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((3.0, 2.5, 4.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((10.0, -20.0, -30.0))
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd", "nhdr", "nii.gz"])
def test_itk_files_read_as_nifti_does(tmp_path: Path, ending: str, compress: bool) -> None:
    volume = read_volume(write_itk(tmp_path / f"a.{ending}", hu_array(), compress))
    assert np.array_equal(volume.hu, hu_array())
    assert np.allclose(volume.affine, ras_affine(), atol=1e-4)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", ["nrrd", "mha"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_cut_itk_files_are_refused(tmp_path: Path, ending: str, compress: bool, share: float) -> None:
    path = write_itk(tmp_path / f"a.{ending}", hu_array(), compress)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(UserError):
        read_volume(path)


@pytest.mark.parametrize("ending, data", [("mhd", "raw"), ("nhdr", "raw")])
def test_a_cut_or_missing_data_file_is_refused(tmp_path: Path, ending: str, data: str) -> None:
    path = write_itk(tmp_path / f"a.{ending}", hu_array(), False)
    voxels = tmp_path / f"a.{data}"
    voxels.write_bytes(voxels.read_bytes()[:-4000])
    with pytest.raises(UserError):
        read_volume(path)
    voxels.unlink()
    with pytest.raises(UserError):
        read_volume(path)


def test_nrrd_of_an_unknown_space_is_refused(tmp_path: Path) -> None:
    path = write_itk(tmp_path / "a.nrrd", hu_array(), False)
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", b"scanner-xyz"))
    with pytest.raises(UserError, match="left and right"):
        read_volume(path)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 65535), min_size=1, max_size=8), wide=st.sampled_from(["u2", "i4", "f4", "f8"]))
def test_labels_survive_any_number_type(tmp_path_factory: pytest.TempPathFactory, labels: list[int], wide: str) -> None:
    path = tmp_path_factory.mktemp("labels") / "a.nii.gz"
    array = np.resize(np.array(labels), (4, 5, 6))
    write_nifti(path, array.astype(wide))
    read, _ = read_labels(path)
    expected = (array == 255).astype(int) if set(labels) | {0} == {0, 255} else array
    assert np.array_equal(read, expected)
