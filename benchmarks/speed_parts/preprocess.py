"""Part preprocess: one study from a 512×512×300 .nii.gz with ten mask files to the model's inputs.

`first`: a store is made of the files (segmenter `precomputed`), then its views are cut. `epoch`: what each later epoch of
training does, with the views' cache that `views.cache` keeps; `store_seconds` is a later epoch without it. Limits: reading and
inflating all files once; reading what the cache holds once. Plain way, in a process of its own: MONAI's LoadImage of the volume
and each mask, masking, CropForeground, Resize by area, the mask crops by the volume's box in one dictionary, each epoch anew.
"""

from __future__ import annotations

import gzip
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.contracts import StudyViews
from reg2rg.data.dataset import open_views
from reg2rg.data.store import Store
from reg2rg.preprocess import preprocess

from .timing import Row, Settings, measure, peak_mib, reset_peak, seconds

SHAPE, SIZE = (512, 512, 300), (256, 256, 64)
QUICK_SHAPE, QUICK_SIZE = (64, 64, 40), (32, 32, 16)


def prepare(settings: Settings) -> None:
    """Writes the scan, once for all processes of the part."""
    from . import scan

    if not (settings.folder / "scan").is_dir():
        scan.write(settings.folder / "scan", QUICK_SHAPE if settings.quick else SHAPE)


def _views(settings: Settings, cache: bool) -> recipe.Views:
    size = QUICK_SIZE if settings.quick else SIZE
    return recipe.load("reg2rg").views.model_copy(update={"size": size, "cache": cache})


def inputs(views: StudyViews) -> list[Tensor]:
    """What a batch holds of a study: float32, textures and masks of its regions in the prompt's order."""
    order = list(range(len(views.regions)))
    given = [views.image, views.textures[order], views.masks[order]]
    return [x.float() for x in given if x is not None]


def _first(settings: Settings, out: Path) -> list[Tensor]:
    done = preprocess(settings.folder / "scan", out, segmenter="precomputed", layout="radgenome")
    if done.refused or not done.done:
        raise RuntimeError(f"the scan was refused: {done.failures}")
    store = Store(out)
    return inputs(open_views(store, store.ids(), _views(settings, cache=False))[0])


def _inflate(path: Path) -> bytes:
    try:
        from isal import igzip
    except ImportError:
        return gzip.decompress(path.read_bytes())
    return bytes(igzip.decompress(path.read_bytes()))


def run(variant: str, settings: Settings) -> Row:
    """The row of `first` or `epoch`."""
    return _run_first(settings) if variant == "first" else _run_epoch(settings)


def _run_first(settings: Settings) -> Row:
    files = sorted((settings.folder / "scan").rglob("*.nii.gz"))
    number = itertools.count()
    made: list[Path] = []

    def ours() -> list[Tensor]:
        made.append(settings.folder / f"store-{next(number)}")
        return _first(settings, made[-1])

    def limit() -> None:
        for file in files:
            _inflate(file)
        while made:  # outside our own time
            shutil.rmtree(made.pop())

    row = measure(ours, limit, settings.runs)
    return {**row, "file_mib": round(sum(f.stat().st_size for f in files) / 2**20, 1)}


def _run_epoch(settings: Settings) -> Row:
    out = settings.folder / "store"
    _first(settings, out)
    store = Store(out)
    cached = open_views(store, store.ids(), _views(settings, cache=True))
    live = open_views(store, store.ids(), _views(settings, cache=False))
    stored = [p for p in (out / "cache").rglob("*") if p.is_file()]
    again: Callable[[], object] = lambda: inputs(live[0])  # noqa: E731
    row = measure(lambda: inputs(cached[0]), lambda: [p.read_bytes() for p in stored], 2 * settings.runs, store=again)
    differences = [float((a - b).abs().max()) for a, b in zip(inputs(cached[0]), inputs(live[0]), strict=True)]
    held = sum(p.stat().st_size for p in stored)
    return {**row, "cache_mib": round(held / 2**20, 1), "cache_error": max(differences)}


def plain(settings: Settings) -> Row:
    """Time and peak memory of the plain way: the shorter of two runs, no warm-up but the imports."""
    import monai.transforms  # noqa: F401

    reset_peak()
    size = QUICK_SIZE if settings.quick else SIZE
    taken = min(seconds(lambda: _monai(settings.folder / "scan", size)) for _ in range(2))
    return {"plain_seconds": taken, "plain_peak_mib": round(peak_mib(), 1)}


def _monai(folder: Path, size: tuple[int, int, int]) -> tuple[Any, ...]:
    from monai.transforms import CropForeground, CropForegroundd, EnsureChannelFirst, LoadImage, Resize

    read = LoadImage(image_only=True)
    channel, resize = EnsureChannelFirst(), Resize(size, mode="area")
    crop = CropForeground(select_fn=lambda x: x > -1000, margin=0)
    volume = channel(read(next((folder / "volumes").rglob("*.nii.gz"))))
    masks = {region: channel(read(folder / "masks" / "seg_scan_a_1" / f"{region}.nii.gz")) for region in REGIONS}
    textures = []
    for mask in masks.values():
        region = volume * mask
        region[mask == 0] = -1024
        textures.append(_window(resize(crop(region))))
    together = CropForegroundd(keys=["image", *REGIONS], source_key="image", select_fn=lambda x: x > -1000, allow_smaller=True)
    cut = together({"image": volume, **masks})
    return _window(resize(cut["image"])), torch.stack(textures), torch.stack([resize(cut[r].float()) for r in REGIONS])


def _window(x: Tensor) -> np.ndarray | Tensor:
    return (x.clamp(-1000, 200) + 400) / 600
