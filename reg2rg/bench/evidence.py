"""Whether the phantom's evidence classes are true: F1 of small readers of which each sees one kind of evidence alone.

`whole`: the volume at 32×32×16; `crops`: the region in which a finding is stated, masked, cropped and resized to that grid;
`masked`: the same uncropped; `geometry`: soft masks of the ten regions at 16×16×8; `all`: whole, crops of all regions and
geometry together. A finding's class holds where the evidence that it needs tells it, and what it should not be told by
doesn't: the reader of that stays near the F1 of saying yes to everybody.

A reader is one small network at a small budget, so its F1 is a lower bound: what it misses may be there, what it finds in the
wrong evidence leaks for certain.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import RegionMask, StudyViews, Volume
from ..data.store import Store
from ..data.views import make_views, stored_views
from ..errors import UserError
from ..progress import Progress, silent
from ..recipe import Views
from ..shares import cores

HOMES = tuple(dict.fromkeys(FINDING_REGION.values()))
CROPPED = Views(size=(32, 32, 16), window=(-1000.0, 1000.0), geometry_size=(16, 16, 8))
MASKED = CROPPED.model_copy(update={"texture": "masked", "image": False})
# Reader → its share of the steps: those that see one view a study and not six are cheap and get more.
READERS: Mapping[str, int] = {"whole": 8, "crops": 3, "masked": 1, "geometry": 6, "all": 3}
MARGIN = 0.1
_LONGEST = ("all", "whole", "crops", "masked", "geometry")  # by the time that each takes
# Class → the reader that must tell its findings, and those that must not; bulk may be told by any.
RIGHT = {"detail": "crops", "bulk": "whole", "geometry": "geometry", "context": "all"}
WRONG: Mapping[str, tuple[str, ...]] = {
    "detail": ("whole", "masked", "geometry"),
    "bulk": (),
    "geometry": ("crops",),
    "context": ("whole", "crops"),
}
_BATCH = 8
STAGE = "Evidence check"

Seen = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the readers see: `seen` is kind → (n, views, X, Y, Z) float16, `labels` (n, 18) float32 in the order of `FINDINGS`.

    The readers learn from the first `train` studies and are tested on the others.
    """

    seen: Seen
    labels: np.ndarray
    train: int


def from_arrays(volume: Volume, mask: RegionMask) -> Seen:
    """One study as the readers see it: kind → (views, X, Y, Z) float16."""
    return _seen(make_views(volume, mask, CROPPED, REGIONS), make_views(volume, mask, MASKED, HOMES, geometry=False))


def from_file(path: Path) -> Seen:
    """The same of a study's file in a store."""
    return _seen(stored_views(path, CROPPED, REGIONS), stored_views(path, MASKED, HOMES, geometry=False))


def _seen(cropped: StudyViews, masked: StudyViews) -> Seen:
    """A region that isn't there is air in its views and nothing in its mask."""
    assert cropped.image is not None
    parts = {
        "whole": cropped.image,
        "crops": _by_region(cropped.textures, cropped.regions, HOMES, -1.0),
        "masked": _by_region(masked.textures, masked.regions, HOMES, -1.0),
        "geometry": _by_region(cropped.masks, cropped.regions, REGIONS, 0.0),
    }
    return {kind: views.half().numpy() for kind, views in parts.items()}


def _by_region(views: Tensor, regions: Sequence[str], wanted: Sequence[str], missing: float) -> Tensor:
    found = torch.full((len(wanted), *views.shape[2:]), missing)
    for view, region in zip(views[:, 0], regions, strict=True):
        if region in wanted:
            found[wanted.index(region)] = view
    return found


def stacked(rows: Iterable[Seen], labels: Sequence[Mapping[str, int]], train: int) -> Evidence:
    """The evidence of studies in their order."""
    every = list(rows)
    truth = np.array([[row[name] for name in FINDINGS] for row in labels], dtype=np.float32)
    return Evidence({kind: np.stack([row[kind] for row in every]) for kind in every[0]}, truth, train)


def from_store(store: Store, progress: Progress = silent) -> Evidence:
    """The labelled studies of a store's splits `train` and `test`. Raises UserError where either has none."""
    chosen = {split: [s for s in store.studies(split) if s.labels] for split in ("train", "test")}
    for split, studies in chosen.items():
        if not studies:
            raise UserError(f"no study of the split '{split}' has labels", store.root, "The evidence check needs both.")
    studies = [*chosen["train"], *chosen["test"]]
    rows = list[Seen]()
    for study in studies:
        rows.append(from_file(store.path(study.id)))
        progress(STAGE, len(rows), len(studies), "reading")
    return stacked(rows, [study.labels or {} for study in studies], len(chosen["train"]))


# The readers


def _trunk(channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv3d(channels, width, 3, 2, 1), nn.GroupNorm(4, width), nn.GELU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(1))


class _Flat(nn.Module):
    """All views of a study as the channels of one network."""

    def __init__(self, key: str, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.key, self.trunk, self.head = key, _trunk(channels, widths), nn.Linear(2048, len(FINDINGS))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(self.trunk(batch[self.key]))
        return logits


class _Regions(nn.Module):
    """One network for every region's view; a region answers for its own findings only."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.trunk, self.head = key, _trunk(1, (16, 32, 64)), nn.Linear(2048, len(FINDINGS))

    def every(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Each region's opinion on each finding: (n, regions, 18)."""
        views = batch[self.key]
        logits: Tensor = self.head(self.trunk(views.flatten(0, 1)[:, None])).unflatten(0, views.shape[:2])
        return logits

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        return _own(self.every(batch))


def _own(every: Tensor) -> Tensor:
    return every[:, [HOMES.index(FINDING_REGION[name]) for name in FINDINGS], range(len(FINDINGS))]


class _All(nn.Module):
    """The three kinds of evidence, and for each finding a summary of what every region's crop says (for context)."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.crops, self.geometry = _reader("whole"), _Regions("crops"), _reader("geometry")
        self.mix = nn.Sequential(nn.Linear(len(HOMES) * len(FINDINGS), 64), nn.GELU(), nn.Linear(64, len(FINDINGS)))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        every = self.crops.every(batch)
        logits: Tensor = self.whole(batch) + _own(every) + self.geometry(batch) + self.mix(every.flatten(1))
        return logits


def _reader(kind: str) -> nn.Module:
    if kind == "all":
        return _All()
    if kind == "whole":
        return _Flat(kind, 1, (16, 32, 64))
    if kind == "geometry":
        return _Flat(kind, len(REGIONS), (32, 64))
    return _Regions(kind)


def _learn(net: nn.Module, kind: str, data: Evidence, steps: int, seed: int) -> np.ndarray:
    """Trains a reader; gives what it says of the test studies, (n, 18) bool."""
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3 if kind == "geometry" else 3e-3, weight_decay=0.01)
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 20) * 0.5 * (1 + float(np.cos(np.pi * s / steps)))
    )
    rng, order = np.random.default_rng(seed), list[int]()
    for _ in range(steps):
        order = order if len(order) >= min(_BATCH, data.train) else list(rng.permutation(data.train))
        rows, order = order[:_BATCH], order[_BATCH:]
        truth = torch.from_numpy(data.labels[rows])
        seen = _batch(kind, data, rows)
        if rng.random() < 0.5:  # mirrored left to right, or a reader learns the studies by heart
            seen = {name: views.flip(2) for name, views in seen.items()}
        loss = nn.functional.binary_cross_entropy_with_logits(net(seen), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cosine.step()
    with torch.no_grad():
        parts = [slice(i, i + 25) for i in range(data.train, len(data.labels), 25)]
        return np.concatenate([net.eval()(_batch(kind, data, part)).numpy() > 0 for part in parts])


def _batch(kind: str, data: Evidence, rows: Any) -> dict[str, Tensor]:
    kinds = ("whole", "crops", "geometry") if kind == "all" else (kind,)
    return {name: torch.from_numpy(data.seen[name][rows]).float() for name in kinds}


def answers(
    data: Evidence, *, steps: int, seed: int = 0, kinds: Sequence[str] = tuple(READERS), progress: Progress = silent
) -> dict[str, np.ndarray]:
    """Trains the readers, each its share of `steps`; kind → what it says of the test studies, (n, 18) bool.

    As many learn side by side as there are cores, each on one thread, so that the answers don't depend on how many.
    """
    nets = {}
    for kind in kinds:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            nets[kind] = _reader(kind)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    said = dict[str, np.ndarray]()
    try:
        with concurrent.futures.ThreadPoolExecutor(max(1, min(cores(), len(kinds)))) as pool:
            order = sorted(kinds, key=_LONGEST.index)
            running = {pool.submit(_learn, nets[kind], kind, data, READERS[kind] * steps, seed): kind for kind in order}
            for done in concurrent.futures.as_completed(running):
                said[running[done]] = done.result()
                progress(STAGE, len(said), len(kinds), running[done])
    finally:
        torch.set_num_threads(before)
    return said


# The table


def f1(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """F1 of each column of (n, findings) booleans; 0 where nothing is there and nothing said."""
    hits, both = (truth & said).sum(axis=0), truth.sum(axis=0) + said.sum(axis=0)
    return np.asarray(2 * hits / np.maximum(both, 1))


def check(
    of: Store | Evidence, classes: Mapping[str, Sequence[str]], *, steps: int = 450, seed: int = 0, progress: Progress = silent
) -> list[dict[str, Any]]:
    """The evidence check's table, one row a finding of `classes` (class → findings).

    A row: {"finding", "class", "prevalence", "always_yes", "whole", "crops", "masked", "geometry", "all", "holds", "leaks"}:
    the readers' F1 beside the F1 of saying yes to everybody, the verdict, and the wrong readers above its bar.
    """
    data = of if isinstance(of, Evidence) else from_store(of, progress)
    said = answers(data, steps=steps, seed=seed, progress=progress)
    truth = data.labels[data.train :] > 0
    scores = {kind: f1(truth, own) for kind, own in said.items()}
    share = truth.mean(axis=0)
    rows = []
    for name, findings in classes.items():
        for finding in findings:
            i = FINDINGS.index(finding)
            row = {"finding": finding, "class": name, "prevalence": float(share[i])}
            row["always_yes"] = float(2 * share[i] / (1 + share[i]))
            row |= {kind: float(own[i]) for kind, own in scores.items()}
            rows.append({**row, "holds": verdict(row), "leaks": leaks(row)})
    return rows


def leaks(row: Mapping[str, Any]) -> list[str]:
    """The readers of the wrong evidence that aren't near the floor: more than `MARGIN` above saying yes to everybody.

    That is above the label prior's floor too: who says yes at random, as often as the finding is there, scores less.
    """
    return [kind for kind in WRONG[row["class"]] if row[kind] > row["always_yes"] + MARGIN]


def verdict(row: Mapping[str, Any]) -> str:
    """`yes` where the class holds; `not learned` where the right reader stays near the floor itself and nothing leaks."""
    wrong = max([row["always_yes"], *(row[kind] for kind in WRONG[row["class"]])])
    if leaks(row):
        return "no"
    if row[RIGHT[row["class"]]] <= row["always_yes"] + MARGIN:
        return "not learned"
    return "yes" if row[RIGHT[row["class"]]] > wrong + MARGIN else "no"
