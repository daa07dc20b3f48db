"""`precomputed`: every form of masks, orientation and grid checks, and one sentence for each fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reg2rg_plugins.segmenters import _maskcanvas, _maskslabs
from reg2rg_plugins.segmenters.precomputed import Precomputed

from reg2rg import plugins
from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

SHAPE = (12, 10, 8)


@pytest.fixture
def volume() -> Volume:
    affine = np.diag([2.0, 2.5, 4.0, 1.0])
    affine[:3, 3] = (-30.0, 12.5, -700.25)
    return Volume(np.zeros(SHAPE, np.int16), affine)


def solid(region: str) -> np.ndarray:
    """A box of its own for each region, off the middle on each axis."""
    mask = np.zeros(SHAPE, bool)
    i = REGIONS.index(region)
    mask[1 + i % 3 : 4 + i % 4, 2:5, i % 5 : 6] = True
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, affine), path)
        return path
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    lps = np.diag([-1.0, -1.0, 1.0])
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((lps @ affine[:3, 3]).tolist())
    sitk.WriteImage(image, str(path))
    return path


def turned(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same image stored in another orientation."""
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    return nib.orientations.apply_orientation(array, turn), affine @ nib.orientations.inv_ornt_aff(turn, array.shape)


def read(masks: Path, volume: Volume, names: Path | None = None) -> RegionMask:
    return Precomputed(names=names).for_study(masks).segment(volume)


def test_a_folder_of_region_files(tmp_path: Path, volume: Volume) -> None:
    for name, region in (("heart", "heart"), ("Trachea_and_Bronchi", "trachea and bronchie"), ("lungs", "lung")):
        save(tmp_path / f"{name}.nii.gz", solid(region).astype(np.uint8), volume.affine)
    save(tmp_path / "thyroid.nii.gz", np.zeros(SHAPE, np.uint8), volume.affine)
    save(tmp_path / "kidney.nii.gz", solid("abdomen").astype(np.uint8), volume.affine)
    (tmp_path / "readme.txt").write_text("not a mask")
    mask = read(tmp_path, volume)
    assert mask.given == {"heart", "trachea and bronchie", "lung", "thyroid"}
    assert mask.present() == ("heart", "lung", "trachea and bronchie")
    assert mask.missing()["thyroid"] == "not in the field of view"
    assert mask.missing()["bone"] == "this segmenter can't give it"
    assert all(np.array_equal(mask.mask(r), solid(r)) for r in mask.present())
    assert mask.notes == ("not named after a region, left aside: kidney.nii.gz",)


@pytest.mark.parametrize("form", ["file", "folder"])
def test_one_file_of_bits(tmp_path: Path, volume: Volume, form: str) -> None:
    bits = sum((solid(r).astype(np.uint16) << i for i, r in enumerate(REGIONS) if r != "breast"), np.zeros(SHAPE, np.uint16))
    path = save(tmp_path / "seg_x.nii.gz", bits.astype(np.uint16), volume.affine)
    mask = read(path if form == "file" else tmp_path, volume)
    assert mask.given == set(REGIONS) and mask.missing() == {"breast": "not in the field of view"}
    assert np.array_equal(mask.bits, bits)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SLP"])
def test_every_orientation_and_format_is_turned(tmp_path: Path, volume: Volume, ending: str, codes: str) -> None:
    array, affine = turned(solid("heart").astype(np.uint8), volume.affine, codes)
    mask = read(save(tmp_path / f"heart{ending}", array, affine), volume)
    assert mask.given == {"heart"} and np.array_equal(mask.mask("heart"), solid("heart"))


@pytest.mark.parametrize(
    "name, text",
    [
        ("t.yaml", "1: lung\n2: lungs\n7: heart\n9: breast\n"),
        ("t.yml", "lung: [1, 2]\nheart: 7\nbreast: 9\n"),
        ("t.json", json.dumps({"1": "lung", "2": "lung", "7": "heart", "9": "breast"})),
        ("t.csv", "label,region\n1,lung\n2,lung\n7,heart\n9,breast\n"),
        ("t.tsv", "label\tregion\n1\tlung\n2\tlung\n7\theart\n9\tbreast\n"),
        ("u.csv", "lung,1\nlung,2\nheart,7\nbreast,9\n"),
    ],
)
def test_a_label_map_with_a_table(tmp_path: Path, volume: Volume, name: str, text: str) -> None:
    labels = np.zeros(SHAPE, np.int16)
    labels[:4], labels[4:6], labels[6:9], labels[9] = 1, 2, 7, 300
    table = tmp_path / name
    table.write_text(text)
    mask = read(save(tmp_path / "m" / "map.nii.gz", labels, volume.affine), volume, table)
    assert mask.given == Precomputed(names=table).regions == {"lung", "heart", "breast"}
    assert mask.mask("lung")[:6].all() and mask.mask("heart")[6:9].all() and not mask.bits[9:].any()
    assert mask.notes == ("map.nii.gz: labels without a name were left out: 300",)
    assert np.array_equal(read(tmp_path / "m", volume, table).bits, mask.bits)


@pytest.mark.parametrize(
    "array, said",
    [
        (solid("lung"), None),
        (solid("lung") * np.uint8(255), "255 was read as inside"),
        (solid("lung").astype(np.float64), None),
        (np.where(solid("lung"), 0.7, 0.2).astype(np.float32), "values from 0.5 on count as inside"),
        (np.where(solid("lung"), 1.0, np.nan).astype(np.float32), None),
        (solid("lung").astype(np.uint8)[..., None], None),
    ],
    ids=["0/1", "0/255", "float", "probability", "nan", "4-D"],
)
def test_masks_that_are_not_plainly_binary(tmp_path: Path, volume: Volume, array: np.ndarray, said: str | None) -> None:
    array = array.astype(np.uint8) if array.dtype == bool else array
    mask = read(save(tmp_path / "lung.nii.gz", array, volume.affine), volume)
    assert np.array_equal(mask.mask("lung"), solid("lung"))
    assert [said in note for note in mask.notes] == ([True] if said else [])


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u4", "f4", ">f8"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLP"])
def test_plain_masks_are_never_held_whole(
    tmp_path: Path, volume: Volume, dtype: str, codes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_maskslabs, "SLAB", 300)  # a slice or a few
    monkeypatch.setattr(_maskcanvas, "read_stored", lambda *_: pytest.fail("read whole"))
    for region, ending in (("heart", ".nii.gz"), ("lung", ".nii")):
        array, affine = turned(solid(region).astype(dtype), volume.affine, codes)
        save(tmp_path / f"{region}{ending}", array, affine)
    mask = read(tmp_path, volume)
    assert all(np.array_equal(mask.mask(r), solid(r)) for r in ("heart", "lung")) and mask.present() == ("heart", "lung")


def test_what_is_unusual_late_in_a_file_is_read_right_too(
    tmp_path: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_maskslabs, "SLAB", 1)
    array = np.zeros(SHAPE, np.float32)
    array[2:4, 3:5, 1], array[5, 5, 4], array[0, 0, 7] = 1.0, 0.7, 0.3
    save(tmp_path / "lung.nii.gz", array, volume.affine)
    mask = read(tmp_path, volume)
    assert np.array_equal(mask.mask("lung"), array >= 0.5) and "0.5 on count as inside" in mask.notes[0]


def test_two_files_of_one_region_are_joined(tmp_path: Path, volume: Volume) -> None:
    save(tmp_path / "lung.nii.gz", solid("lung").astype(np.uint8), volume.affine)
    save(tmp_path / "lungs.nii.gz", solid("heart").astype(np.uint8), volume.affine)
    mask = read(tmp_path, volume)
    assert np.array_equal(mask.mask("lung"), solid("lung") | solid("heart")) and "were joined" in mask.notes[0]


def refusal(masks: Path, volume: Volume, names: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(masks, volume, names)
    assert caught.value.fix and caught.value.where
    return str(caught.value)


def test_another_place_is_refused_with_the_offset(tmp_path: Path, volume: Volume) -> None:
    affine = volume.affine.copy()
    affine[0, 3] += 20
    said = refusal(save(tmp_path / "lung.nii.gz", solid("lung").astype(np.uint8), affine), volume)
    assert "it lies 20.00 mm off the volume's grid (R +20.0, A +0.0, S +0.0 mm at the first voxel)" in said


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([0, 1, 2]), st.floats(-0.1, 0.1))
def test_a_hundredth_of_a_millimetre_is_tolerated(tmp_path_factory: pytest.TempPathFactory, axis: int, shift: float) -> None:
    volume = Volume(np.zeros(SHAPE, np.int16), np.diag([2.0, 2.5, 4.0, 1.0]))
    affine = volume.affine.copy()
    affine[axis, 3] += shift
    path = save(tmp_path_factory.mktemp("shift") / "lung.nii", solid("lung").astype(np.uint8), affine)
    if abs(shift) < 0.0099:
        assert read(path, volume).present() == ("lung",)
    elif abs(shift) > 0.0101:
        assert "off the volume's grid" in refusal(path, volume)


def test_empty_masks_are_refused(tmp_path: Path, volume: Volume) -> None:
    save(tmp_path / "lung.nii.gz", np.zeros(SHAPE, np.uint8), volume.affine)
    assert "all masks are empty (lung)" in refusal(tmp_path, volume)
    bits = save(tmp_path / "b" / "seg_x.nii.gz", np.zeros(SHAPE, np.uint16), volume.affine)
    assert "all masks are empty." in refusal(bits, volume)


@pytest.mark.parametrize(
    "name, array, said",
    [
        ("lung", solid("lung") * np.int16(-1), "negative labels (-1)"),
        ("lung", solid("lung") * np.int16(3) + solid("heart"), "several labels"),
        ("lung", np.where(solid("lung"), 3.5, 0.2), "several labels"),
        ("seg_x", np.full(SHAPE, 2048, np.uint16), "at most 1023"),
        ("seg_x", np.full(SHAPE, 1.5, np.float32), "aren't whole numbers"),
        ("liver", np.ones(SHAPE, np.uint8), "can't be told what its labels mean"),
        ("lung", np.ones((12, 10), np.uint8), "3-D"),
        ("lung", np.ones((*SHAPE, 2), np.uint8), "3-D"),
    ],
)
def test_values_that_are_no_mask_are_refused(tmp_path: Path, volume: Volume, name: str, array: np.ndarray, said: str) -> None:
    assert said in refusal(save(tmp_path / f"{name}.nii.gz", array, volume.affine), volume)


@pytest.mark.parametrize("fast", [True, False], ids=["isal", "gzip"])
def test_broken_files_are_refused(tmp_path: Path, volume: Volume, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setitem(sys.modules, "isal", None)
    rng = np.random.default_rng(0)
    whole = save(tmp_path / "lung.nii.gz", rng.integers(0, 2, SHAPE).astype(np.uint8), volume.affine).read_bytes()
    assert read(tmp_path, volume).present() == ("lung",)
    for content, said in (
        (whole[:-40], "cut short or damaged"),
        (whole[:60] + bytes([whole[60] ^ 255]) + whole[61:], "damaged"),
        (b"<html>not found</html>", "isn't a whole NIfTI image"),
        (b"", "isn't a whole NIfTI image"),
    ):
        (tmp_path / "lung.nii.gz").write_bytes(content)
        assert said in refusal(tmp_path, volume)
    (tmp_path / "heart.nrrd").write_text("NRRD0004\nnonsense")
    assert "can't be read as an image" in refusal(tmp_path / "heart.nrrd", volume)


def test_folders_that_say_nothing_are_refused(tmp_path: Path, volume: Volume) -> None:
    assert "no such mask file or folder" in refusal(tmp_path / "nowhere", volume)
    assert "found: no image file" in refusal(tmp_path, volume)
    save(tmp_path / "liver.nii.gz", np.ones(SHAPE, np.uint8), volume.affine)
    assert "no file in it is named after a region (found: liver.nii.gz)" in refusal(tmp_path, volume)
    for name in "ab":
        save(tmp_path / f"seg_{name}.nii.gz", np.ones(SHAPE, np.uint16), volume.affine)
    assert "it holds 2 mask files" in refusal(tmp_path, volume)


def test_without_masks_it_says_how_to_give_them(volume: Volume) -> None:
    with pytest.raises(UserError, match=r"no masks were given. Say where they are: --masks DIR"):
        Precomputed().segment(volume)


@pytest.mark.parametrize(
    "text, said",
    [
        ("1: lunge\n", "label 1 has the unknown region 'lunge'. Did you mean 'lung'?"),
        ("0: lung\n", "holds no label"),
        ("1: lung\nheart: 1\n", "label 1 is both 'lung' and 'heart'"),
        ("- lung\n", "isn't a mapping"),
        ("1: [lung\n", "can't be parsed"),
        ("{}", "names no label"),
    ],
)
def test_faulty_tables_are_refused_when_the_segmenter_is_built(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        Precomputed(names=tmp_path / "t.yaml")
    assert said in str(caught.value) and "t.yaml" in str(caught.value)


def test_it_is_bound_to_a_study_as_a_copy(tmp_path: Path) -> None:
    tool = plugins.resolve("segmenter", "precomputed", {"masks": str(tmp_path)})
    bound = tool.for_study(tmp_path / "x")
    assert (tool.masks, bound.masks) == (tmp_path, tmp_path / "x") and bound.fingerprint == tool.fingerprint
    (tmp_path / "t.csv").write_text("1,lung\n")
    assert Precomputed(names=tmp_path / "t.csv").fingerprint != tool.fingerprint
