"""Small stores of random phantoms, and how their views are compared."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Study, StudyViews, Volume
from reg2rg.data.store import FORMAT, Store, write_info, write_study


def phantom(shape: tuple[int, int, int], seed: int) -> tuple[Volume, RegionMask]:
    """A noisy block of body in air with random, overlapping ellipsoids; some lie over air or outside the body."""
    rng = np.random.default_rng(seed)
    hu = np.full(shape, -1024, np.int16)
    body = tuple(slice(int(n * 0.15), max(int(n * 0.15) + 1, int(n * 0.9))) for n in shape)
    hu[body] = rng.integers(-1024, 400, hu[body].shape)
    index = np.indices(shape).astype(np.float32)
    masks = {}
    for region in rng.choice([r for r in REGIONS if r != "breast"], 4, replace=False):
        centre, radius = rng.random(3) * shape, (0.05 + 0.4 * rng.random(3)) * shape
        masks[str(region)] = (((index - centre.reshape(3, 1, 1, 1)) / radius.reshape(3, 1, 1, 1)) ** 2).sum(0) <= 1
    masks["breast"] = np.zeros(shape, bool)
    return Volume(hu, np.diag([0.8, 0.7, 1.9, 1.0]), "a"), RegionMask.from_masks(masks)


def phantom_store(root: Path, count: int = 2, shape: tuple[int, int, int] = (40, 36, 30)) -> Store:
    """A store of phantoms s0, s1, …"""
    (root / "studies").mkdir(parents=True)
    write_info(root, {"format": FORMAT})
    for i in range(count):
        write_study(root / "studies" / f"s{i}.h5", *phantom(shape, i), Study(f"s{i}"))
    return Store(root)


def three_studies(root: Path) -> Store:
    """Three phantoms with a sentence for each of their regions and one finding; the last one is the test split."""
    said = {"lung": "Both lungs are clear.", "heart": "The heart is enlarged.", "bone": "No fracture is seen."}
    (root / "studies").mkdir(parents=True)
    write_info(root, {"format": FORMAT})
    for i, split in enumerate(("train", "train", "test")):
        volume, mask = phantom((36, 34, 20), i)
        reports = {region: said.get(region, "Nothing new is seen.") for region in mask.given}
        study = Study(f"s{i}", split=split, region_reports=reports, labels={"Cardiomegaly": 1})
        write_study(root / "studies" / f"s{i}.h5", volume, mask, study)
    return Store(root)


def forget_facts(path: Path) -> None:
    """Makes a study's file one of an older store."""
    with h5py.File(path, "r+") as file:
        for name in ("frame", "boxes", "contents", "voxels"):
            del file.attrs[name]


def same(a: StudyViews, b: StudyViews, atol: float = 0.0) -> bool:
    """Whether two studies' views are equal: to the bit and in type, or by `atol`."""
    if a.regions != b.regions or (a.image is None) != (b.image is None):
        return False
    pairs = [(a.textures, b.textures), (a.masks, b.masks)]
    if a.image is not None and b.image is not None:
        pairs.append((a.image, b.image))
    if atol:
        return all(x.shape == y.shape and torch.allclose(x.float(), y.float(), rtol=0, atol=atol) for x, y in pairs)
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)
