"""`threshold` on made-up chests: right places, no flips, what is out of view, what can't be told, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reg2rg_plugins.segmenters.threshold import Threshold
from samples_chest import Chest, chest, crop, dice, recall

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

ABOVE = {"breast", "heart", "mediastinum", "esophagus", "thyroid", "trachea and bronchie"}


@pytest.fixture(scope="module")
def plain() -> Chest:
    return chest()


@pytest.fixture(scope="module")
def found(plain: Chest) -> RegionMask:
    return Threshold().segment(plain.volume)


def centre(mask: np.ndarray) -> np.ndarray:
    return np.array([axis.mean() for axis in np.nonzero(mask)])


@pytest.mark.parametrize("voxel", [(3.0, 3.0, 3.0), (2.0, 2.0, 5.0), (4.2, 4.2, 6.0)])
def test_each_organ_is_found_on_grids_of_any_spacing(voxel: tuple[float, float, float]) -> None:
    made = chest(voxel)
    mask = Threshold().segment(made.volume)
    assert mask.bits.shape == made.volume.shape
    assert dice(mask.mask("lung"), made.solids["lung"]) > 0.97
    assert dice(mask.mask("heart"), made.solids["heart"]) > 0.85
    assert dice(mask.mask("trachea and bronchie"), made.solids["airway"]) > 0.9
    assert dice(mask.mask("mediastinum"), made.solids["mediastinum"] & ~made.solids["heart"] & ~made.solids["airway"]) > 0.75
    assert recall(mask.mask("abdomen"), made.solids["liver"]) > 0.85
    assert recall(mask.mask("bone"), made.solids["spine"]) > 0.95 and recall(mask.mask("bone"), made.solids["ribs"]) > 0.9


def test_organs_lie_where_they_belong(plain: Chest, found: RegionMask) -> None:
    middle = plain.volume.shape[0] / 2
    heart, lung, bone, abdomen = (centre(found.mask(r)) for r in ("heart", "lung", "bone", "abdomen"))
    assert heart[0] < middle - 2, "the heart lies to the patient's left, where x is small"
    assert heart[1] > bone[1] and heart[2] < lung[2] and abdomen[2] < heart[2]
    assert abs(lung[0] - middle) < 6 and abs(centre(found.mask("trachea and bronchie"))[0] - middle) < 2


def test_a_mirrored_chest_gives_a_mirrored_heart(plain: Chest, found: RegionMask) -> None:
    volume = plain.volume
    mirrored = Threshold().segment(Volume(np.ascontiguousarray(volume.hu[::-1]), volume.affine))
    assert centre(mirrored.mask("heart"))[0] > volume.shape[0] / 2 + 2
    assert dice(mirrored.mask("lung")[::-1], found.mask("lung")) > 0.99


def test_the_table_belongs_to_nothing(plain: Chest, found: RegionMask) -> None:
    assert not found.bits[:, :7].any() and plain.volume.hu[:, :7].max() > 0


def test_pleura_is_a_shell_at_the_lungs(found: RegionMask) -> None:
    lung, pleura = found.mask("lung"), found.mask("pleura")
    assert 0.2 * lung.sum() < pleura.sum() < 1.2 * lung.sum()
    assert 0.2 < recall(pleura, lung) < 0.8 and not (pleura & found.mask("bone")).any()


def test_contrast_in_heart_and_aorta_is_no_bone() -> None:
    made = chest(blood=350.0)
    mask = Threshold().segment(made.volume)
    assert recall(mask.mask("bone"), made.solids["heart"]) < 0.01 and recall(mask.mask("bone"), made.solids["aorta"]) < 0.1
    assert recall(mask.mask("bone"), made.solids["spine"]) > 0.95
    assert dice(mask.mask("heart"), made.solids["heart"]) > 0.85


def test_it_says_what_it_cannot_give(found: RegionMask) -> None:
    assert set(REGIONS) - found.given == {"esophagus", "thyroid"}
    assert found.missing()["esophagus"] == "this segmenter can't give it"
    assert [note.split(":")[0] for note in found.notes] == ["thyroid", "esophagus"]


def test_lung_bases_alone_put_the_chest_out_of_view(plain: Chest) -> None:
    top = round(134 / 3)
    mask = Threshold().segment(crop(plain.volume, z=slice(0, top)))
    assert set(mask.present()) == {"abdomen", "bone", "lung", "pleura"}
    assert {r for r, why in mask.missing().items() if why == "not in the field of view"} == ABOVE
    assert "abdominal CT" in mask.notes[0]


def test_a_chest_cut_at_the_apices_has_no_thyroid_in_view(plain: Chest) -> None:
    mask = Threshold().segment(crop(plain.volume, z=slice(0, 80)))
    assert mask.missing()["thyroid"] == "not in the field of view" and "heart" in mask.present()


def test_a_slab_without_domes_has_no_abdomen_in_view(plain: Chest) -> None:
    mask = Threshold().segment(crop(plain.volume, z=slice(52, 100)))
    assert mask.missing()["abdomen"] == "not in the field of view" and "lung" in mask.present()


@pytest.mark.parametrize("side", ["right", "left"])
def test_half_a_chest_keeps_heart_and_mediastinum(plain: Chest, side: str) -> None:
    middle = plain.volume.shape[0] // 2
    x = slice(middle - 12, None) if side == "right" else slice(0, middle + 12)
    mask = Threshold().segment(crop(plain.volume, x=x))
    truth = {k: v[x] for k, v in plain.solids.items()}
    assert dice(mask.mask("lung"), truth["lung"]) > 0.95
    assert recall(mask.mask("heart"), truth["heart"]) > 0.6 and recall(mask.mask("bone"), truth["spine"]) > 0.9


def test_side_walls_cut_off_do_not_turn_lungs_into_outside_air(plain: Chest) -> None:
    window = (slice(24, 96), slice(14, 80))
    mask = Threshold().segment(crop(plain.volume, *window))
    assert dice(mask.mask("lung"), plain.solids["lung"][window]) > 0.95
    assert dice(mask.mask("heart"), plain.solids["heart"][window]) > 0.8


def _volume(hu: np.ndarray) -> Volume:
    return Volume(hu.astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]), "scan.nii.gz")


@pytest.mark.parametrize(
    "hu",
    [
        np.full((40, 40, 30), -1000),
        np.zeros((40, 40, 30)),
        np.random.default_rng(0).normal(0, 500, (40, 40, 30)).clip(-1024, 3071),
        np.full((2, 2, 2), -850),
    ],
    ids=["air", "water", "noise", "tiny"],
)
def test_what_shows_no_lung_is_refused_in_a_sentence(hu: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"scan\.nii\.gz: no lungs found: not a chest CT, or the lungs are not in view\."):
        Threshold().segment(_volume(hu))


def test_a_belly_without_lungs_is_refused(plain: Chest) -> None:
    with pytest.raises(UserError, match="no lungs found"):
        Threshold().segment(crop(plain.volume, z=slice(0, 30)))


def test_the_same_volume_gives_the_same_mask_and_stays_as_it_was(plain: Chest, found: RegionMask) -> None:
    before = plain.volume.hu.copy()
    assert np.array_equal(Threshold().segment(plain.volume).bits, found.bits)
    assert np.array_equal(plain.volume.hu, before)


def test_the_fingerprint_holds_version_and_options() -> None:
    assert Threshold().fingerprint == Threshold().fingerprint
    assert len({Threshold().fingerprint, Threshold(grid_mm=2.0).fingerprint, Threshold(lung_hu=-500).fingerprint}) == 3
    with pytest.raises(UserError, match="grid_mm is 40"):
        Threshold(grid_mm=40.0)


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.tuples(st.integers(0, 40), st.integers(30, 90))] * 3))
def test_any_crop_is_segmented_or_refused(box: tuple[tuple[int, int], ...]) -> None:
    made = _coarse_chest()
    parts = [slice(a, max(a + 2, a + n)) for a, n in box]
    volume = crop(made.volume, *parts)
    if min(volume.shape) < 2:
        return
    try:
        mask = Threshold().segment(volume)
    except UserError as error:
        assert "no lungs found" in error.what
        return
    assert mask.bits.shape == volume.shape and {"lung", "pleura"} <= mask.given <= Threshold.regions
    assert mask.mask("lung").any() and not (mask.mask("lung") & (volume.hu > 1000)).any()


_MADE: list[Chest] = []


def _coarse_chest() -> Chest:
    if not _MADE:
        _MADE.append(chest((4.5, 4.5, 4.5)))
    return _MADE[0]
