"""Every item of the shared data folder ends right or in a clear refusal; only the numbers of its README are pinned."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reg2rg.contracts import Volume
from reg2rg.ct import find_scans, read_label_map, read_labels, read_scan, read_volume
from reg2rg.errors import UserError


@pytest.fixture(scope="module")
def data(shared: Path) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = shared / "data" / name
        if not path.exists():
            pytest.skip(f"data/{name.split('/')[0]} is absent from the shared material")
        return path

    return find


def box(hu: np.ndarray) -> float:
    """Mean of the central 10×10×10 voxels; the same after any turn of an even-sized array."""
    x, y, z = (n // 2 for n in hu.shape)
    return float(hu[x - 5 : x + 5, y - 5 : y + 5, z - 5 : z + 5].mean())


# name, shape in RAS, spacing, HU min, max, mean, box (None where a side is odd)
REAL = [
    ("4dlung-113/ct.nii.gz", (512, 512, 99), (0.9766, 0.9766, 3.0), -1000, 2976, -704.016, None),
    ("cip-chest64/nifti/ct-64.nii.gz", (64, 64, 79), (4.1719, 4.1719, 3.9873), -1007, 1095, -465.627, None),
    ("cip-chest64/dicom", (64, 64, 79), (4.1719, 4.1719, 3.9873), -1007, 1095, -465.627, None),
    ("cip-chest64/nrrd/ct-64.nrrd", (64, 64, 79), (4.1719, 4.1719, 3.9873), -1007, 1095, -465.627, None),
    ("ibsi-ct-phantom/phantom.nii.gz", (204, 201, 60), (0.977, 0.977, 3.0), -1000, 3065, -266.470, None),
    ("ibsi-ct-phantom/dicom.zip", (204, 201, 60), (0.977, 0.977, 3.0), -1000, 3065, -266.470, None),
    ("ts-abdomen/example_ct.nii.gz", (122, 101, 112), (3.0, 3.0, 3.0), -1207, 3382, -360.020, 91.898),
    ("ts-abdomen/example_ct_sm.nii.gz", (122, 101, 30), (3.0, 3.0, 3.0), -1100, 1207, -354.095, 7.848),
    ("ts-abdomen/dicom_j2k", (512, 512, 20), (0.97656, 0.97656, 2.0), -1024, 1839, -624.126, -29.122),
    ("ts-pulmonary-cta/ct.nii.gz", (122, 102, 112), (1.5, 1.5, 1.5), -1064, 3343, -206.551, 414.611),
    ("ts-thorax-cta/ct.nii.gz", (120, 126, 164), (1.5, 1.5, 1.5), -1078, 3343, -200.714, 492.928),
    ("lesion-mha/DataCropped.mha", (113, 115, 14), (0.508, 0.508, 5.0), -1024, 1765, -478.360, -438.152),
    ("lesion-mha/PartSolidLesionCropped.mha", (97, 101, 59), (0.701, 0.701, 1.25), -1024, 1513, -661.130, -285.378),
]


@pytest.mark.parametrize("name, shape, spacing, low, high, mean, middle", REAL, ids=[row[0] for row in REAL])
def test_real_cts_read_right(
    data: Callable[[str], Path], name: str, shape: tuple[int, ...], spacing: tuple[float, ...], low: int, high: int,
    mean: float, middle: float | None,
) -> None:  # fmt: skip
    volume = read_volume(data(name))
    assert volume.shape == shape
    assert volume.spacing == pytest.approx(spacing, abs=1e-3)
    assert (volume.hu.min(), volume.hu.max()) == (low, high)
    assert volume.hu.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-3)
    if middle is not None:
        assert box(volume.hu) == pytest.approx(middle, abs=1e-3)


def test_one_scan_in_three_formats_is_one_volume(data: Callable[[str], Path]) -> None:
    volumes = [read_volume(data(f"cip-chest64/{n}")) for n in ("nifti/ct-64.nii.gz", "dicom", "nrrd/ct-64.nrrd")]
    for other in volumes[1:]:
        assert np.array_equal(volumes[0].hu, other.hu)
        assert np.allclose(volumes[0].affine, other.affine, atol=1e-3)
    image, stack = (read_volume(data(f"ibsi-ct-phantom/{n}")) for n in ("phantom.nii.gz", "dicom.zip"))
    assert np.array_equal(image.hu, stack.hu)


def test_oblique_nrrd_moves_in_the_world_and_keeps_its_voxels(data: Callable[[str], Path]) -> None:
    straight, turned = (read_volume(data(f"cip-chest64/nrrd/{n}.nrrd")) for n in ("ct-64", "ct-64-transformed"))
    assert np.array_equal(straight.hu, turned.hu)
    cosines = turned.affine[:3, :3] / np.asarray(turned.spacing)
    assert abs(cosines[0, 0]) == pytest.approx(0.940, abs=1e-3)
    assert abs(cosines[0, 1]) == pytest.approx(0.342, abs=1e-3)


# --- nifti-traps/derived ---------------------------------------------------------------------------------------------

AS_BASE = [
    "ct_ras.nii.gz", "ct_las.nii.gz", "ct_pir.nii.gz", "ct_slp.nii.gz", "ct_oblique12deg.nii.gz",
    "ct_qform_ne_sform_25mm.nii.gz",
    "ct_pixdim_ne_affine.nii.gz", "ct_slope0.5.nii.gz", "ct_uint16_inter-1024.nii.gz", "ct_4d_single.nii.gz",
    "ct_gz_named_nii.nii", "ct_plain_named_gz.nii.gz",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(data: Callable[[str], Path]) -> Volume:
    return read_volume(data("nifti-traps/derived/base_lps.nii.gz"))


def test_base_has_the_known_values(base: Volume) -> None:
    assert base.shape == (64, 64, 24)
    assert (base.hu.min(), base.hu.max()) == (-1006, 980)
    assert base.hu.mean() == pytest.approx(-526.9373, abs=1e-3)
    assert box(base.hu) == pytest.approx(-248.260, abs=1e-3)
    # stored voxel (10, 20, 5) is (53, 43, 5) after both in-plane flips, and stays where it was in the world
    assert base.hu[53, 43, 5] == -725
    assert (base.affine @ [53, 43, 5, 1])[:3] == pytest.approx((86.695, 180.976, -260.573), abs=1e-3)
    assert base.hu[33, 19, 0] == 980
    assert (base.affine @ [31.5, 31.5, 11.5, 1])[:3] == pytest.approx((-3.000, 133.000, -234.655), abs=1e-3)


@pytest.mark.parametrize("name", AS_BASE)
def test_wrappings_read_as_the_base(data: Callable[[str], Path], base: Volume, name: str) -> None:
    volume = read_volume(data(f"nifti-traps/derived/{name}"))
    assert np.array_equal(volume.hu, base.hu)
    assert volume.spacing == pytest.approx(base.spacing, abs=1e-3)
    if "oblique" in name:
        assert any("turned by 12.0°" in note for note in volume.notes)
        assert (volume.affine @ [31.5, 31.5, 11.5, 1])[:3] == pytest.approx((-3.000, 178.881, -201.875), abs=1e-3)
    else:
        assert np.allclose(volume.affine, base.affine, atol=1e-3)


@pytest.mark.parametrize("name, word", [("ct_qform_ne_sform_25mm", "25.0 mm apart"), ("ct_pixdim_ne_affine", "pixdim")])
def test_doubtful_headers_are_noted(data: Callable[[str], Path], name: str, word: str) -> None:
    assert any(word in note for note in read_volume(data(f"nifti-traps/derived/{name}.nii.gz")).notes)


def test_nan_and_infinity_become_air_with_a_note(data: Callable[[str], Path], base: Volume) -> None:
    nan = read_volume(data("nifti-traps/derived/ct_nan_border.nii.gz"))
    assert any("6144 voxels were NaN" in note for note in nan.notes)
    assert box(nan.hu) == pytest.approx(-248.260, abs=1e-3)
    assert int((nan.hu != base.hu).sum()) <= 6144 and nan.hu.min() == -1024
    infinite = read_volume(data("nifti-traps/derived/ct_inf_voxel.nii.gz"))
    assert any("1 voxel was infinite" in note for note in infinite.notes)
    assert int((infinite.hu != base.hu[:, :, :10]).sum()) == 1


REFUSED = {
    "nifti-traps/derived/ct_sheared_sform.nii.gz": "14.1°",
    "nifti-traps/derived/ct_no_codes.nii.gz": "orientation is unknown",
    "nifti-traps/derived/ct_uint16_offset_lost.nii.gz": "aren't Hounsfield units",
    "nifti-traps/derived/ct_already_normalised_0_1.nii.gz": "aren't Hounsfield units",
    "nifti-traps/derived/ct_constant.nii.gz": "every voxel is -1024",
    "nifti-traps/derived/ct_4d_two.nii.gz": "several volumes",
    "nifti-traps/derived/ct_2d.nii.gz": "single slice",
    "nifti-traps/derived/ct_one_slice.nii.gz": "single slice",
    "nifti-traps/derived/ct_truncated.nii.gz": "cut short",
    "nifti-traps/derived/ct_bad_crc.nii.gz": "damaged",
    "nifti-traps/derived/empty_file.nii.gz": "empty",
    "nifti-traps/derived/html_error_page.nii.gz": "web page",
    "cip-lobes-large/crop_ct_2slices.nrrd": "not a volume",
    "cip-chest64/nrrd/simple_ct.nrrd": "no space directions",
    "cip-chest64/nrrd/rind_partition-64.nrrd": "no space directions",
    "nifti-traps/real/CT_pitch.nii.gz": "aren't Hounsfield units",
    "nifti-traps/real/example4d.nii.gz": "4-D",
    "nifti-traps/real/example_nifti2.nii.gz": "4-D",
    "nifti-traps/real/functional.nii": "4-D",
    "nifti-traps/real/resampled_anat_moved.nii": "not a volume",
    "nifti-traps/real/test.mgz": "MGH",
    "mr-not-ct/anatomical_bigendian.nii": "aren't Hounsfield units",
    "mr-not-ct/example_mr_sm.nii.gz": "aren't Hounsfield units",
    "mr-not-ct/example_seg_mr.nii.gz": "aren't Hounsfield units",
    "mr-not-ct/MR_small.dcm": "modality is MR",
    "mr-not-ct/dicom_mr_sagittal": "modality is MR",
    "dicom-traps/derived/missing_slice": "gap of 7.975 mm at z -220.7",
    "dicom-traps/derived/gantry_tilt_15deg": "15.0°",
    "dicom-traps/derived/two_series_mixed": "2 series",
    "dicom-traps/derived/one_slice_other_matrix": "IMG0006",
    "dicom-traps/derived/truncated_slice": "IMG0006.dcm: it is cut short or damaged (5192 of 8192",
    "dicom-traps/derived/all_same_position": "one position",
    "dicom-traps/derived/no_position": "ImagePositionPatient",
    "dicom-traps/derived/single_slice": "one slice",
    "dicom-traps/derived/modality_says_mr": "modality is MR",
    "dicom-traps/real/CT_small.dcm": "one slice",
    "dicom-traps/real/no_meta.dcm": "isn't a DICOM file",
    "dicom-traps/real/693_J2KI.dcm": "one slice",
    "dicom-traps/real/JPEG2000.dcm": "modality is NM",
    "dicom-traps/real/JPEG-lossy.dcm": "modality is NM",
    "dicom-traps/real/MR_truncated.dcm": "modality is MR",
    "dicom-traps/real/badVR.dcm": "RTDOSE",
    "dicom-traps/real/decimal_rescale.dcm": "modality is MR",
    "dicom-traps/real/rtstruct.dcm": "RTSTRUCT",
    "dicom-traps/real/ct_axial_coronal_sagittal.zip": "3 series",
    "dicom-traps/real/gantry_tilt_ct.zip": "tilted by 14.0°",
    "dicom-traps/real/slice_gap_tilted_ct.zip": "gap",
    "dicom-traps/real/mixed_orientation_mr.zip": "modality is MR",
    "dicom-traps/real/mr_jpeg_lossless.zip": "modality is MR",
    "dicom-traps/real/mr_jpegls.zip": "modality is MR",
    "dicom-traps/real/mr_rgb_j2k.zip": "modality is MR",
    "dicom-traps/real/dicomdir_ct_mr_cr.zip": "series",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(data: Callable[[str], Path], name: str) -> None:
    path = data(name)
    with pytest.raises(UserError) as caught:
        read_volume(path)
    assert REFUSED[name] in caught.value.what
    assert caught.value.where == str(path) and caught.value.fix


# --- dicom-traps/derived ---------------------------------------------------------------------------------------------

AS_BASE_DICOM = {
    "compressed_jpeg2000": "", "compressed_rle": "", "reversed_instance_number": "", "rescale_differs_per_slice": "",
    "empty_series_uid": "blank", "no_rescale": "no RescaleSlope", "with_junk": "SOPInstanceUID",
    "localizer_in_series": "localizer",
    "duplicate_position": "repeating a position",
}  # fmt: skip


@pytest.fixture(scope="module")
def base_dicom(data: Callable[[str], Path]) -> Volume:
    return read_volume(data("dicom-traps/derived/base_20slices"))


def test_dicom_base_has_the_known_values(base_dicom: Volume) -> None:
    assert base_dicom.shape == (64, 64, 20)
    assert base_dicom.spacing == pytest.approx((4.171872, 4.171872, 3.9874), abs=1e-3)
    assert (base_dicom.hu.min(), base_dicom.hu.max()) == (-1005, 938)
    assert base_dicom.hu.mean() == pytest.approx(-530.1993, abs=1e-3)
    assert box(base_dicom.hu) == pytest.approx(-237.933, abs=1e-3)
    # the first position, LPS (-128.414, -264.414, -248.611), is the last voxel in x and y after turning
    assert (base_dicom.affine @ [63, 63, 0, 1])[:3] == pytest.approx((128.414, 264.414, -248.611), abs=1e-3)


@pytest.mark.parametrize("name", AS_BASE_DICOM)
def test_series_read_as_the_base(data: Callable[[str], Path], base_dicom: Volume, name: str) -> None:
    volume = read_volume(data(f"dicom-traps/derived/{name}"))
    assert np.array_equal(volume.hu, base_dicom.hu)
    assert np.allclose(volume.affine, base_dicom.affine, atol=1e-3)
    assert AS_BASE_DICOM[name] in " ".join(volume.notes)


def test_one_series_of_a_mixed_archive_reads_alone(data: Callable[[str], Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(data("dicom-traps/real/dicomdir_ct_mr_cr.zip")) as archive:
        for name in archive.namelist():
            if "98892001/CT5N" in name and not name.endswith("/"):
                archive.extract(name, tmp_path)
    volume = read_volume(tmp_path, whole=False)
    assert volume.shape == (16, 16, 5)
    assert volume.spacing == pytest.approx((0.488, 0.488, 2.5), abs=1e-3)
    assert (volume.hu.min(), volume.hu.max()) == (-888, 85)
    assert volume.hu.mean() == pytest.approx(-138.531, abs=1e-3)
    with pytest.raises(UserError, match="not a volume"):
        read_volume(tmp_path)


def test_both_jpeg_flavours_decode_to_the_same_mean(data: Callable[[str], Path]) -> None:
    from reg2rg.ct import archive, pixels, scans

    for name in ("mr_jpeg_lossless", "mr_jpegls"):
        path = data(f"dicom-traps/real/{name}.zip")
        slices = [s for n in archive.members(path) if (s := scans.member_slice(path, n))]
        assert np.mean([pixels.decode(s).values for s in slices]) == pytest.approx(127.0475, abs=1e-3)


def test_a_tree_of_series_gives_one_scan_a_series(data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REG2RG_SALT", "salt")
    mixed = find_scans(data("dicom-traps/derived/two_series_mixed"))
    assert [len(s.files) for s in mixed] == [10, 10] and len({s.id for s in mixed}) == 2
    means = sorted(float(read_scan(scan).hu.mean()) for scan in mixed)
    assert means == pytest.approx([-530.222, -530.176], abs=1e-3)


# --- masks -----------------------------------------------------------------------------------------------------------

MASKS = [
    ("nifti-traps/derived/mask_lung_base.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_ras.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_4d_single.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_255.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_float64.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_prob0.7.nii.gz", {1: 31128}),
    ("nifti-traps/derived/mask_lung_half_grid.nii.gz", {1: 3868}),
    ("nifti-traps/derived/mask_lung_shape_minus1.nii.gz", {1: 29694}),
    ("nifti-traps/derived/mask_empty.nii.gz", {}),
    ("nifti-traps/derived/mask_one_voxel.nii.gz", {1: 1}),
    ("cip-chest64/nifti/wholeLung-64.nii.gz", {1: 65624}),
    ("cip-chest64/nifti/lm-64.nii.gz", {9: 10164, 10: 9701, 11: 8437, 12: 9860, 13: 10940, 14: 11108, 512: 510}),
    ("cip-chest64/nrrd/lm-64.nrrd", {9: 10164, 10: 9701, 11: 8437, 12: 9860, 13: 10940, 14: 11108, 512: 510}),
    ("cip-chest64/nrrd/lm-64-transformed.nrrd", {9: 10164, 14: 11108, 512: 510}),
    ("cip-chest64/nrrd/wholeLung-64.nrrd", {1: 65624}),
    ("cip-chest64/nrrd/partial-lung-ct-64.nrrd", {9: 12243, 10: 11237, 11: 9370, 12: 11568, 13: 12703, 14: 13349, 512: 1161}),
    ("cip-lobes-large/crop_ct_interactiveLobeSegmentation.nrrd", {4: 1416421, 5: 1133405, 6: 1201534, 7: 2300091, 8: 1440102}),
    ("4dlung-113/masks/tumor.nii.gz", {1: 25247}),
]


@pytest.mark.parametrize("name, counts", MASKS, ids=[row[0] for row in MASKS])
def test_masks_keep_their_labels(data: Callable[[str], Path], name: str, counts: dict[int, int]) -> None:
    array, affine = read_labels(data(name))
    assert array.dtype.kind == "u" and affine.shape == (4, 4)
    assert {label: int((array == label).sum()) for label in counts} == counts
    if not counts:
        assert not array.any()


def test_mask_and_scan_meet_in_the_world(data: Callable[[str], Path], base: Volume) -> None:
    for name in ("mask_lung_base", "mask_lung_ras"):
        array, affine = read_labels(data(f"nifti-traps/derived/{name}.nii.gz"))
        assert np.allclose(affine, base.affine, atol=1e-3)
        assert base.hu[array > 0].mean() == pytest.approx(-878.901, abs=1e-3)


def test_doubtful_masks_are_noted_or_refused(data: Callable[[str], Path]) -> None:
    assert "isn't binary" in " ".join(read_label_map(data("nifti-traps/derived/mask_lung_prob0.7.nii.gz")).notes)
    assert "0/255" in " ".join(read_label_map(data("nifti-traps/derived/mask_lung_255.nii.gz")).notes)
    for name in ("simple_lm", "rind_partition-64"):
        with pytest.raises(UserError, match="no space directions"):
            read_labels(data(f"cip-chest64/nrrd/{name}.nrrd"))
    with pytest.raises(UserError, match="negative labels"):
        read_labels(data("nifti-traps/derived/mask_lung_negative.nii.gz"))


def test_a_real_ct_rewritten_as_mha_is_the_same_volume(data: Callable[[str], Path], tmp_path: Path) -> None:
    import SimpleITK as sitk

    source = data("cip-chest64/nifti/ct-64.nii.gz")
    sitk.WriteImage(sitk.ReadImage(str(source)), str(tmp_path / "ct.mha"), useCompression=True)
    volume, original = read_volume(tmp_path / "ct.mha"), read_volume(source)
    assert np.array_equal(volume.hu, original.hu)
    assert np.allclose(volume.affine, original.affine, atol=1e-3)
