"""The feature cache: what it holds, when it is made again, what it refuses, and that training doesn't notice it."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from training import Small

from reg2rg import recipe as recipes
from reg2rg.anatomy import REGIONS
from reg2rg.contracts import StudyViews
from reg2rg.data.dataset import StoreViews, open_views
from reg2rg.data.store import Store
from reg2rg.errors import UserError
from reg2rg.model.composite import Reg2RGModel, build_model
from reg2rg.train import feature_folder, features, loop
from reg2rg.train.feature_folder import FeatureCache
from reg2rg.train.feature_key import differences, made_from, weights_hash
from reg2rg.train.feature_shards import VIEWS, StoredFeatures, read_shard, write_shard
from reg2rg.train.features import Processes, open_features, views_left

STUDIES = 7


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_folder, "SHARD_STUDIES", 3)


@pytest.fixture
def store(small: Small, tmp_path: Path) -> Store:
    """The small store with a cache folder of its own."""
    root = tmp_path / "store"
    root.mkdir()
    shutil.copyfile(small.store / "store.json", root / "store.json")
    (root / "studies").symlink_to(small.store / "studies")
    return Store(root)


def recipe_of(**training: object) -> recipes.Recipe:
    changes = {"views": {"cache": False}, "training": {"batch_size": 2, **training}}
    return recipes.load("tiny", changes)


def model_of(seed: int = 0, **training: object) -> Reg2RGModel:
    return build_model(recipe_of(**training), ["a b"], seed)[0]


def source_of(store: Store, model: Reg2RGModel, count: int = STUDIES) -> StoreViews:
    return StoreViews(store, store.ids()[:count], model.recipe.views, geometry=False)


class Counted:
    """A source that says which studies were asked for, and breaks down at one of them."""

    def __init__(self, source: StoreViews, broken: int = -1) -> None:
        self.source, self.ids, self.broken, self.asked = source, source.ids, broken, set[int]()

    def __getitem__(self, index: int) -> StudyViews:
        if index == self.broken:
            raise KeyboardInterrupt
        self.asked.add(index)
        return self.source[index]


def made(store: Store) -> Path:
    (folder,) = (store.root / "cache").glob("features-*")
    return folder


def shards_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.safetensors"))}


def same(a: StoredFeatures, b: StoredFeatures, views: StoreViews) -> bool:
    pairs = []
    for i in range(len(views.ids)):
        places = [REGIONS.index(r) for r in views[i].regions]
        pairs += [(a.image(i), b.image(i)), (a.textures(i, places), b.textures(i, places))]
    return all(x is not None and y is not None and torch.equal(x, y) for x, y in pairs)


def test_features_are_what_the_frozen_part_gives(store: Store) -> None:
    """Bit-equal for the same volumes at once, within rounding for one volume at a time; regions in the order asked for."""
    model = model_of()
    source = source_of(store, model)
    stored = open_features(model, source, store)
    model.visual.eval()
    for first in (0, 3, 5):  # shards of three studies, two of them at once
        views = [source[i] for i in range(first, min(first + 2, STUDIES, first + 3 - first % 3))]
        together = model.visual.encode(torch.cat([x for v in views for x in (v.image[None], v.textures)]))  # type: ignore[index]
        row = 0
        for i, v in enumerate(views, first):
            places = [REGIONS.index(r) for r in v.regions]
            assert torch.equal(stored.image(i), together[row])  # type: ignore[arg-type]
            assert torch.equal(stored.textures(i, places), together[row + 1 : row + 1 + len(places)])  # type: ignore[arg-type]
            row += 1 + len(places)
            back = stored.textures(i, places[::-1])
            alone = torch.cat([model.visual.encode(t[None]) for t in v.textures]).flip(0)
            assert back is not None and torch.allclose(back, alone, atol=1e-5)
            assert back.dtype == torch.float32


def test_the_cache_is_computed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    source = Counted(source_of(store, model))
    told: list[tuple[Any, ...]] = []
    first = open_features(model, source, store, progress=lambda *said: told.append(said))
    assert source.asked == set(range(STUDIES))
    assert told[0][:3] == ("Features", 0, STUDIES) and told[-1][1] == STUDIES
    assert told[0][3].startswith("7 studies, up to ") and told[0][3].endswith("kB in float32")
    folder = made(store)
    assert [p.name for p in sorted(folder.iterdir())] == [f"features-0000{i}.safetensors" for i in range(3)] + ["features.json"]
    assert json.loads((folder / "features.json").read_text())["done"] is True
    monkeypatch.setattr(model.visual, "encode", None)  # whoever encodes again breaks
    source.asked.clear()
    again = open_features(model, source, store)
    assert not source.asked and same(first, again, source.source)


def test_it_leaves_modes_and_random_numbers_as_they_were(store: Store) -> None:
    model = model_of()
    model.train()
    before = torch.get_rng_state()
    open_features(model, source_of(store, model, 2), store)
    assert torch.equal(before, torch.get_rng_state())
    assert model.visual.training and not model.visual.volume_encoder.training


def test_a_killed_run_goes_on_behind_its_last_shard(store: Store, tmp_path: Path) -> None:
    """What it computes then is byte for byte what an unbroken run computes."""
    model, other = model_of(features=str(tmp_path / "a")), model_of(features=str(tmp_path / "b"))
    source = Counted(source_of(store, model), broken=4)
    with pytest.raises(KeyboardInterrupt):
        open_features(model, source, store)
    assert list(shards_of(tmp_path / "a")) == ["features-00000.safetensors"]
    assert json.loads((tmp_path / "a" / "features.json").read_text())["done"] is False
    left = tmp_path / "a" / ".features-00001.safetensors.x.tmp"
    young = tmp_path / "a" / ".tmpAbCdEf"
    left.touch()
    young.touch()
    os.utime(left, (0, 0))
    source.broken = -1
    source.asked.clear()
    open_features(model, source, store)
    assert source.asked == set(range(3, STUDIES))
    assert not left.exists() and young.exists()
    open_features(other, source_of(store, other), store)
    assert shards_of(tmp_path / "a") == shards_of(tmp_path / "b")


def test_a_shard_cut_short_is_computed_again(store: Store) -> None:
    model = model_of()
    source = Counted(source_of(store, model))
    open_features(model, source, store)
    whole = shards_of(made(store))
    cut = made(store) / "features-00001.safetensors"
    cut.write_bytes(cut.read_bytes()[:-5])
    (made(store) / "features-00002.safetensors").write_bytes(b"")
    source.asked.clear()
    open_features(model, source, store)
    assert source.asked == set(range(3, STUDIES)) and shards_of(made(store)) == whole


def _other_weights(folder: Path) -> Reg2RGModel:
    model = model_of(features=str(folder))
    with torch.no_grad():
        next(model.visual.volume_encoder.parameters()).view(-1)[0] += 1e-3
    return model


def _with(**changes: Any) -> Callable[[Path], Reg2RGModel]:
    def build(folder: Path) -> Reg2RGModel:
        data = recipes.merge(recipe_of(features=str(folder)).model_dump(mode="json"), changes)
        return build_model(recipes.check(data), ["a b"], 0)[0]

    return build


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (_other_weights, "made with other encoder weights."),
        (_with(views={"window": [-900, 200]}), "made with other views settings (window)."),
        (_with(views={"texture": "masked", "min_voxels": 9}), "made with other views settings (texture, min_voxels)."),
        (_with(training={"feature_dtype": "float16"}), "made in another type (float32, not float16)."),
        (_with(training={"precision": "bf16"}), "made in another precision (no, not bf16)."),
        (_with(adapter={"freeze": False}), "made with another adapter and with other adapter weights."),
        (_with(adapter={"options": {"depth": 2}}), "made with another adapter (options) and with other adapter weights."),
    ],
)
def test_a_folder_with_another_cache_is_refused(
    store: Store, tmp_path: Path, build: Callable[[Path], Reg2RGModel], said: str
) -> None:
    folder = tmp_path / "features"
    model = model_of(features=str(folder))
    open_features(model, source_of(store, model, 2), store)
    before = shards_of(folder)
    other = build(folder)
    with pytest.raises(UserError) as caught:
        open_features(other, source_of(store, other, 2), store)
    assert f"the feature cache was {said}" in str(caught.value)
    assert "--set training.features=FOLDER" in str(caught.value)
    assert shards_of(folder) == before


def test_a_folder_of_other_studies_is_refused(small: Small, tmp_path: Path) -> None:
    root, folder = tmp_path / "copy", tmp_path / "features"
    shutil.copytree(small.store, root, ignore=shutil.ignore_patterns("cache"))
    store, model = Store(root), model_of(features=str(folder))
    ids = store.ids()
    open_features(model, source_of(store, model, 3), store)
    (root / "studies" / f"{ids[1]}.h5").touch()
    with pytest.raises(UserError, match=rf"for other studies \(1 changed since, e.g. {ids[1]}; 2 not in it, e.g. {ids[3]}\)"):
        open_features(model, source_of(store, model, 5), store)
    with pytest.raises(UserError, match=rf"1 changed since, e.g. {ids[1]}; 1 no longer wanted, e.g. {ids[2]}\)"):
        open_features(model, source_of(store, model, 2), store)


def test_what_features_do_not_follow_from_changes_no_key(store: Store, tmp_path: Path) -> None:
    """Geometry, prompt, decoder and schedule: an ablation of these shares the cache."""
    parts = made_from(model := model_of(), source_of(store, model), store)
    other = _with(
        geometry_encoder=None,
        views={"geometry_size": None, "masks": "binary"},
        alignment={"shuffle": False},
        training={"seed": 7},
    )
    changed = other(tmp_path)
    assert made_from(changed, source_of(store, changed), store) == parts


def test_views_from_a_cache_make_other_features(store: Store) -> None:
    """They are rounded: a cache of features says of which it was made."""
    model, views = model_of(), recipes.load("tiny").views
    cached = open_views(store, store.ids()[:2], views, geometry=False)
    live = StoreViews(store, store.ids()[:2], views, geometry=False)
    old, new = made_from(model, cached, store), made_from(model, live, store)
    assert old["views_dtype"] in ("float16", "bfloat16") and new["views_dtype"] == "float32"
    assert differences(old, new).startswith("from views of another precision")


def test_a_store_keeps_the_caches_used_last(store: Store) -> None:
    def opened(seed: int) -> Path:
        before = set((store.root / "cache").glob("features-*"))
        model = model_of(seed)
        open_features(model, source_of(store, model, 1), store)
        names = set((store.root / "cache").glob("features-*")) - before
        return names.pop() if names else Path()

    first, second, third = opened(0), opened(1), opened(2)
    for age, folder in ((30, second), (20, first), (10, third)):
        os.utime(folder / "features.json", (time.time() - age,) * 2)
    opened(1)  # the oldest is used once more
    fourth = opened(3)
    assert set((store.root / "cache").glob("features-*")) == {second, third, fourth}


def test_half_precision_takes_half_the_room(store: Store, tmp_path: Path) -> None:
    """Its error is that of rounding to eleven bits: at most 2⁻¹¹ of a value (and 2⁻²⁵ near zero)."""
    whole, half = model_of(features=str(tmp_path / "a")), model_of(features=str(tmp_path / "b"), feature_dtype="float16")
    source = source_of(store, whole)
    a, b = open_features(whole, source, store), open_features(half, source, store)
    for i in range(STUDIES):
        x, y = a.image(i), b.image(i)
        assert x is not None and y is not None and y.dtype == torch.float16
        assert ((x - y.float()).abs() <= x.abs() * 2**-11 + 2**-25).all()
    sizes = [sum(map(len, shards_of(tmp_path / name).values())) for name in "ab"]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.1)


def test_values_beyond_half_precision_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(feature_dtype="float16")
    encode = model.visual.encode
    monkeypatch.setattr(model.visual, "encode", lambda volumes: encode(volumes) * 1e9)
    with pytest.raises(UserError, match=r"beyond the range of float16. Set training.feature_dtype=float32"):
        open_features(model, source_of(store, model, 1), store)


def test_a_trained_encoder_has_no_cache(store: Store, tmp_path: Path) -> None:
    model = _with(volume_encoder={"freeze": False})(tmp_path)
    with pytest.raises(UserError, match="only while the volume encoder is frozen"):
        open_features(model, source_of(store, model, 1), store)


def test_a_disk_without_room_is_refused_before_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    source = Counted(source_of(store, model))
    usage = shutil.disk_usage(store.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=30_000))
    with pytest.raises(UserError, match=r"need up to \d+\.\d kB, and the disk has 30.0 kB left.*training.features=FOLDER"):
        open_features(model, source, store)
    assert not source.asked and not (store.root / "cache").exists()


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does, at a known place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_half_shard(store: Store, tmp_path: Path) -> None:
    """safetensors has an error of its own for it, without the reason in a field."""
    folder = tmp_path / "features"
    model = model_of(features=str(folder))
    source = source_of(store, model)
    with largest_file(20_000), pytest.raises(UserError) as caught:
        open_features(model, source, store)
    said = str(caught.value)
    assert "can't be written (File too large)" in said and "--set training.features=FOLDER" in said
    assert [p.name for p in folder.iterdir()] == ["features.json"]
    open_features(model, source, store)
    assert len(shards_of(folder)) == 3


def test_a_folder_that_cannot_be_written_is_named(store: Store) -> None:
    (store.root / "cache").write_text("in the way")
    model = model_of()
    source = Counted(source_of(store, model, 1))
    with pytest.raises(UserError, match=r"store/cache/features-.*can't be written \(.*--set training.features=FOLDER"):
        open_features(model, source, store)
    assert not source.asked


def test_a_damaged_description_is_said(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    model = model_of(features=str(folder))
    for text, said in (("{", "can't be read"), ('{"format": 99}', "has format 99"), ("[]", "can't be read")):
        (folder / "features.json").write_text(text)
        with pytest.raises(UserError, match=said):
            open_features(model, source_of(store, model, 1), store)


def test_two_processes_share_the_shards(store: Store, tmp_path: Path) -> None:
    """Each computes its own, and both read all; the bytes are those of one process."""
    alone = model_of(features=str(tmp_path / "alone"))
    open_features(alone, source_of(store, alone), store)
    barrier = threading.Barrier(2)
    asked: list[set[int]] = [set(), set()]
    found: list[StoredFeatures | None] = [None, None]

    def work(rank: int) -> None:
        model = models[rank]
        source = Counted(source_of(store, model))
        found[rank] = open_features(model, source, store, Processes(rank, 2, barrier.wait))
        asked[rank] = source.asked

    models = [model_of(features=str(tmp_path / "both")) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert asked == [{0, 1, 2, 6}, {3, 4, 5}]
    assert shards_of(tmp_path / "both") == shards_of(tmp_path / "alone")
    assert found[0] and found[1] and same(found[0], found[1], source_of(store, models[0]))


def test_a_part_that_never_comes_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on machines whose stores are copies, not one shared folder."""
    monkeypatch.setattr(features, "PATIENCE", 0.3)
    monkeypatch.setattr(features, "APPEARING", 0.3)
    model = model_of()
    with pytest.raises(UserError, match=r"features-00001.safetensors: a part of the feature cache didn't appear"):
        open_features(model, source_of(store, model), store, Processes(0, 2))
    other = model_of(1)
    with pytest.raises(UserError, match=r"features.json: .*All processes must see the same folder"):
        open_features(other, source_of(store, other), store, Processes(1, 2))


class Rows(torch.utils.data.Dataset[Tensor]):
    def __init__(self, stored: StoredFeatures) -> None:
        self.stored = stored

    def __getitem__(self, index: int) -> Tensor:
        image = self.stored.image(index)
        assert image is not None
        return image


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_that_prepare_batches_read_it(store: Store, start: str) -> None:
    model = model_of()
    stored = open_features(model, source_of(store, model), store)
    assert len(pickle.dumps(stored)) < 5_000
    context: Any = start
    loader = DataLoader(Rows(stored), None, sampler=range(STUDIES), num_workers=1, multiprocessing_context=context)
    assert all(torch.equal(got, stored.image(i)) for i, got in enumerate(loader))  # type: ignore[arg-type]


def test_a_cache_that_vanishes_is_one_sentence(store: Store) -> None:
    model = model_of()
    stored = open_features(model, source_of(store, model, 1), store)
    path = made(store) / "features-00000.safetensors"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=r"can't be read \(the file ends too early\). Go on with --resume"):
        stored.textures(0, [9])
    path.unlink()
    with pytest.raises(UserError, match=r"can't be read \(No such file or directory\)"):
        stored.image(0)


@pytest.mark.parametrize("views", [{"image": False}, {"texture": "none"}])
def test_only_the_views_of_the_recipe_are_kept(store: Store, tmp_path: Path, views: dict[str, object]) -> None:
    folder = tmp_path / "features"
    model = _with(views=views)(folder)
    source = source_of(store, model, 1)
    stored = open_features(model, source, store)
    assert (stored.image(0) is None) == ("image" in views) and (stored.textures(0, [0]) is None) == ("texture" in views)
    kept = load_file(folder / "features-00000.safetensors")
    rows = 1 if "texture" in views else len(source[0].regions)
    assert len(kept["features"]) == rows == int((kept["index"] >= 0).sum())


def test_what_views_are_left_to_training(store: Store) -> None:
    """The same regions and masks as with textures, and no work for these."""
    views = recipe_of().views
    assert views_left(recipes.load("tiny").views).texture == "cropped"  # they lie in a cache of views
    left, full = (StoreViews(store, store.ids()[:2], v, geometry=True) for v in (views_left(views), views))
    for i in range(2):
        assert left[i].regions == full[i].regions and torch.equal(left[i].masks, full[i].masks)
        assert left[i].image is None and len(left[i].textures) == 0


def test_absent_regions_are_not_stored(store: Store) -> None:
    model = model_of()
    source = source_of(store, model, 2)
    full = source[0]
    keep = [0, 4, 8]
    few = StudyViews(full.image, full.textures[keep], full.masks, tuple(full.regions[i] for i in keep))

    class Ragged(Counted):
        def __getitem__(self, index: int) -> StudyViews:
            return few if index == 0 else super().__getitem__(index)

    stored = open_features(model, Ragged(source), store)
    kept = load_file(made(store) / "features-00000.safetensors")
    assert len(kept["features"]) == 1 + len(keep) + 1 + len(source[1].regions)
    places = [REGIONS.index(r) for r in few.regions]
    expected = model.visual.eval().encode(few.textures)
    assert torch.allclose(stored.textures(0, places), expected, atol=1e-5)  # type: ignore[arg-type]
    assert stored.textures(0, []).shape == (0, *expected.shape[1:])  # type: ignore[union-attr]
    absent = next(i for i in range(10) if i not in places)
    with pytest.raises(UserError, match="lacks a view"):
        stored.textures(0, [places[0], absent])


@settings(max_examples=25)
@given(
    present=st.lists(st.lists(st.booleans(), min_size=VIEWS, max_size=VIEWS), min_size=1, max_size=5),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    dtype=st.sampled_from([torch.float32, torch.float16]),
)
def test_a_shard_gives_back_its_rows(
    tmp_path_factory: pytest.TempPathFactory, present: list[list[bool]], shape: tuple[int, int], dtype: torch.dtype
) -> None:
    path = tmp_path_factory.mktemp("shard") / "features-00000.safetensors"
    there = torch.tensor(present)
    rows = int(there.sum())
    index = torch.full(there.shape, -1, dtype=torch.int32)
    index[there] = torch.arange(rows, dtype=torch.int32)
    values = torch.randn(rows, *shape).to(dtype)
    write_shard(path, values, index, "key")
    shard = read_shard(path, "key", len(present))
    assert shard is not None and np.array_equal(shard.index, index.numpy())
    order = torch.randperm(rows).tolist()
    assert torch.equal(shard.rows(order), values[order])
    assert read_shard(path, "other", len(present)) is None and read_shard(path, "key", len(present) + 1) is None


def test_a_hash_sees_every_byte_name_and_type() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    first = weights_hash(layer)
    with torch.no_grad():
        layer.bias[1] = layer.bias[1].nextafter(torch.tensor(9.0))
    assert weights_hash(layer) != first
    assert weights_hash(layer) == weights_hash(layer)
    others = (copy.deepcopy(layer).double(), torch.nn.Sequential(layer), torch.nn.BatchNorm3d(2))
    assert len({weights_hash(module) for module in (layer, *others)}) == 4


def test_a_shard_holds_no_more_than_its_share(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At full size (1,024 × 768 of eleven views) seven studies are 242 MB; small features end at the number of studies."""
    monkeypatch.setattr(feature_folder, "SHARD_STUDIES", 64)
    model = model_of()
    parts = made_from(model, source_of(store, model, 30), store)
    for shape, per, count in (((1024, 768), 7, 5), ((32, 768), 64, 1), ((4, 64), 64, 1), ((200_000, 768), 1, 30)):
        cache = FeatureCache.locate(parts, store, None, lambda shape=shape: shape)  # type: ignore[misc]
        assert (cache.per, cache.count) == (per, count)
        assert [i for n in range(count) for i in cache.studies(n)] == list(range(30))


Run = Callable[..., subprocess.CompletedProcess[str]]


def losses(small: Small, store: Store, run: Path, **training: object) -> list[float]:
    """The losses of three steps of a run."""
    changes = {"training": {"max_steps": 3, "log_every": 1, **training}}
    loop.train(recipes.load("tiny", changes), store, run, init=[small.encoder])
    AcceleratorState._reset_state(reset_partial_state=True)  # other tests of this process may train in another precision
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_training_with_and_without_it_gives_the_same_losses(small: Small, store: Store, tmp_path: Path) -> None:
    """Within rounding: one volume's features don't follow bit for bit from which others go through the encoder with it."""
    plain = losses(small, store, tmp_path / "a", cache_features=False)
    assert losses(small, store, tmp_path / "b", cache_features=True) == pytest.approx(plain, abs=2e-5)
    half = losses(small, store, tmp_path / "c", cache_features=True, feature_dtype="float16")
    assert half == pytest.approx(plain, abs=2e-3)
    again = losses(small, store, tmp_path / "d", cache_features=True)
    assert again == losses(small, store, tmp_path / "e", cache_features=True, workers=1)
    assert len(list((store.root / "cache").glob("features-*/features.json"))) == 2


def test_training_refuses_a_stale_cache_in_one_sentence(small: Small, store: Store, tmp_path: Path, reg2rg: Run) -> None:
    folder = tmp_path / "features"
    losses(small, store, tmp_path / "first", features=str(folder))
    options = ["--recipe", "tiny", "--set", f"training.features={folder}"]
    done = reg2rg("train", "--data", store.root, "--out", tmp_path / "second", *options)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "features: the feature cache was made with other encoder weights and with other adapter weights. " in done.stderr
    assert not (tmp_path / "second").exists()
