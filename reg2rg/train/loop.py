"""Training a recipe on a store (Eq. 9): deterministic order, accumulation, checkpoints, `metrics.jsonl`, resume.

The order of studies and the shuffling of regions follow from (seed, epoch, study) alone, so that a run goes on where it was
broken off, bit for bit on one device, and a process count changes nothing but speed: `batch_size` × `accumulation` studies
make one optimizer step, however many processes share them. How they share the model is `engine`'s business, the order of
studies `order`'s, batches `loading`'s.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..contracts import Study
from ..data.dataset import open_views
from ..data.store import Store
from ..errors import UserError
from ..files import nearest, write_text
from ..model import weights
from ..model.alignment import make_target
from ..model.batch import Batch
from ..model.composite import build_model
from ..model.samples import Samples
from ..progress import Progress, silent
from ..recipe import Recipe
from . import checkpoint, engine
from .features import Processes, open_features, views_left
from .loading import Batches, load, seed_pass, workers_watched
from .optim import learning_rate_factor, set_learning_rate
from .order import Order


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What a training run gives: its folder, the optimizer steps done, the last loss, seconds and parameter counts."""

    run: Path
    steps: int
    loss: float
    seconds: float
    parameters: int
    trained: int


def training_studies(store: Store) -> list[Study]:
    """The studies of the train split that have at least one region sentence. Raises UserError where there are none."""
    studies = [s for s in store.studies("train") if s.region_reports]
    if not studies:
        hint = "Give reports and splits to preprocess: --reports CSV, --split CSV (Volumename,Split)."
        raise UserError("the store has no study with region sentences in its train split", store.root, hint)
    return studies


def corpus_of(studies: Sequence[Study], recipe: Recipe) -> list[str]:
    """Every text that a decoder's tokenizer must know: targets with their prefixes, and the prompt's wording."""
    texts = [make_target(sorted(s.region_reports), s.region_reports, recipe).text for s in studies]
    prompt = recipe.prompt
    return [*texts, prompt.lead_in, prompt.instruction, " ".join(map(str, range(10)))]


def train(
    recipe: Recipe, store: Store, out: Path, *, init: Iterable[Path] = (), resume: bool = False, progress: Progress = silent
) -> Result:
    """Trains `recipe` on the train split of `store` into the run folder `out`; `resume` goes on from its last checkpoint."""
    return Trainer(recipe, store, out, progress).run(list(init), resume)


class Trainer:
    """One training run: built once, then `run`."""

    def __init__(self, recipe: Recipe, store: Store, out: Path, progress: Progress = silent) -> None:
        self.recipe, self.store, self.out, self.progress = recipe, store, Path(out), progress
        self.engine = engine.start(recipe.training)
        self.folder = self.out / "checkpoints"

    def run(self, init: Sequence[Path], resume: bool) -> Result:
        started = time.monotonic()
        # torchrun starts its processes again after a failure, with the same arguments
        start = self._check_folder(resume or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0)
        studies = training_studies(self.store)
        self.model, self.base = build_model(self.recipe, corpus_of(studies, self.recipe), self.recipe.training.seed)
        weights.load_visual(self.model, init)
        self.samples = self._samples(studies)
        self.order = self._order(len(studies))
        self._prepare(start)
        with workers_watched():
            loss = self._steps(start)
        return self._finish(loss, time.monotonic() - started)

    def _check_folder(self, resume: bool) -> int:
        """The step to go on from; refuses a folder that holds another run, or that can't be written."""
        steps = checkpoint.found(self.folder)
        finished = (self.out / weights.CONFIG).is_file()
        self.engine.wait()  # before anyone changes what the others still look at
        if not resume and (steps or finished):
            raise UserError("the folder holds a run already", self.out, "Choose another --out, or go on with --resume.")
        if not steps and finished:
            raise UserError("the run has no checkpoint to go on from", self.out, "Train into another folder.")
        if steps:
            self._check_same(checkpoint.facts(self.folder, steps[-1]))
        self._check_writable()
        return steps[-1] if steps else 0

    def _check_same(self, facts: dict[str, Any]) -> None:
        """Refuses to go on with another recipe or other data than the checkpoint's."""
        fix = "Resume with the same options, or choose another --out."
        if facts["recipe"] != self.recipe.fingerprint():
            raise UserError("the checkpoint was made with another recipe", self.out, fix)
        if facts["data"] != self._data:
            raise UserError(f"the store '{self.store.root}' isn't what the checkpoint was made from", self.out, fix)

    @functools.cached_property
    def _data(self) -> str:
        return self.store.fingerprint()  # reads every study's text: once a run

    def _check_writable(self) -> None:
        """Before time is spent on what can't be written."""
        try:
            tempfile.TemporaryFile(dir=nearest(self.folder)).close()
        except OSError as error:
            what = f"the run's folder can't be written ({error.strerror or error})"
            raise UserError(what, self.out, "Choose another --out.") from error

    def _samples(self, studies: list[Study]) -> Samples:
        views, ids = self.recipe.views, [s.id for s in studies]
        geometry = self.recipe.geometry_encoder is not None
        source = open_views(self.store, ids, views, geometry=geometry, progress=self.progress)
        if not self.recipe.training.cache_features:
            return Samples(self.model, studies, source)
        self.model.visual.to(self.engine.device)
        processes = Processes(self.engine.rank, self.engine.world, self.engine.wait)
        autocast = self.engine.accelerator.autocast
        features = open_features(self.model, source, self.store, processes, autocast, self.progress)
        left = open_views(self.store, ids, views_left(views), geometry=geometry)
        return Samples(self.model, studies, left, features)

    def _order(self, studies: int) -> Order:
        spec = self.recipe.training
        order = Order(studies, spec.batch_size * spec.accumulation, spec.batch_size, spec.seed, 0)
        return dataclasses.replace(order, total=spec.max_steps or spec.epochs * order.steps_per_epoch)

    def _prepare(self, start: int) -> None:
        """The model on its devices, as it was at step `start`."""
        state: dict[str, torch.Tensor] = {}
        if start:
            tensors, state = checkpoint.read(self.folder, start)
            weights.load_into(self.model, tensors, self.folder, partial_decoder=self.base is not None)
        self.engine.prepare(self.model, self.recipe.training.optimizer)
        self.engine.restore_optimizer(state)
        if not self.engine.main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.sweep(self.folder)
        kept = [line for line in self._metric_lines() if _step_of(line) <= start]
        if kept or (self.out / "metrics.jsonl").exists():
            write_text(self.out / "metrics.jsonl", "".join(f"{line}\n" for line in kept))

    def _metric_lines(self) -> list[str]:
        path = self.out / "metrics.jsonl"
        return path.read_text().splitlines() if path.is_file() else []

    def _steps(self, start: int) -> float:
        lines = self._metric_lines() if self.engine.main else []
        loss = float(json.loads(lines[-1])["loss"]) if lines else math.nan  # of a run that was only to be finished
        spec, mark = self.recipe.training, time.monotonic()
        total, share = self.order.total, (self.engine.rank, self.engine.world)
        self.engine.wrapped.train()
        batches = Batches(self.samples, self.model.tokenizer.pad_token_id, spec.seed)
        loaded = load(batches, self.order.all_works(start, *share), spec.workers, self.engine.device.type == "cuda")
        for step in range(start, total):
            rate = set_learning_rate(self.engine.optimizers, learning_rate_factor(spec.schedule, step, total))
            loss, norm = self._step(step, loaded)
            done = step + 1
            if done % spec.log_every == 0 or done == total:
                took, mark = time.monotonic() - mark, time.monotonic()
                epoch = step // self.order.steps_per_epoch
                self._log(step=done, epoch=epoch, loss=loss, lr=rate, grad_norm=norm, seconds=round(took, 3))
            self.progress("Train", done, total, f"loss {loss:.3f}")
            if done % spec.checkpoint_every == 0 and done < total:
                self._checkpoint(done)
        return loss

    def _step(self, step: int, batches: Iterator[Batch]) -> tuple[float, float]:
        """One optimizer step; the loss is the mean over its studies of their means over tokens (Eq. 9)."""
        total = torch.zeros((), device=self.engine.device)
        for work in self.order.works(step, self.engine.rank, self.engine.world):
            batch = next(batches)
            seed_pass(self.recipe.training.seed, work)
            with self.engine.sharing(work.last):
                nll, count = self.engine.loss(batch)
                loss = (nll / count.clamp(min=1e-6)).sum() / work.total * (1.0 if work.real else 0.0)
                self.engine.backward(loss)
            total += loss.detach()
        norm = self.engine.step(self.recipe.training.optimizer.clip)
        value = self.engine.sum(total)
        if not math.isfinite(value):
            raise UserError(f"the loss became {value}", self.out, "Lower training.optimizer.lr, or train with precision: no.")
        return value, norm

    def _log(self, **row: Any) -> None:
        if self.engine.main:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _checkpoint(self, step: int) -> dict[str, torch.Tensor]:
        """Writes the checkpoint of `step`; gives the weights in it."""
        tensors, state = self.engine.weights(self.base), self.engine.optimizer_state()
        if self.engine.main:
            facts = {"recipe": self.recipe.fingerprint(), "data": self._data}
            checkpoint.write(self.folder, step, tensors, state, facts, self.recipe.training.keep)
        self.engine.wait()
        return tensors

    def _finish(self, loss: float, seconds: float) -> Result:
        tensors = self._checkpoint(self.order.total)
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        parameters = sum(p.numel() for p in self.model.parameters())
        if self.engine.main:
            weights.save(self.model, self.out, self.base, self._facts(loss), tensors)
        self.engine.wait()
        return Result(self.out, self.order.total, loss, seconds, parameters, trained)

    def _facts(self, loss: float) -> dict[str, Any]:
        from .. import __version__

        info = self.store.info
        return {
            "reg2rg_version": __version__,
            "recipe": self.recipe.name,
            "recipe_fingerprint": self.recipe.fingerprint(),
            "data_fingerprint": self._data,
            "trained_on_phantoms": bool(info.get("phantom")),
            "studies": len(self.samples),
            "steps": self.order.total,
            "final_loss": round(loss, 4),
            "seed": self.recipe.training.seed,
        }


def _step_of(line: str) -> float:
    """The step that a line of metrics.jsonl is about; a line that a killed run left half-written is about none."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf
