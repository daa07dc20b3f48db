"""The drawing: anatomy in place, masks true, every finding visible where its sentence stands."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from reg2rg.anatomy import FINDING_REGION, FINDINGS, REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError
from reg2rg.phantom import Plan, Rendered, plan_study, render, voxels
from reg2rg.phantom.look import PROFILES, Profile
from reg2rg.phantom.plan import _place, stream

# In the strict profile a thin wall has a sheath in the lung around it.
SPREAD = {("Peribronchial thickening", "strict")}
GEOMETRY = {"Cardiomegaly", "Pericardial effusion", "Hiatal hernia"}


def _mask(drawn: Rendered, region: str) -> np.ndarray:
    return (drawn.bits >> REGIONS.index(region)) & 1 == 1


def _with(profile: Profile, *names: str, index: int = 0) -> Plan:
    """A person with just these findings; the place of each is the same whatever else there is."""
    plan = plan_study(8, index, profile)
    findings = tuple(_place(stream(8, index, 100 + FINDINGS.index(n)), n, plan.person, plan.look) for n in names)
    return dataclasses.replace(plan, findings=findings, distractors=())


@cache
def _drawn(profile: Profile, *names: str, index: int = 0) -> Rendered:
    return render(_with(profile, *names, index=index))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_study_is_a_valid_volume_with_its_regions(profile: Profile) -> None:
    for index in range(8):
        plan = plan_study(1, index, profile)
        drawn = render(plan)
        volume, mask = Volume(drawn.hu, drawn.affine), RegionMask(drawn.bits, frozenset(REGIONS))
        assert [n * s for n, s in zip(volume.shape, volume.spacing, strict=True)] == pytest.approx([432, 432, 384])
        assert profile == "strict" or volume.shape == (96, 96, 48)
        assert mask.present() == tuple(r for r in REGIONS if r != "thyroid" or plan.person.thyroid)


def test_sizes_share_the_solids() -> None:
    """The same study has the same region volumes on a finer grid."""
    small, medium = render(plan_study(1, 4)), render(plan_study(1, 4), "medium")
    for region in REGIONS:
        a = _mask(small, region).sum() * 4.5 * 4.5 * 8
        b = _mask(medium, region).sum() * 2.25 * 2.25 * 4
        assert abs(a - b) <= max(0.08 * b, 3000), region


def test_slabs_draw_what_the_whole_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_study(1, 5, "strict")
    whole = render(plan)
    monkeypatch.setattr(voxels, "_SLAB", 96 * 96 * 7)
    parts = render(plan)
    assert np.array_equal(whole.hu, parts.hu) and np.array_equal(whole.bits, parts.bits)


def test_unknown_size_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'medium'"):
        render(plan_study(1, 0), "medum")


def test_tissues_have_their_densities() -> None:
    drawn = _drawn("demo")
    assert -900 < drawn.hu[_mask(drawn, "lung")].mean() < -650
    assert drawn.hu[_mask(drawn, "bone")].mean() > 250
    assert 40 < np.median(drawn.hu[_mask(drawn, "heart")]) < 260
    assert drawn.hu[_mask(drawn, "trachea and bronchie")].min() < -950
    assert drawn.hu[:4, :4].mean() < -950 and 25 < drawn.hu[:4, :4, 20:40].std() < 45


def test_regions_lie_where_they_should() -> None:
    """RAS: the heart left of the spine's middle and before it, the thyroid on top, the abdomen below."""
    for index in range(6):
        drawn = _drawn("demo", index=index)
        middle = {r: np.argwhere(_mask(drawn, r)).mean(axis=0) for r in REGIONS if _mask(drawn, r).any()}
        assert middle["heart"][0] < middle["bone"][0] - 1
        assert middle["breast"][1] > middle["heart"][1] > middle["esophagus"][1]
        assert middle["abdomen"][2] < middle["heart"][2] < middle["trachea and bronchie"][2]
        liver = drawn.hu[int(middle["abdomen"][0]) :][_mask(drawn, "abdomen")[int(middle["abdomen"][0]) :]]
        other = drawn.hu[: int(middle["abdomen"][0])][_mask(drawn, "abdomen")[: int(middle["abdomen"][0])]]
        assert liver.mean() > other.mean()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_shows_in_its_region(name: str, profile: Profile) -> None:
    """Against the same person without it, voxels of the region change, most of all changes lie in it."""
    for index in range(3):
        before, after = _drawn(profile, index=index), _drawn(profile, name, index=index)
        home = _mask(after, FINDING_REGION[name]) | _mask(before, FINDING_REGION[name])
        changed = (np.abs(after.hu.astype(int) - before.hu) > 40) | (
            _mask(before, FINDING_REGION[name]) != _mask(after, FINDING_REGION[name])
        )
        assert (changed & home).sum() >= 12
        if name not in GEOMETRY and (name, profile) not in SPREAD:
            assert (changed & home).sum() > 0.5 * changed.sum()


def test_a_heart_without_other_findings_has_the_volume_of_its_ellipsoid() -> None:
    for index in range(4):
        plan = _with("strict", index=index)
        kx, ky, kz = plan.person.scale
        ellipsoid = 4 / 3 * np.pi * 55 * 40 * 42 * kx * ky * kz * plan.person.heart**3
        drawn = _drawn("strict", index=index)
        assert _mask(drawn, "heart").sum() * np.linalg.det(drawn.affine[:3, :3]) == pytest.approx(ellipsoid, rel=0.1)


def _crop(drawn: Rendered, region: str) -> np.ndarray:
    """The masked crop at a fixed size, as an encoder sees it."""
    import torch

    inside = _mask(drawn, region)
    box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(inside))
    crop = torch.from_numpy(np.where(inside, drawn.hu, -1000)[box].astype(np.float32))
    return torch.nn.functional.adaptive_avg_pool3d(crop[None], (12, 12, 6))[0].numpy()


@pytest.mark.parametrize(
    ("name", "region"), [("Cardiomegaly", "heart"), ("Pericardial effusion", "heart"), ("Hiatal hernia", "esophagus")]
)
def test_geometry_findings_leave_the_crop_alone_in_strict(name: str, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size or place changes, but the crop resized to its box stays about the same: that is what `strict` is for."""
    monkeypatch.setattr(voxels, "NOISE", 0.0)
    for index in (0, 2):
        before, after = render(_with("strict", index=index), "medium"), render(_with("strict", name, index=index), "medium")
        assert np.corrcoef(_crop(before, region).ravel(), _crop(after, region).ravel())[0, 1] > 0.9
        one, two = _mask(before, region), _mask(after, region)
        grown = two.sum() / one.sum()
        if region == "heart":
            assert grown > 1.15
        else:
            higher = (np.argwhere(two).mean(axis=0) - np.argwhere(one).mean(axis=0))[2] * after.affine[2, 2]
            assert grown == pytest.approx(1, abs=0.05) and higher > 25


def test_fluid_and_hernias_measure_what_the_report_says() -> None:
    for index in (0, 2):
        before = render(_with("strict", index=index), "medium")
        for name, region in (("Pericardial effusion", "heart"), ("Hiatal hernia", "esophagus")):
            plan = _with("strict", name, index=index)
            after = render(plan, "medium")
            tops = [np.nonzero(_mask(drawn, region).any(axis=(0, 1)))[0][-1] * drawn.affine[2, 2] for drawn in (before, after)]
            assert tops[1] - tops[0] == pytest.approx(plan.findings[0].size, abs=after.affine[2, 2])


@pytest.mark.parametrize("name", ["Peribronchial thickening", "Interlobular septal thickening"])
def test_detail_leaves_the_mean_density_alone_in_strict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a wall or a septum adds, its surroundings lack, so that the whole volume resized shows little of it."""
    monkeypatch.setattr(voxels, "NOISE", 0.0)
    for index in (0, 1):
        before, after = render(_with("strict", index=index), "medium"), render(_with("strict", name, index=index), "medium")
        change = after.hu.astype(float) - before.hu
        assert abs(change.sum()) < 0.25 * np.abs(change).sum()
