"""Both segmenters on the shared CTs: pinned are numbers only. Skips where the shared material is absent."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from reg2rg_plugins.segmenters.precomputed import Precomputed
from reg2rg_plugins.segmenters.threshold import Threshold
from samples_chest import dice, recall

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_labels, read_volume
from reg2rg.errors import UserError

AIRWAY = "trachea and bronchie"
CHEST = {"abdomen", "bone", "breast", "heart", "lung", "mediastinum", "pleura", AIRWAY}
FILES = {
    "4dlung": "4dlung-113/ct.nii.gz",
    "cip": "cip-chest64/nifti/ct-64.nii.gz",
    "ibsi": "ibsi-ct-phantom/phantom.nii.gz",
    "pulmonary": "ts-pulmonary-cta/ct.nii.gz",
    "thorax": "ts-thorax-cta/ct.nii.gz",
    "abdomen": "ts-abdomen/example_ct.nii.gz",
    "upper abdomen": "ts-abdomen/example_ct_sm.nii.gz",
}


def need(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is absent from the shared material")
    return path


@functools.lru_cache(maxsize=1)
def segmented(path: Path) -> tuple[Volume, RegionMask]:
    volume = read_volume(path)
    return volume, Threshold().segment(volume)


def labels(path: Path, volume: Volume) -> np.ndarray:
    array, affine = read_labels(path)
    assert array.shape == volume.shape and np.abs(affine - volume.affine).max() < 0.01
    return array


def out_of_view(mask: RegionMask) -> set[str]:
    return {r for r, why in mask.missing().items() if why == "not in the field of view"}


@pytest.mark.parametrize(
    "name, present, absent",
    [
        ("4dlung", CHEST, set()),
        ("cip", CHEST, set()),
        ("ibsi", CHEST - {"breast"}, {"thyroid"}),
        ("pulmonary", CHEST, {"thyroid"}),
        ("thorax", CHEST, {"thyroid"}),
        (
            "abdomen",
            {"abdomen", "bone", "lung", "pleura"},
            (CHEST | {"thyroid", "esophagus"}) - {"abdomen", "bone", "lung", "pleura"},
        ),
        (
            "upper abdomen",
            {"abdomen", "bone", "lung", "pleura"},
            (CHEST | {"thyroid", "esophagus"}) - {"abdomen", "bone", "lung", "pleura"},
        ),
    ],
)
def test_what_is_given_and_what_is_out_of_view(shared: Path, name: str, present: set[str], absent: set[str]) -> None:
    volume, mask = segmented(need(shared, FILES[name]))
    assert set(mask.present()) == present and out_of_view(mask) == absent
    assert mask.bits.shape == volume.shape
    told = {note.split(":")[0] for note in mask.notes}
    assert set(REGIONS) - mask.given <= told, "each region that isn't given has its reason in the notes"
    if {"heart", "lung"} <= present and name != "ibsi":
        x = {r: np.nonzero(mask.mask(r))[0].mean() * volume.spacing[0] for r in ("heart", "lung", AIRWAY)}
        assert x["heart"] < x[AIRWAY] + 5, "the heart lies left of the airway, where x is smaller"


def test_lungs_of_the_coarse_chest(shared: Path) -> None:
    volume, mask = segmented(need(shared, FILES["cip"]))
    truth = labels(need(shared, "cip-chest64/nifti/wholeLung-64.nii.gz"), volume) > 0
    assert dice(mask.mask("lung"), truth) > 0.975


def test_heart_and_pulmonary_artery_of_the_angiogram(shared: Path) -> None:
    volume, mask = segmented(need(shared, FILES["pulmonary"]))
    array, affine = read_labels(need(shared, "ts-pulmonary-cta/masks/heart.nii.gz"))
    start = np.rint((volume.affine[:3, 3] - affine[:3, 3]) / volume.spacing).astype(int)
    heart = array[tuple(slice(s, s + n) for s, n in zip(start, volume.shape, strict=True))] > 0
    assert heart.sum() == 198176
    assert dice(mask.mask("heart"), heart) > 0.82 and recall(mask.mask("bone"), heart) < 0.01
    artery = labels(need(shared, "ts-pulmonary-cta/masks/pulmonary_artery.nii.gz"), volume) > 0
    assert recall(mask.mask("mediastinum"), artery) > 0.8


def test_spine_and_aorta_of_the_dissection(shared: Path) -> None:
    volume, mask = segmented(need(shared, FILES["thorax"]))
    assert recall(mask.mask("bone"), labels(need(shared, "ts-thorax-cta/masks/vertebrae_T12.nii.gz"), volume) > 0) > 0.9
    assert recall(mask.mask("bone"), labels(need(shared, "ts-thorax-cta/masks/aorta.nii.gz"), volume) > 0) < 0.2


def test_hand_contours_of_the_planning_ct(shared: Path) -> None:
    volume, mask = segmented(need(shared, FILES["4dlung"]))
    folder = need(shared, "4dlung-113/masks")
    assert recall(mask.mask("bone"), labels(folder / "vertebra.nii.gz", volume) > 0) > 0.85
    assert recall(mask.mask("mediastinum"), labels(folder / "ln.nii.gz", volume) > 0) > 0.9


def test_organs_of_the_upper_abdomen(shared: Path) -> None:
    volume, mask = segmented(need(shared, FILES["upper abdomen"]))
    folder = need(shared, "ts-abdomen/masks_example_ct_sm")
    for organ in ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas"):
        assert recall(mask.mask("abdomen"), labels(folder / f"{organ}.nii.gz", volume) > 0) > 0.93, organ
    lungs = sum(labels(p, volume) > 0 for p in folder.glob("lung_*_lobe_*.nii.gz")) > 0
    assert dice(mask.mask("lung"), lungs) > 0.93


def test_an_abdomen_without_lungs_is_refused(shared: Path) -> None:
    with pytest.raises(UserError, match="no lungs found"):
        Threshold().segment(read_volume(need(shared, "ts-abdomen/dicom_j2k")))


@pytest.mark.parametrize(
    "name, said",
    [
        *((name, 31128) for name in ("base", "ras", "255", "float64", "prob0.7", "4d_single")),
        ("negative", "negative"),
        ("shape_minus1", "64×64×23"),
        ("shifted20mm", "20.00 mm off"),
    ],
)
def test_precomputed_masks_of_the_traps(shared: Path, tmp_path: Path, name: str, said: int | str) -> None:
    volume = read_volume(need(shared, "nifti-traps/derived/base_lps.nii.gz"))
    (tmp_path / "lung.nii.gz").symlink_to(need(shared, f"nifti-traps/derived/mask_lung_{name}.nii.gz"))
    if isinstance(said, str):
        with pytest.raises(UserError, match=said):
            Precomputed(tmp_path).segment(volume)
        return
    mask = Precomputed(tmp_path).segment(volume)
    assert mask.voxels() == {"lung": said} and volume.hu[mask.mask("lung")].mean() == pytest.approx(-878.901, abs=0.01)


def test_precomputed_label_maps_by_world_and_not_by_index(shared: Path, tmp_path: Path) -> None:
    volume = read_volume(need(shared, "ts-abdomen/dicom_j2k"))
    (tmp_path / "names.yaml").write_text("5: abdomen\n")
    tool = Precomputed(need(shared, "ts-abdomen/example_seg_dicom.nii.gz"), tmp_path / "names.yaml")
    mask = tool.segment(volume)
    assert mask.voxels() == {"abdomen": 366708} and volume.hu[mask.mask("abdomen")].mean() == pytest.approx(89.3, abs=0.1)
