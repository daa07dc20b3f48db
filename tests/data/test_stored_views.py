"""Views cut from a store: those of the whole arrays bit for bit, from the boxes alone, in any process."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_store import forget_facts, phantom, phantom_store, same
from torch.utils.data import DataLoader

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Study, StudyViews, Volume
from reg2rg.data import chunks, store
from reg2rg.data.boxes import measure
from reg2rg.data.dataset import StoreViews, open_views
from reg2rg.data.store import write_study
from reg2rg.data.views import make_views, stored_views
from reg2rg.errors import UserError
from reg2rg.recipe import Views

ways = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(2, 20), st.integers(2, 20), st.integers(2, 12)),
        "geometry_size": st.none() | st.just((5, 6, 7)),
        "texture": st.sampled_from(["cropped", "masked", "none"]),
        "image": st.booleans(),
        "crop": st.sampled_from(["intensity", "mask"]),
        "masks": st.sampled_from(["soft", "binary"]),
        "aspect": st.sampled_from(["stretch", "keep"]),
        "min_voxels": st.sampled_from([1, 30]),
    }
)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(6, 44)] * 3),
    seed=st.integers(0, 10**6),
    way=ways,
    regions=st.lists(st.sampled_from(REGIONS), min_size=1, unique=True) | st.just(list(REGIONS)),
    geometry=st.booleans(),
    old=st.booleans(),
)
def test_views_from_a_file_are_those_of_the_arrays(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    seed: int,
    way: dict[str, Any],
    regions: list[str],
    geometry: bool,
    old: bool,
) -> None:
    volume, mask = phantom(shape, seed)
    path = tmp_path_factory.mktemp("stored") / "a.h5"
    kept = chunks.TARGET
    try:
        chunks.TARGET = (7, 11, 9)
        write_study(path, volume, mask, Study("a"))
    finally:
        chunks.TARGET = kept
    if old:
        forget_facts(path)
    views = Views(**way)
    try:
        expected = make_views(volume, mask, views, regions, geometry)
    except UserError:
        with pytest.raises(UserError, match="nothing but air"):
            stored_views(path, views, regions, geometry)
        return
    assert same(stored_views(path, views, regions, geometry), expected)


def test_facts_are_written_and_read(tmp_path: Path) -> None:
    made = phantom_store(tmp_path / "s", 1)
    expected = measure(made.volume("s0").hu, made.mask("s0").bits)
    assert made.facts("s0") == expected and expected.frame and len(expected.boxes) >= 1
    with h5py.File(made.path("s0")) as file:
        assert file.attrs["frame"].tolist() == [[s.start, s.stop] for s in expected.frame]
        i = REGIONS.index(next(iter(expected.boxes)))
        assert file.attrs["boxes"][i].tolist() == [[s.start, s.stop] for s in expected.boxes[REGIONS[i]]]
        assert not file.attrs["boxes"][REGIONS.index("breast")].any() and file.attrs["voxels"][i] > 0
    forget_facts(made.path("s0"))
    assert made.facts("s0") == expected


def test_nothing_but_air_has_no_frame(tmp_path: Path) -> None:
    mask = RegionMask(np.ones((8, 8, 8), np.uint16), frozenset(REGIONS))
    write_study(tmp_path / "a.h5", Volume(np.full((8, 8, 8), -1024, np.int16), np.eye(4), "air.nii"), mask, Study("a"))
    with store.open_study(tmp_path / "a.h5") as file:
        facts = store.read_facts(file)
    assert facts is not None and facts.frame is None and facts.contents == {} and facts.voxels == {REGIONS[0]: 512}
    with pytest.raises(UserError, match=r"air\.nii: the volume holds nothing but air"):
        stored_views(tmp_path / "a.h5", Views(size=(2, 2, 2)), REGIONS)


def test_a_region_is_cropped_in_its_place(tmp_path: Path) -> None:
    made = phantom_store(tmp_path / "s", 1)
    whole, mask = made.volume("s0"), made.mask("s0")
    region, box = next(iter(made.facts("s0").boxes.items()))
    cropped = made.crop("s0", region)
    assert cropped is not None
    assert np.array_equal(cropped[0].hu, whole.hu[box]) and np.array_equal(cropped[1].bits, mask.bits[box])
    corner = whole.affine @ [*(part.start for part in box), 1]
    assert np.allclose(cropped[0].affine[:, 3], corner) and cropped[1].given == mask.given
    assert made.crop("s0", "breast") is None


def test_a_region_is_read_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the frame for its texture nor another region's chunks."""
    shape = (96, 128, 128)
    hu = np.random.default_rng(0).integers(-900, 900, shape).astype(np.int16)
    heart, bone = np.zeros(shape, bool), np.ones(shape, bool)
    heart[5:20, 70:90, 3:30] = True
    write_study(tmp_path / "a.h5", Volume(hu, np.eye(4)), RegionMask.from_masks({"heart": heart, "bone": bone}), Study("a"))
    read: list[int] = []
    plain = chunks.read_box
    monkeypatch.setattr(
        chunks, "read_box", lambda d, box, threads=1: (read.append(chunks.voxels_of(box)), plain(d, box, threads))[1]
    )
    stored_views(tmp_path / "a.h5", Views(size=(8, 8, 4), image=False), ["heart"])
    assert read == [15 * 20 * 27] * 2
    read.clear()
    stored_views(tmp_path / "a.h5", Views(size=(8, 8, 4)), REGIONS)  # the global view: the frame, once
    assert read == [hu.size] * 2


class _Rows(torch.utils.data.Dataset):
    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.ids)

    def __getitem__(self, index: int) -> StudyViews:
        return self.source[index]


def _unchanged(views: StudyViews) -> StudyViews:
    return views


@pytest.mark.parametrize("cache", [False, True])
def test_loader_processes_give_the_same_views(tmp_path: Path, cache: bool) -> None:
    made = phantom_store(tmp_path / "s")
    source = open_views(made, made.ids(), Views(size=(8, 8, 4), cache=cache), workers=1)
    here = [source[i] for i in range(2)]  # so that whatever might be kept open is
    there = DataLoader(_Rows(source), batch_size=None, num_workers=1, collate_fn=_unchanged)
    assert all(same(a, b) for a, b in zip(there, here, strict=True))


def test_sources_are_small_to_send(tmp_path: Path) -> None:
    made = phantom_store(tmp_path / "s")
    for cache in (False, True):
        source = open_views(made, made.ids(), Views(size=(16, 16, 8), cache=cache), workers=1)
        expected = source[1]
        sent = pickle.dumps(source)
        assert len(sent) < 5000 and same(pickle.loads(sent)[1], expected)


def _read(source: Any, results: Any) -> None:
    results.put([source[i].textures.double().sum().item() for i in (0, 1, 0)])


def test_forked_processes_read_at_once(tmp_path: Path) -> None:
    """No open file is shared: several children and their parent read in turn."""
    made = phantom_store(tmp_path / "s")
    context = multiprocessing.get_context("fork")
    for cache in (False, True):
        source = open_views(made, made.ids(), Views(size=(8, 8, 4), cache=cache), workers=1)
        expected = [source[i].textures.double().sum().item() for i in (0, 1, 0)]
        results = context.Queue()
        children = [context.Process(target=_read, args=(source, results)) for _ in range(3)]
        for child in children:
            child.start()
        assert [source[i].textures.double().sum().item() for i in (0, 1, 0)] == expected
        assert all(results.get(timeout=60) == expected for _ in children)
        for child in children:
            child.join(60)


def test_a_damaged_study_says_so(tmp_path: Path) -> None:
    made = phantom_store(tmp_path / "s", 1)
    source = StoreViews(made, ["s0", "s9"], Views(size=(4, 4, 2)), geometry=True)
    with pytest.raises(UserError, match="no such study"):
        source[1]
    raw = made.path("s0").read_bytes()
    made.path("s0").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UserError, match="damaged"):
        source[0]
