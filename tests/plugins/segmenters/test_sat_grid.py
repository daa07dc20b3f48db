"""To SAT's grid and back, window by window, prompt by prompt: each against a plain computation of the same thing."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reg2rg_plugins.segmenters._sat_classes import SHARED_BIT, TABLE, finish, plan
from reg2rg_plugins.segmenters._sat_grid import Frame, to_model, to_volume
from reg2rg_plugins.segmenters._sat_windows import Slab, gaussian, slide, starts
from torch import Tensor

from reg2rg.anatomy import REGIONS

Triple = tuple[int, int, int]
side = st.integers(1, 9)
step = st.floats(0.3, 6.0)


def bit(region: str) -> int:
    return 1 << REGIONS.index(region)


def volume(shape: Triple, seed: int = 0) -> np.ndarray:
    """Air with a smooth bright blob that doesn't touch the border."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    blob = 400 * np.exp(-4 * sum(g**2 for g in grids)) - 300
    return np.where(blob > -100, blob + rng.normal(0, 60, shape), -1000).astype(np.int16)


# --- the grid


@settings(max_examples=150)
@given(st.tuples(side, side, side), st.tuples(step, step, step), st.tuples(step, step, step), st.data())
def test_each_voxel_gets_what_lies_at_its_place_in_the_world(shape: Triple, spacing: Any, target: Any, data: Any) -> None:
    angles = data.draw(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
    scale = tuple(s / t for s, t in zip(spacing, target, strict=True))
    whole = tuple(round((n - 1) * s) + 1 for n, s in zip(shape, scale, strict=True))
    box = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in whole]
    frame = Frame(shape, scale, whole, tuple(b[0] for b in box), tuple(b[1] - b[0] + 1 for b in box))  # type: ignore[arg-type]
    affine = np.eye(4)
    affine[:3, :3] = turn(*angles) @ np.diag(spacing)
    affine[:3, 3] = data.draw(st.tuples(*[st.floats(-300, 300)] * 3))
    drawn = np.random.default_rng(0).integers(1, 1 << 10, frame.size).astype(np.uint16)
    found = to_volume(drawn, frame)
    back = np.linalg.inv(frame.affine(affine)) @ affine
    for index in np.ndindex(*shape):
        place = (back @ [*index, 1.0])[:3]
        ends = (np.asarray(frame.whole) - 1 - frame.start) + 0.5  # beyond the last voxel's middle it still is the nearest
        if (np.abs(place - np.floor(place) - 0.5) < 1e-6).any() or (np.abs(place - ends) < 1e-6).any():
            continue  # half way between two voxels
        near = np.minimum(np.floor(place + 0.5), np.floor(ends)).astype(int)
        inside = ((near >= 0) & (near < frame.size)).all()
        assert found[index] == (drawn[tuple(near)] if inside else 0)


def turn(a: float, b: float, c: float) -> np.ndarray:
    """A rotation small enough for RAS+ to stay RAS+."""
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def test_a_cut_on_the_models_own_spacing_comes_back_as_it_was() -> None:
    hu = volume((12, 10, 8))
    image, frame = to_model(hu, (1.0, 1.0, 3.0), (1.0, 1.0, 3.0), (-500.0, 1000.0))
    assert frame.shape == frame.whole == hu.shape and image.shape == frame.size and frame.start > (0, 0, 0)
    bright = to_volume((hu[box(frame)] > 0).astype(np.uint16), frame)
    assert ((bright == 1) == (hu > 0)).all()


def box(frame: Frame) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(frame.start, frame.size, strict=True))


def test_a_shape_of_the_world_keeps_its_place_and_size_through_both_ways() -> None:
    """A bright block, thresholded on the model's grid: back on the volume it is the block, to half a coarse voxel."""
    hu = np.full((60, 50, 40), -1000, np.int16)
    hu[20:40, 10:30, 8:32] = 500
    image, frame = to_model(hu, (0.7, 0.8, 1.25), (1.0, 1.0, 3.0), (-500.0, 1000.0))
    threshold = image.min() + (image.max() - image.min()) / 2
    back = to_volume((image > threshold).astype(np.uint16), frame) > 0
    found = [np.flatnonzero(back.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    for line, (low, high), spacing, voxel in zip(
        found, ((20, 39), (10, 29), (8, 31)), (0.7, 0.8, 1.25), (1, 1, 3), strict=True
    ):
        assert abs(line[0] - low) * spacing <= voxel / 2 + spacing and abs(line[-1] - high) * spacing <= voxel / 2 + spacing


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 1.0), (1.4, 1.1, 5.0), (1.0, 1.0, 3.0)], ids=str)
def test_the_input_is_monais_of_the_same_steps(spacing: tuple[float, float, float]) -> None:
    transforms = pytest.importorskip("monai.transforms")
    from monai.data import MetaTensor

    hu = volume((31, 28, 23))
    affine = np.diag([*spacing, 1.0])
    theirs = transforms.Spacing((1.0, 1.0, 3.0), mode="bilinear")(MetaTensor(hu[None].astype(np.float32), affine=affine))
    theirs = transforms.CropForeground(lambda x: x > 0)(theirs).numpy()[0].clip(-500, 1000)
    theirs = (theirs - theirs.mean()) / theirs.std()
    image, frame = to_model(hu, spacing, (1.0, 1.0, 3.0), (-500.0, 1000.0))
    assert image.shape == theirs.shape == frame.size and image.dtype == np.float32
    assert np.abs(image - theirs).max() < 1e-3


def test_what_cant_be_cut_or_divided_still_goes_through() -> None:
    image, frame = to_model(np.full((4, 5, 6), -1000, np.int16), (1.0, 1.0, 3.0), (1.0, 1.0, 3.0), (-500.0, 1000.0))
    assert frame.size == (4, 5, 6) and not image.any()
    image, frame = to_model(np.full((1, 1, 1), 7, np.int16), (9.0, 9.0, 9.0), (1.0, 1.0, 3.0), (-500.0, 1000.0))
    assert image.shape == (1, 1, 1) and to_volume(np.ones((1, 1, 1), np.uint16), frame).tolist() == [[[1]]]


# --- the windows


def run(windows: Tensor) -> tuple[Tensor, Tensor]:
    """A stand-in for a network whose votes depend on where in a window a voxel lies, so that windows disagree."""
    ramp = torch.linspace(-1, 1, windows[0].numel()).reshape(windows.shape[1:])
    voxels = torch.cat((windows, windows * ramp, ramp.expand_as(windows)), dim=1)
    vectors = torch.tensor([[1.0, 0.0, 0.3], [-0.5, 2.0, 0.0], [0.2, -1.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    vectors = vectors.expand(len(windows), -1, -1) * (1 + windows.mean(dim=(1, 2, 3, 4)).abs())[:, None, None]
    return voxels, vectors


BITS = np.array([1, 2, 4, 4, 512], dtype=np.uint16)


def dense(image: Tensor, window: Triple) -> tuple[np.ndarray, np.ndarray]:
    """The same with every sum whole, in double precision: each class's mean probability, and the voxels that are a tie."""
    padded = torch.zeros([max(n, w) for n, w in zip(image.shape, window, strict=True)])
    padded[tuple(slice(n) for n in image.shape)] = image
    sums, weights = np.zeros((len(BITS), *padded.shape)), np.zeros(padded.shape)
    lines = [np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * (n / 8) ** 2)) for n in window]
    weight = 10 * lines[0][:, None, None] * lines[1][None, :, None] * lines[2]
    for corner in product(*(positions(n, w) for n, w in zip(padded.shape, window, strict=True))):
        at = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        voxels, vectors = run(padded[at][None, None])
        logit = torch.einsum("bfxyz,bnf->bnxyz", voxels, vectors)[0].double().numpy()
        sums[(slice(None), *at)] += weight / (1 + np.exp(-logit))
        weights[at] += weight
    mean = (sums / weights)[(slice(None), *(slice(n) for n in image.shape))]
    return mean, (np.abs(mean - 0.5) < 1e-5).any(axis=0)


def positions(length: int, window: int) -> list[int]:
    """Steps of half a window, the last one moved back to the border."""
    at = [0]
    while at[-1] + window < length:
        at.append(min(at[-1] + window // 2, length - window))
    return at


@settings(max_examples=60)
@given(st.tuples(*[st.integers(1, 13)] * 3), st.integers(1, 3), st.integers(0, 5))
def test_sliding_is_the_dense_weighted_average(shape: Triple, batch: int, seed: int) -> None:
    image, window = torch.randn(shape, generator=torch.Generator().manual_seed(seed)), (6, 4, 8)
    found = slide(image, BITS, run, window, batch)
    mean, tie = dense(image, window)
    wanted = np.bitwise_or.reduce(np.where(mean > 0.5, BITS[:, None, None, None], np.uint16(0)), axis=0)
    assert found.shape == shape and found.dtype == np.uint16 and (found == wanted)[~tie].all()


def test_one_window_over_the_whole_volume_is_a_plain_pass() -> None:
    image = torch.randn((6, 4, 8), generator=torch.Generator().manual_seed(3))
    voxels, vectors = run(image[None, None])
    plain = torch.einsum("bfxyz,bnf->bnxyz", voxels, vectors)[0] > 0
    wanted = np.bitwise_or.reduce(np.where(plain.numpy(), BITS[:, None, None, None], np.uint16(0)), axis=0)
    assert (slide(image, BITS, run, (6, 4, 8)) == wanted).all()


def test_windows_and_weights_of_the_published_crop() -> None:
    assert starts(288, 288) == [0] and starts(100, 288) == [0]
    assert starts(300, 288) == [0, 12] and starts(500, 288) == [0, 144, 212] and starts(432, 288) == [0, 144]
    weights = gaussian((288, 288, 96))
    assert float(weights.max()) == weights[144, 144, 48] == 10 and float(weights.min()) > 0
    assert float(weights[144 + 36, 144, 48]) == pytest.approx(10 * np.exp(-0.5)), "σ is an eighth of the side"
    assert all(starts(n, 288) == positions(n, 288) for n in range(1, 900, 7))


def test_memory_doesnt_grow_with_the_slices() -> None:
    held = [Slab(BITS, (9, 9, z), (6, 4, 8), torch.device("cpu")).sums.shape for z in (8, 800)]
    assert held[0] == held[1] == (5, 9, 9, 8)


# --- the prompts


def test_the_table_is_lower_case_and_holds_each_region() -> None:
    assert tuple(TABLE) == REGIONS
    prompts = [prompt for prompts in TABLE.values() for prompt in prompts]
    assert all(prompt == " ".join(prompt.lower().split()) for prompt in prompts)
    assert sorted({p for p in prompts if prompts.count(p) > 1}) == ["aorta"], "one class lies in two regions"
    asked = plan(TABLE, REGIONS)
    assert len(asked.prompts) == len(set(prompts)) <= 256, "as many as SAT asks in one pass"
    named = dict(zip(asked.prompts, asked.bits.tolist(), strict=True))
    assert named["liver"] == bit("abdomen") and named["aorta"] == SHARED_BIT and named["lung effusion"] == bit("pleura")


def test_a_region_brings_only_the_prompts_that_it_needs() -> None:
    assert plan(TABLE, {"esophagus"}).prompts == ("esophagus",)
    assert set(plan(TABLE, {"pleura"}).prompts) == {"lung effusion", *TABLE["lung"]}
    assert set(plan(TABLE, {"mediastinum"}).prompts) == {*TABLE["mediastinum"], *TABLE["lung"]}
    own = plan({"lung": ("lung",), "heart": ("heart",)}, REGIONS)
    assert own.regions == {"lung", "heart", "pleura"} and own.prompts == ("lung", "heart")
    assert plan({"heart": ("heart",)}, REGIONS).regions == {"heart"}


def test_the_aorta_is_the_abdomens_under_the_lungs_and_the_mediastinums_above() -> None:
    bits = np.zeros((3, 3, 10), np.uint16)
    bits[1, 1] = SHARED_BIT
    bits[0, 0, 4:] = bit("lung")
    out = finish(bits, {"abdomen", "mediastinum"}, (1.0, 1.0, 3.0))
    assert (out[1, 1, :4] == bit("abdomen")).all() and (out[1, 1, 4:] == bit("mediastinum")).all()
    assert not out[0, 0].any(), "the lungs weren't asked for"
    bits[0, 0] = 0
    assert (finish(bits, REGIONS, (1.0, 1.0, 3.0))[1, 1] == bit("abdomen")).all(), "no lung: an abdominal CT"


def test_the_pleura_is_a_shell_of_millimetres_with_the_effusion() -> None:
    bits = np.zeros((60, 60, 30), np.uint16)
    bits[15:45, 15:45, 8:22] = bit("lung")
    bits[:, :, 2] = bit("pleura")  # an effusion, wherever it is
    bits[45:, 30, 15] = bit("bone")
    out = finish(bits, {"lung", "pleura", "bone"}, (1.0, 1.0, 3.0))
    line = out[:, 30, 14] & bit("pleura") != 0
    assert line[10:22].all() and not line[:10].any() and not line[22:38].any(), "5 mm outside, 7 mm inside"
    assert not (out[45:, 30, 15] & bit("pleura")).any() and (out[:, :, 2] & bit("pleura")).all()
    up = out[30, 30] & bit("pleura") != 0
    assert up[7] and up[8:10].all() and not up[10:20].any() and not up[6]
