"""Pretraining of a volume encoder and its adapter on finding labels: the paper takes both from RadFM and freezes the former.

Each finding is read from the view of the region where it lives; the global view reads all of them with less weight, and each
region's view also says which region it is. The heads are thrown away.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import plugins
from ..anatomy import FINDING_REGION, FINDINGS, REGIONS
from ..contracts import Study
from ..data.dataset import ViewSource, open_views
from ..data.store import Store
from ..errors import UserError
from ..files import write_text
from ..model.weights import write_tensors
from ..progress import Progress, silent
from ..recipe import Recipe, Schedule
from .optim import learning_rate_factor

HOMES = tuple(sorted(set(FINDING_REGION.values())))
GLOBAL = -1  # the view of the whole volume among region numbers


@dataclasses.dataclass(frozen=True, slots=True)
class Pretrained:
    """The encoder's folder, steps done, the last loss, seconds, and F1 of each finding on the validation split (if any)."""

    folder: Path
    steps: int
    loss: float
    seconds: float
    finding_f1: dict[str, float]
    micro_f1: float | None


class Reader(nn.Module):
    """Encoder and adapter with two linear heads over the adapter's tokens: findings and region names.

    The heads read what a decoder will read, so that the findings are in the tokens and not only in the encoder's features.
    """

    def __init__(self, encoder: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.encoder, self.adapter = encoder, adapter
        width: Any = encoder.width
        tokens: Any = adapter.tokens
        self.findings, self.names = nn.Linear(tokens * width, len(FINDINGS)), nn.Linear(tokens * width, len(REGIONS))

    def forward(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W, D) → logits of findings (N, 18) and of region names (N, 10)."""
        tokens = self.adapter(self.encoder(volumes)).flatten(1)
        return self.findings(tokens), self.names(tokens)


def home_mask() -> Tensor:
    """(11, 18): which findings each region's view answers for; the last row is the global view, which answers for all."""
    rows = [[FINDING_REGION[f] == region for f in FINDINGS] for region in REGIONS]
    return torch.tensor([*rows, [True] * len(FINDINGS)])


def pretrain(recipe: Recipe, store: Store, out: Path, *, seed: int = 0, progress: Progress = silent) -> Pretrained:
    """Trains the recipe's volume encoder on the train split's labels and writes `out/encoder.safetensors`."""
    if (out / "encoder.safetensors").exists():
        raise UserError("the folder holds an encoder already", out, "Choose another --out.")
    started = time.monotonic()
    studies = labelled(store, "train")
    spec = recipe.volume_encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = plugins.resolve("volume-encoder", spec.name, spec.options, size=recipe.views.size)
        adapter = plugins.resolve("adapter", recipe.adapter.name, recipe.adapter.options, width=encoder.width)
        reader = Reader(encoder, adapter)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    geometry = recipe.geometry_encoder is not None
    source = open_views(store, [s.id for s in studies], recipe.views, geometry=geometry, progress=progress)
    rows: list[dict[str, Any]] = []
    loss, steps = _fit(reader.to(device), studies, source, recipe, seed, rows, progress)
    valid = [s for s in store.studies("valid") if s.labels]
    scores, micro = _validate(reader, valid, store, recipe) if valid else ({}, None)
    _write(reader, recipe, out, rows, {"steps": steps, "seed": seed, "studies": len(studies), "valid_micro_f1": micro})
    return Pretrained(out, steps, loss, time.monotonic() - started, scores, micro)


def labelled(store: Store, split: str) -> list[Study]:
    """The studies of a split that have finding labels. Raises UserError where there are none."""
    studies = [s for s in store.studies(split) if s.labels]
    if not studies:
        hint = (
            "Label the reports (reg2rg label REPORTS --out labels.csv), put labels.csv into the data set and preprocess again."
        )
        raise UserError(f"no study of the {split} split has finding labels", store.root, hint)
    return studies


def _label_rows(studies: Sequence[Study]) -> Tensor:
    return torch.tensor([[float(s.labels.get(f, 0)) for f in FINDINGS] for s in studies])


def _views(source: ViewSource, index: int, count: int, rng: random.Random) -> tuple[list[Tensor], list[int]]:
    """Up to `count` views of one study: the global one, the regions where findings live, others at random."""
    views = source[index]
    volumes = [] if views.image is None else [views.image]
    numbers = [] if views.image is None else [GLOBAL]
    homes = [r for r in views.regions if r in HOMES]
    others = [r for r in views.regions if r not in HOMES]
    rng.shuffle(others)
    for region in (homes + others)[: max(1, count - len(volumes))] if len(views.textures) else []:
        volumes.append(views.textures[views.regions.index(region)])
        numbers.append(REGIONS.index(region))
    return volumes, numbers


def _loss(reader: Reader, volumes: Tensor, numbers: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    findings, names = reader(volumes)
    mask = home_mask().to(volumes.device)[numbers].float()
    weight = torch.where(numbers == GLOBAL, recipe.pretraining.global_weight, 1.0)[:, None] * mask
    whole = numbers == GLOBAL
    # summed over a view's own findings: a region with many of them isn't drowned by one with few
    loss = (F.binary_cross_entropy_with_logits(findings, labels, reduction="none") * weight).sum() / weight.sum().clamp(
        min=1e-6
    )
    if (~whole).any():
        loss = loss + recipe.pretraining.name_weight * F.cross_entropy(names[~whole], numbers[~whole])
    return loss


def _fit(
    reader: Reader,
    studies: Sequence[Study],
    source: ViewSource,
    recipe: Recipe,
    seed: int,
    rows: list[dict[str, Any]],
    progress: Progress,
) -> tuple[float, int]:
    spec, labels = recipe.pretraining, _label_rows(studies)
    device = next(reader.parameters()).device
    per_epoch = math.ceil(len(studies) / spec.batch_size)
    total = spec.max_steps or spec.epochs * per_epoch
    optimizer = torch.optim.AdamW(reader.parameters(), lr=spec.lr, weight_decay=0.01)
    schedule, loss = Schedule(name="cosine", warmup=spec.warmup), torch.zeros(())
    reader.train()
    for step in range(total):
        epoch, place = divmod(step, per_epoch)
        order = list(range(len(studies)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        chosen = order[place * spec.batch_size : (place + 1) * spec.batch_size]
        parts = [_views(source, i, spec.views_per_study, random.Random(f"{seed}/{step}/{i}")) for i in chosen]
        volumes = torch.stack([v for part in parts for v in part[0]]).float().to(device)
        numbers = torch.tensor([n for part in parts for n in part[1]], device=device)
        wanted = torch.cat([labels[i].expand(len(part[1]), -1) for i, part in zip(chosen, parts, strict=True)]).to(device)
        for group in optimizer.param_groups:
            group["lr"] = spec.lr * learning_rate_factor(schedule, step, total)
        loss = _loss(reader, volumes, numbers, wanted, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 10 == 0 or step + 1 == total:
            rows.append({"step": step + 1, "loss": loss.item(), "lr": optimizer.param_groups[0]["lr"]})
        progress("Pretrain", step + 1, total, f"loss {loss.item():.3f}")
    return loss.item(), total


@torch.no_grad()
def _validate(reader: Reader, studies: Sequence[Study], store: Store, recipe: Recipe) -> tuple[dict[str, float], float]:
    """F1 of each finding, read at logit 0 from its own region's view, and over all of them."""
    reader.eval()
    geometry = recipe.geometry_encoder is not None
    source = open_views(store, [s.id for s in studies], recipe.views, geometry=geometry)
    device = next(reader.parameters()).device
    truth = _label_rows(studies).bool()
    said = torch.zeros_like(truth)
    mask = home_mask()
    for i in range(len(studies)):
        views = source[i]
        if not len(views.textures):
            continue
        logits = reader(views.textures.float().to(device))[0].cpu()
        for region, row in zip(views.regions, logits, strict=True):
            own = mask[REGIONS.index(region)]
            said[i, own] = row[own] > 0
    hits, wrong = (said & truth).sum(0).float(), (said ^ truth).sum(0).float()
    f1 = 2 * hits / (2 * hits + wrong).clamp(min=1)
    micro = float(2 * hits.sum() / (2 * hits.sum() + wrong.sum()).clamp(min=1))
    return {f: round(float(v), 4) for f, v in zip(FINDINGS, f1, strict=True)}, round(micro, 4)


def _write(reader: Reader, recipe: Recipe, out: Path, rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    parts = {"volume_encoder": reader.encoder, "adapter": reader.adapter}
    state = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}
    write_text(out / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    about = {
        "volume_encoder": recipe.volume_encoder.model_dump(mode="json"),
        "views": recipe.views.model_dump(mode="json"),
        **facts,
    }
    write_text(out / "config.json", json.dumps(about, indent=2) + "\n")
    write_tensors(out / "encoder.safetensors", state)
