"""The payload: what the browser gets is what the volume and the masks hold."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_studies import make_mask, make_volume

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError
from reg2rg.page.encode import KNOTS, block_mean, block_pick, encode_study, to_codes

shapes = st.tuples(*[st.integers(1, 9)] * 3)
factors = st.tuples(*[st.integers(1, 3)] * 3)


def decoded_bits(payload: dict) -> np.ndarray:
    planes = np.frombuffer(zlib.decompress(base64.b64decode(payload["labels"])), np.uint8).astype(np.uint16)
    low, high = np.split(planes, 2)
    return (low | high << 8).reshape(payload["shape"], order="F")


def decoded_codes(payload: dict) -> np.ndarray:
    from PIL import Image

    nx, ny, nz = payload["shape"]
    sheets, out = payload["sheets"], np.empty(payload["shape"], np.uint8)
    width, height = sheets["cell"]
    for z in range(nz):
        sheet, i = divmod(z, sheets["per"])
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets["images"][sheet]))))[..., 0]
        row, column = divmod(i, sheets["columns"])
        out[:, :, z] = image[row * height : row * height + ny, column * width : column * width + nx].T
    return out


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**31))
def test_every_bit_of_the_masks_survives(shape: tuple[int, int, int], seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 1 << len(REGIONS), shape).astype(np.uint16)
    payload = encode_study(make_volume(shape), RegionMask(bits, frozenset(REGIONS)))
    assert np.array_equal(decoded_bits(payload), bits)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, by=factors, seed=st.integers(0, 2**31))
def test_block_means_are_means_also_in_part_blocks(shape: tuple[int, ...], by: tuple[int, ...], seed: int) -> None:
    hu = np.random.default_rng(seed).integers(-1024, 3000, shape).astype(np.int16)
    small = block_mean(hu, by)
    assert small.shape == tuple(-(-n // f) for n, f in zip(shape, by, strict=True))
    for at in np.ndindex(small.shape):
        block = hu[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, by, strict=True))]
        assert abs(small[at] - block.mean()) <= 0.5


def test_codes_grow_with_hu_and_are_finest_in_soft_tissue() -> None:
    hu = np.arange(-2000, 3000, dtype=np.int16)
    codes = to_codes(hu).astype(int)
    assert (np.diff(codes) >= 0).all() and codes[0] == 0 and codes[-1] == 255
    assert codes[hu == 240] - codes[hu == -160] == 100
    assert [int(codes[hu == knot][0]) for knot, _ in KNOTS] == [code for _, code in KNOTS]


def test_grey_slices_are_near_the_voxels_in_their_place() -> None:
    x, y, z = np.indices((70, 50, 30))
    volume = Volume((-900 + 12 * x + 4 * y - 6 * z).astype(np.int16), np.eye(4))
    payload = encode_study(volume, RegionMask(np.zeros((70, 50, 30), np.uint16), frozenset()))
    error = np.abs(decoded_codes(payload).astype(int) - to_codes(volume.hu))
    assert error.mean() < 1.5 and np.quantile(error, 0.99) < 10


def test_a_big_volume_is_reduced_and_stays_in_its_place() -> None:
    shape = (300, 260, 310)
    mask = np.zeros(shape, bool)
    mask[100:200, 50:150, 20:301] = True
    volume = Volume(np.full(shape, 40, np.int16), np.diag([0.7, 0.7, 1.0, 1.0]))
    payload = encode_study(volume, RegionMask.from_masks({"lung": mask}))
    assert payload["shape"] == [150, 130, 155]
    assert payload["spacing"] == [1.4, 1.4, 2.0]
    # the first block's centre lies half a fine voxel inside
    assert np.allclose(np.array(payload["affine"])[:3, 3], [0.35, 0.35, 0.5])
    assert np.argwhere(decoded_bits(payload)).min(axis=0).tolist() == [50, 25, 10]
    assert payload["regions"][0]["ml"] == pytest.approx(mask.sum() * 0.49 / 1000, rel=1e-3)
    assert sum(map(len, payload["sheets"]["images"])) < 2e6


def test_a_region_of_one_voxel_is_not_lost_on_the_way_down() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[4, 6, 2] = True
    small = block_pick(RegionMask.from_masks({"thyroid": mask, "lung": ~mask}), (3, 3, 3))
    assert [tuple(at) for at in np.argwhere(small >> REGIONS.index("thyroid") & 1)] == [(1, 2, 0)]


def test_the_best_slices_are_those_of_the_largest_cross_section() -> None:
    rows = {r["name"]: r for r in encode_study(make_volume(), make_mask())["regions"]}
    assert list(rows) == ["heart", "lung", "pleura"]  # the thyroid has no voxel, so it has nothing to show
    assert rows["heart"]["best"][2] == 14
    assert 3 <= rows["lung"]["best"][2] < 9


def test_the_payload_repeats_and_refuses_a_mask_of_another_shape() -> None:
    assert encode_study(make_volume(), make_mask()) == encode_study(make_volume(), make_mask())
    with pytest.raises(UserError, match="the mask is"):
        encode_study(make_volume((40, 30, 21)), make_mask())
