"""One run of a bench: an encoder pretrained, or a recipe trained and the test split's reports written.

What it leaves under `encoders/` and `runs/` is named by what decides it, so that a bench that was killed goes on, and rows that
need the same share it. Under a launcher all processes train, and each writes its part of the reports.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contracts import GroundedReport
from ..data.store import Store
from ..demo import generate_split, run_recipe
from ..errors import UserError
from ..files import write_text
from ..pipeline import Reg2RG
from ..progress import Progress, silent
from ..train.pretrain import pretrain
from .jobs import peak_mib
from .plan import Row, encoder_key
from .together import RANK, WORLD, alone, meet

FACTS, REPORTS = "row.json", "reports.jsonl"


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a bench works: the store's folder and fingerprint, its own folder, and where encoders come from.

    `pretrained`: each is trained on finding labels first. `inits`: volume encoder plugin → folder of its weights. `split` is
    the one that is scored.
    """

    store: Path
    data: str
    out: Path
    pretrained: bool = False
    inits: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    split: str = "test"

    def encoder(self, row: Row) -> Path | None:
        """The folder of a row's encoder weights, or None."""
        if self.pretrained:
            return self.out / "encoders" / f"{encoder_key(row.recipe)}-{self.data}"
        return self.inits.get(row.recipe.volume_encoder.name)

    def run(self, row: Row) -> Path:
        """The folder of a row's run: another recipe, other data, other initial weights or another split have another."""
        init = None if self.pretrained else self.encoder(row)
        weights = "" if init is None else "-" + hashlib.sha256(str(init.resolve()).encode()).hexdigest()[:8]
        return self.out / "runs" / f"{row.run}-{self.data}{weights}{'' if self.split == 'test' else f'-{self.split}'}"


def make_encoder(place: Place, row: Row, progress: Progress = silent) -> None:
    """Pretrains a row's encoder, unless it is there."""
    folder = place.encoder(row) if place.pretrained else None
    if folder is not None and not (folder / "encoder.safetensors").is_file():
        store = Store(place.store)
        alone(functools.partial(pretrain, row.recipe, store, folder, seed=row.seed, progress=progress))


def make_run(place: Place, row: Row, progress: Progress = silent) -> None:
    """Trains a row's recipe and writes its reports and `row.json`, unless they are there."""
    folder, store = place.run(row), Store(place.store)
    if (folder / FACTS).is_file():
        return
    began = time.monotonic()
    train_row(place, row, store, folder / "run", progress)
    trained = time.monotonic()
    model = Reg2RG.from_pretrained(folder / "run")
    changes = {"shuffle_regions": row.recipe.alignment.shuffle}
    target, shard = (_part(folder, RANK), f"{RANK + 1}/{WORLD}") if WORLD > 1 else (folder / REPORTS, "")
    generate_split(model, store, target, split=place.split, shard=shard, changes=changes, progress=progress)
    meet()
    facts = {
        "seconds": round(time.monotonic() - began, 1),
        "training_seconds": round(trained - began, 1),
        "peak_mib": peak_mib(),
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.model.parameters() if p.requires_grad),
    }
    alone(functools.partial(_finish, folder, [s.id for s in store.studies(place.split)], facts))


def train_row(place: Place, row: Row, store: Store, run: Path, progress: Progress) -> None:
    """Trains a row from its encoder's weights, or goes on with what is there."""
    encoder = place.encoder(row)
    if encoder is not None and not (encoder / "encoder.safetensors").is_file():
        raise UserError("the folder holds no encoder", encoder, "Make one with reg2rg pretrain or reg2rg convert.")
    run_recipe(row.recipe, store, run, encoder, seed=row.seed, progress=progress)


def _part(folder: Path, rank: int) -> Path:
    return folder / f"part-{rank}.jsonl"


def _finish(folder: Path, order: list[str], facts: dict[str, Any]) -> None:
    """Joins the processes' parts of the reports and writes the facts, which say that the run is whole."""
    if WORLD > 1:
        parts = [_part(folder, rank) for rank in range(WORLD)]
        lines = {json.loads(line)["study"]: line for part in parts for line in part.read_text(encoding="utf-8").splitlines()}
        write_text(folder / REPORTS, "".join(lines[study] + "\n" for study in order))
        for part in parts:
            part.unlink()
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def finished(place: Place, row: Row) -> tuple[dict[str, Any], list[GroundedReport]] | None:
    """The facts and the reports of a row's run, the latter in the order of their studies; None where it isn't done."""
    folder = place.run(row)
    if not (folder / FACTS).is_file():
        return None
    lines = (folder / REPORTS).read_text(encoding="utf-8").splitlines()
    reports = [GroundedReport.from_json(json.loads(text)) for text in lines]
    return json.loads((folder / FACTS).read_text()), sorted(reports, key=lambda r: r.study)
