"""Each flag on a study made for it, none on a sound one, and none where a crop explains what is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from samples_body import Masks, chest, put, study

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_scan
from reg2rg.data.boxes import measure
from reg2rg.data.layouts import discover
from reg2rg.data.store import Store
from reg2rg.phantom import write_phantom
from reg2rg.plugins import resolve
from reg2rg.preprocess import preprocess, read_table
from reg2rg.preprocess.qc import Quality, measure_quality
from reg2rg.preprocess.qc_rules import HU, RANGES, cut_regions, explain, flags, left_right

Change = Callable[[np.ndarray, Masks], tuple[np.ndarray, Masks] | None]


def quality(change: Change | None = None, spacing: tuple[float, float, float] = (4.0, 4.0, 5.0)) -> Quality:
    hu, masks = chest()
    hu, masks = (change and change(hu, masks)) or (hu, masks)
    volume, mask = study(hu, masks, spacing)
    return measure_quality(volume, mask, measure(volume.hu, mask.bits))


def names(found: Quality) -> list[str]:
    return [flag.name for flag in flags(found)]


def flipped(axis: int) -> Change:
    return lambda hu, masks: (np.flip(hu, axis), {r: np.flip(m, axis) for r, m in masks.items()})


def without(*regions: str) -> Change:
    return lambda hu, masks: (hu, {r: m for r, m in masks.items() if r not in regions})


def emptied(region: str) -> Change:
    return lambda hu, masks: masks[region].fill(False)


def lungs_become_pleura(hu: np.ndarray, masks: Masks) -> None:
    masks["pleura"] = masks["lung"].copy()


def left_lung_lost(hu: np.ndarray, masks: Masks) -> None:
    masks["lung"][:40] = False


def heart_in_crumbs(hu: np.ndarray, masks: Masks) -> None:
    for i in range(6):
        put(masks["heart"], ((8 * i + 16, 8 * i + 22), (47, 49), (48, 60)), True)


def masks_moved(hu: np.ndarray, masks: Masks) -> tuple[np.ndarray, Masks]:
    return hu, {r: np.roll(m, 22, axis=0) for r, m in masks.items()}


def half_a_heart(hu: np.ndarray, masks: Masks) -> None:
    put(masks["heart"], ((0, 80), (0, 60), (30, 80)), False)


def heart_moved(hu: np.ndarray, masks: Masks) -> None:
    masks["heart"] = np.roll(masks["heart"], -5, axis=0)


def mirrored_without_belly(hu: np.ndarray, masks: Masks) -> tuple[np.ndarray, Masks]:
    hu, masks = without("abdomen")(hu, masks)  # type: ignore[misc]
    return flipped(0)(hu, masks)  # type: ignore[return-value]


CASES: dict[str, tuple[Change, list[str]]] = {
    "sound": (lambda hu, masks: None, []),
    "mirrored": (flipped(0), ["mirrored"]),
    "mirrored, no abdomen": (mirrored_without_belly, ["heart on the right"]),
    "upside down": (flipped(2), ["upside down"]),
    "back to front": (flipped(1), ["back to front"]),
    "alike": (lungs_become_pleura, ["lung and pleura alike"]),
    "one lung": (left_lung_lost, ["lungs unequal"]),
    "no heart": (emptied("heart"), ["heart not in view"]),
    "no pleura": (emptied("pleura"), ["pleura not in view"]),
    "no thyroid": (emptied("thyroid"), []),
    "not given": (without("esophagus", "heart", "bone"), []),
    "crumbs": (heart_in_crumbs, ["heart scattered"]),
    "heart over the lung": (heart_moved, ["heart not on its organ"]),
    "small heart": (half_a_heart, ["heart too small"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_made_fault_raises_its_flag_and_no_other(case: str) -> None:
    change, expected = CASES[case]
    assert names(quality(change)) == expected


def test_masks_of_another_place_are_not_on_their_organs() -> None:
    assert {"heart not on its organ", "bone not on its organ"} <= set(names(quality(masks_moved)))


@pytest.mark.parametrize("scale, word", [(0.5, "too small"), (2.5, "too large")])
def test_a_wrong_voxel_size_shows_in_the_volumes(scale: float, word: str) -> None:
    found = names(quality(spacing=(4 * scale, 4 * scale, 5 * scale)))
    assert {f"lung {word}", f"heart {word}"} <= set(found)
    assert all(word in name for name in found)


@pytest.mark.parametrize("region", ["lung", "heart"])
def test_a_crop_is_never_too_small(region: str) -> None:
    box = {"lung": (slice(20, 60), slice(None), slice(30, 50)), "heart": (slice(40, 80), slice(None), slice(None))}[region]
    found = quality(lambda hu, masks: (hu[box], {r: m[box] for r, m in masks.items()}))
    assert found.regions[region].ml < RANGES[region].low and found.regions[region].cut
    assert names(found) == [] and region in cut_regions(found)


def test_an_abdominal_scan_may_lack_the_heart() -> None:
    def low(hu: np.ndarray, masks: Masks) -> tuple[np.ndarray, Masks]:
        return hu[:, :, :26], {r: m[:, :, :26] for r, m in masks.items()}

    found = quality(low)
    assert not found.regions["heart"].ml and names(found) == []


def test_a_hemithorax_says_nothing_of_the_heart_s_side() -> None:
    def right(hu: np.ndarray, masks: Masks) -> tuple[np.ndarray, Masks]:
        return hu[38:], {r: m[38:] for r, m in masks.items()}

    found = quality(right)
    heart = found.regions["heart"].centre
    assert found.spine and heart and "left" in found.regions["heart"].cut
    assert names(found) == []


def test_the_words_say_how_much() -> None:
    assert {f.name: f.words for f in flags(quality(flipped(0)))}["mirrored"].startswith("the heart's centre lies 16 mm right")
    words = {f.name: f.words for f in flags(quality(lungs_become_pleura))}["lung and pleura alike"]
    assert words == "the masks of lung and pleura are nearly one (Dice 1.00)"
    assert left_right(quality()) == pytest.approx(0.859, abs=1e-3)


def test_each_region_has_a_range_and_each_kind_of_flag_an_explanation() -> None:
    assert set(RANGES) == set(REGIONS) and all(0 < r.low < r.high and r.why for r in RANGES.values())
    assert all(low < high and why for low, high, why in HU.values())
    told = explain()
    for change, expected in CASES.values():
        for name in expected:
            assert any(name.endswith(part) for key in told for part in key.split(", ")), name
        assert all("; " not in flag.words and "; " not in flag.name for flag in flags(quality(change)))


@pytest.mark.parametrize("scan", ["cip-chest64/nifti/ct-64.nii.gz", "ts-thorax-cta/ct.nii.gz"])
def test_real_scans_are_sound_and_their_mirror_images_are_not(scan: str, shared: Path) -> None:
    path = shared / "data" / scan
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    volume = read_scan(discover(path)[0].scan)
    mask = resolve("segmenter", "threshold").segment(volume)
    assert names(measure_quality(volume, mask, measure(volume.hu, mask.bits))) == []
    turned = Volume(volume.hu[::-1], volume.affine), RegionMask(mask.bits[::-1], mask.given)
    assert names(measure_quality(*turned, measure(turned[0].hu, turned[1].bits))) == ["mirrored"]
    astray = volume, RegionMask(mask.bits[::-1], mask.given)
    assert any(
        name.endswith("not on its organ") for name in names(measure_quality(*astray, measure(volume.hu, mask.bits[::-1])))
    )


def test_phantoms_of_any_profile_are_sound(tmp_path: Path) -> None:
    write_phantom(tmp_path / "demo", studies=6, seed=1, size="small", masks="bits", workers=1)
    write_phantom(tmp_path / "strict", studies=4, seed=2, size="small", masks="bits", workers=1, profile="strict")
    for name in ("demo", "strict"):
        preprocess(tmp_path / name, tmp_path / f"{name}-store", segmenter="precomputed")
        rows = read_table(tmp_path / f"{name}-store")
        assert len(rows) == len(Store(tmp_path / f"{name}-store").ids())
        assert [(row["study"], row["why"]) for row in rows if row["flags"]] == []
