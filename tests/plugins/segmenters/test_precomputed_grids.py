"""`precomputed` where the masks' grid isn't the scan's: resampling by place against a plain loop, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reg2rg_plugins.segmenters import _maskcanvas, _maskgrid
from reg2rg_plugins.segmenters.precomputed import Precomputed

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_volume
from reg2rg.errors import UserError

SHAPE = (12, 10, 8)
SPACING = (2.0, 2.5, 4.0)
LUNG = 1 << REGIONS.index("lung")


def scan(shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, ...] = SPACING) -> Volume:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-30.0, 12.5, -700.25)
    return Volume(np.zeros(shape, np.int16), affine)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def ball(volume: Volume, shape: tuple[int, ...], affine: np.ndarray, radius: float = 8.0) -> np.ndarray:
    """A ball round the scan's middle, drawn on any grid."""
    ijk = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    middle = volume.affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2) + volume.affine[:3, 3]
    return np.linalg.norm(ijk @ affine[:3, :3].T + affine[:3, 3] - middle, axis=-1) < radius


def nearest(mask: np.ndarray, affine: np.ndarray, volume: Volume) -> np.ndarray:
    """The plain way: each voxel of the scan asks the stored voxel in which its centre lies."""
    out = np.zeros(volume.shape, bool)
    back = np.linalg.inv(affine) @ volume.affine
    for at in np.ndindex(*volume.shape):
        i, j, k = np.floor(back[:3, :3] @ at + back[:3, 3] + 0.5 + 1e-4).astype(int)
        if all(0 <= v < n for v, n in zip((i, j, k), mask.shape, strict=True)):
            out[at] = mask[i, j, k]
    return out


def read(masks: Path, volume: Volume, names: Path | None = None) -> RegionMask:
    return Precomputed(names=names).for_study(masks).segment(volume)


def refusal(masks: Path, volume: Volume, names: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(masks, volume, names)
    assert caught.value.fix and caught.value.where
    return str(caught.value)


def grid(
    volume: Volume, spacing: tuple[float, ...], turn: float = 0.0, codes: str = "RAS"
) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid that covers the scan: other voxels, turned about z, stored in another orientation."""
    cosine, sine = np.cos(turn), np.sin(turn)
    axes = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) * spacing
    shape = tuple(int(80 / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = axes
    middle = volume.affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2) + volume.affine[:3, 3]
    affine[:3, 3] = middle - axes @ ((np.array(shape) - 1) / 2)
    to = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    return tuple(shape[int(a)] for a in np.argsort(to[:, 0])), affine @ nib.orientations.inv_ornt_aff(to, shape)


# --- resampling --------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.tuples(*[st.floats(1.5, 7.0)] * 3),
    st.sampled_from([0.0, 0.2, 1.1]),
    st.sampled_from(["RAS", "LPS", "SLP", "AIR"]),
    st.sampled_from([np.uint8, np.int16, np.float32]),
)
def test_any_grid_is_resampled_as_a_plain_loop_would(
    tmp_path_factory: pytest.TempPathFactory, spacing: tuple[float, ...], turn: float, codes: str, dtype: type
) -> None:
    volume = scan()
    shape, affine = grid(volume, spacing, turn, codes)
    mask = ball(volume, shape, affine)
    path = save(tmp_path_factory.mktemp("grid") / "lung.nii", mask.astype(dtype), affine)
    stored = np.asarray(nib.load(path).affine)  # rounded to the header's float32
    found = read(path, volume)
    assert np.array_equal(found.mask("lung"), nearest(mask, stored, volume)) and found.mask("lung").any()
    assert len(found.notes) == 1 and "on another grid" in found.notes[0] and "nearest voxel" in found.notes[0]


@pytest.mark.parametrize("turn", [0.0, 0.3], ids=["straight", "turned"])
def test_label_maps_and_bits_are_resampled_too(tmp_path: Path, turn: float) -> None:
    volume = scan()
    shape, affine = grid(volume, (3.0, 2.0, 3.5), turn)
    inner, outer = (ball(volume, shape, affine, r) for r in (5.0, 9.0))
    labels = np.where(inner, 7, np.where(outer, 300, 0))
    (tmp_path / "names.yaml").write_text("7: heart\n300: lung\n")
    found = read(save(tmp_path / "map.nii.gz", labels.astype(np.int32), affine), volume, tmp_path / "names.yaml")
    stored = np.asarray(nib.load(tmp_path / "map.nii.gz").affine)
    want = {"heart": nearest(inner, stored, volume), "lung": nearest(outer & ~inner, stored, volume)}
    assert found.given == {"heart", "lung"} and all(np.array_equal(found.mask(r), m) for r, m in want.items())
    bits = labels.astype(np.uint16)
    bits[inner], bits[outer & ~inner] = 1 << REGIONS.index("heart"), LUNG
    found = read(save(tmp_path / "seg_x.nii.gz", bits, affine), volume)
    assert found.given == set(REGIONS) and all(np.array_equal(found.mask(r), m) for r, m in want.items())


def test_a_crop_of_the_scans_own_grid_comes_back_to_the_voxel(tmp_path: Path) -> None:
    volume = scan()
    mask = ball(volume, SHAPE, volume.affine, 7.0)
    crop = tuple(slice(n[0] - 1, n[-1] + 2) for n in map(np.unique, np.nonzero(mask)))
    affine = volume.affine.copy()
    affine[:3, 3] += [s.start * mm for s, mm in zip(crop, SPACING, strict=True)]
    found = read(save(tmp_path / "heart.nii.gz", mask[crop].astype(np.uint8), affine), volume)
    assert np.array_equal(found.mask("heart"), mask)


@pytest.mark.parametrize("turn", [0.0, 0.3], ids=["straight", "turned"])
def test_resampling_holds_a_slab_at_a_time(tmp_path: Path, turn: float, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = scan((120, 100, 80), (1.0, 1.0, 1.0))
    shape, affine = grid(volume, (0.7, 0.7, 0.7), turn)
    path = save(tmp_path / "lung.nii", ball(volume, shape, affine, 25.0).astype(np.uint8), affine)
    monkeypatch.setattr(_maskgrid, "SLAB", 20_000)
    volume.hu.any()
    read(path, volume)
    tracemalloc.start()
    read(path, volume)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * volume.hu.nbytes + 3 * path.stat().st_size, "bits, the mask and a few slices: no float64 volume"


# --- what doesn't overlay ----------------------------------------------------------------------------------------------


def test_a_mask_beside_the_scan_is_refused(tmp_path: Path) -> None:
    volume = scan()
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    path = save(tmp_path / "lung.nii.gz", np.ones((10, 10, 10), np.uint8), affine)
    assert "its grid (10×10×10 voxels of 1×1×1 mm) lies beside the scan" in refusal(path, volume)


@pytest.mark.parametrize(
    "change, said",
    [
        ("none", None),
        ("shift", "20.00 mm off the volume's grid (R +20.0, A +0.0, S +0.0 mm"),
        ("turn", "mm off the volume's grid"),
        ("flip", "mm off the volume's grid"),
    ],
)
def test_the_scans_own_grid_in_another_place_is_refused(tmp_path: Path, change: str, said: str | None) -> None:
    volume = scan()
    affine = volume.affine.copy()
    if change == "shift":
        affine[0, 3] += 20
    elif change == "turn":
        affine[:2, :3] = np.array([[0.8, -0.6], [0.6, 0.8]]) @ affine[:2, :3]
    elif change == "flip":  # as where LPS was taken for RAS
        affine[0] = -affine[0]
    path = save(tmp_path / "lung.nii.gz", ball(volume, SHAPE, volume.affine).astype(np.uint8), affine)
    if said is None:
        assert read(path, volume).present() == ("lung",)
    else:
        assert said in (text := refusal(path, volume)) and "though its shape is the same" in text


@pytest.mark.parametrize("kind", ["mask", "labels", "bits"])
def test_a_mask_that_its_own_grid_cuts_off_is_refused(tmp_path: Path, kind: str) -> None:
    volume = scan()
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:6, 3:6, 4:] = 1
    name = {"mask": "lung", "labels": "map", "bits": "seg_x"}[kind]
    (tmp_path / "t.yaml").write_text("1: lung\n")
    table = tmp_path / "t.yaml" if kind == "labels" else None
    path = save(tmp_path / f"{name}.nii.gz", mask[..., :7], volume.affine)
    said = refusal(path, volume, table)
    assert "cut off at the border of its own grid (12×10×7 voxels" in said and "the scan goes on for 4.0 mm there" in said
    mask[..., 6] = 0
    assert read(save(path, mask[..., :7], volume.affine), volume, table).bits.any(), "it ends before its grid does"


@settings(max_examples=30)
@given(st.tuples(*[st.floats(0.3, 2.9)] * 3), st.booleans())
def test_grids_rounded_down_by_resampling_arent_called_cut_off(
    tmp_path_factory: pytest.TempPathFactory, factor: tuple[float, ...], centres: bool
) -> None:
    volume = scan()
    assume(all(n / f % 1 < 0.998 for n, f in zip(SHAPE, factor, strict=True)))  # a whole voxel less is one cut off
    scale = np.diag([*factor, 1.0])
    if not centres:  # outer faces are laid on each other
        scale[:3, 3] = (np.array(factor) - 1) / 2
    shape = tuple(int(n / f) for n, f in zip(SHAPE, factor, strict=True))
    path = save(tmp_path_factory.mktemp("round") / "lung.nii", np.ones(shape, np.uint8), volume.affine @ scale)
    assert read(path, volume).mask("lung").mean() > 0.2


def test_what_a_partial_grid_doesnt_tell_isnt_given(tmp_path: Path) -> None:
    volume = scan()
    crop = np.zeros((6, 6, 4), np.uint8)
    empty = save(tmp_path / "heart.nii.gz", crop, volume.affine)
    crop[2:4, 2:4, 1:3] = 1
    save(tmp_path / "lung.nii.gz", crop, volume.affine)
    found = read(tmp_path, volume)
    assert found.given == {"lung"} and found.missing()["heart"] == "this segmenter can't give it"
    save(empty, np.zeros(SHAPE, np.uint8), volume.affine)
    assert read(tmp_path, volume).missing()["heart"] == "not in the field of view"


def test_masks_that_lie_mostly_outside_are_refused_together_and_told_alone(tmp_path: Path) -> None:
    volume = scan()
    tall, affine = np.zeros((12, 10, 40), np.uint8), volume.affine.copy()  # the scan is its lowest fifth
    tall[3:6, 3:6, 20:38] = 1
    save(tmp_path / "thyroid.nii.gz", tall, affine)
    assert "only 0 % of what the masks hold lies in the scan" in refusal(tmp_path, volume)
    tall[:] = 0
    tall[1:11, 1:9, 1:7] = 1
    save(tmp_path / "lung.nii.gz", tall, affine)
    found = read(tmp_path, volume)
    assert found.missing() == {
        "thyroid": "not in the field of view",
        **dict.fromkeys(set(REGIONS) - {"lung", "thyroid"}, "this segmenter can't give it"),
    }
    assert "thyroid.nii.gz: 0 % of its mask lies in the scan" in found.notes
    assert any(note.startswith("lung.nii.gz, thyroid.nii.gz: on another grid (12×10×40") for note in found.notes)


@pytest.mark.parametrize("kind", ["nifti", "nrrd"])
def test_a_header_without_a_place_is_refused(tmp_path: Path, kind: str) -> None:
    volume = scan()
    if kind == "nifti":
        image = nib.Nifti1Image(np.ones(SHAPE, np.uint8), None)
        image.set_sform(volume.affine, code=0)
        image.set_qform(None, code=0)
        path = tmp_path / "lung.nii.gz"
        nib.save(image, path)
        assert nib.load(path).header["qform_code"] == nib.load(path).header["sform_code"] == 0
    else:
        path = tmp_path / "lung.nrrd"
        head = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 12 10 8\nencoding: raw\n\n"
        path.write_bytes(head.encode() + bytes(np.ones(SHAPE, np.uint8)))
    assert "its header has no place in the world" in refusal(path, volume)


def test_huge_labels_are_refused_not_tabled(tmp_path: Path) -> None:
    volume = scan()
    (tmp_path / "t.yaml").write_text("1: lung\n")
    for dtype in (np.int32, np.float32):
        path = save(tmp_path / "m" / "map.nii.gz", np.full(SHAPE, 2_000_000_000).astype(dtype), volume.affine)
        assert "its labels reach 2" in refusal(path, volume, tmp_path / "t.yaml")
    (tmp_path / "t.yaml").write_text("2000000000: lung\n")
    with pytest.raises(UserError, match="label 2000000000 is too large"):
        Precomputed(names=tmp_path / "t.yaml")


def test_float_label_maps_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reg2rg_plugins.segmenters import _maskfile

    monkeypatch.setattr(_maskfile, "_PIECE", 37)
    volume = scan()
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3
    (tmp_path / "t.yaml").write_text("2: lung\n1: heart\n")
    values = np.where(labels == 0, np.nan, labels).astype(np.float64)
    found = read(save(tmp_path / "map.nii.gz", values, volume.affine), volume, tmp_path / "t.yaml")
    assert np.array_equal(found.mask("lung"), labels == 2) and np.array_equal(found.mask("heart"), labels == 1)
    values[-1, -1, -1] = np.inf
    assert "aren't whole" in refusal(save(tmp_path / "map.nii.gz", values, volume.affine), volume, tmp_path / "t.yaml")


def test_masks_on_the_scans_grid_stay_on_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_maskcanvas, "resample", lambda *_: pytest.fail("resampled"))
    volume = scan()
    found = read(save(tmp_path / "lung.nii.gz", np.ones(SHAPE, np.uint8), volume.affine), volume)
    assert found.mask("lung").all() and found.notes == ()


# --- the shared traps --------------------------------------------------------------------------------------------------


def need(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is absent from the shared material")
    return path


def as_region(path: Path, folder: Path, region: str = "lung") -> Path:
    """The file under a region's name."""
    link = folder / (region + "".join(s for s in path.suffixes if s in (".nii", ".gz", ".nrrd", ".mha")))
    link.symlink_to(path)
    return link


def test_half_grid_and_heart_by_world(shared: Path, tmp_path: Path) -> None:
    traps = "nifti-traps/derived"
    volume = read_volume(need(shared, f"{traps}/base_lps.nii.gz"))
    half = read(as_region(need(shared, f"{traps}/mask_lung_half_grid.nii.gz"), tmp_path), volume)
    (tmp_path / "base").mkdir()
    base = read(as_region(need(shared, f"{traps}/mask_lung_base.nii.gz"), tmp_path / "base"), volume)
    both = np.count_nonzero(half.mask("lung") & base.mask("lung"))
    assert half.voxels() == {"lung": 29892} and 2 * both / (29892 + 31128) == pytest.approx(0.929, abs=5e-4)
    angiogram = read_volume(need(shared, "ts-pulmonary-cta/ct.nii.gz"))
    heart = read(need(shared, "ts-pulmonary-cta/masks/heart.nii.gz"), angiogram)
    assert heart.voxels() == {"heart": 198176}
    assert angiogram.hu[heart.mask("heart")].mean() == pytest.approx(405.2, abs=0.1)


@pytest.mark.parametrize(
    "ct, mask, said",
    [
        ("nifti-traps/derived/base_lps.nii.gz", "nifti-traps/derived/mask_lung_shape_minus1.nii.gz", "cut off at the border"),
        ("nifti-traps/derived/base_lps.nii.gz", "nifti-traps/derived/mask_lung_shifted20mm.nii.gz", "20.00 mm off"),
        ("nifti-traps/derived/base_lps.nii.gz", "nifti-traps/derived/mask_empty.nii.gz", "all masks are empty"),
        ("cip-chest64/nifti/ct-64.nii.gz", "cip-chest64/nrrd/rind_partition-64.nrrd", "no place in the world"),
        (
            "lesion-mha/PartSolidLesionCropped.mha",
            "lesion-mha/PartSolidLesionCroppedManualInitialization1.mha",
            "97.20 mm off the volume's grid",
        ),
        ("cip-chest64/nrrd/ct-64-transformed.nrrd", "cip-chest64/nrrd/wholeLung-64.nrrd", "off the volume's grid"),
    ],
    ids=["minus1", "shifted", "empty", "nowhere", "directions", "rotated"],
)
def test_shared_masks_that_dont_overlay(shared: Path, tmp_path: Path, ct: str, mask: str, said: str) -> None:
    volume = read_volume(need(shared, ct))
    assert said in refusal(as_region(need(shared, mask), tmp_path), volume)
