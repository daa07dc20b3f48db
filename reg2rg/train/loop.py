"""Training a recipe on a store (Eq. 9): deterministic order, accumulation, checkpoints, `metrics.jsonl`, resume.

The order of studies and the shuffling of regions follow from (seed, epoch, study) alone, so that a run goes on where it was
broken off, bit for bit on one device, and a process count changes nothing but speed: `batch_size` × `accumulation` studies
make one optimizer step, however many processes share them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..contracts import Study
from ..data.dataset import open_views
from ..data.store import Store
from ..errors import UserError
from ..files import write_text
from ..model import weights
from ..model.alignment import make_target
from ..model.batch import collate
from ..model.composite import build_model
from ..model.samples import Samples, encode_features
from ..progress import Progress, silent
from ..recipe import Recipe
from . import checkpoint
from .optim import learning_rate_factor, make_optimizers, set_learning_rate


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


def accelerated() -> bool:
    """Whether torch sees a GPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


class Trainer:
    """One training run: built once, then `run`."""

    def __init__(self, recipe: Recipe, store: Store, out: Path, progress: Progress = silent) -> None:
        from accelerate import Accelerator

        self.recipe, self.store, self.out, self.progress = recipe, store, Path(out), progress
        precision = recipe.training.precision
        # without an accelerator it must be told, or several processes train alone side by side
        self.accelerator = Accelerator(mixed_precision=None if precision == "no" else precision, cpu=not accelerated())
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        if self.world != int(os.environ.get("WORLD_SIZE", "1")):
            raise UserError(
                f"{os.environ['WORLD_SIZE']} processes were started, but they don't train together",
                fix="Start them with torchrun.",
            )
        self.folder = self.out / "checkpoints"

    def run(self, init: Sequence[Path], resume: bool) -> Result:
        started = time.monotonic()
        start = self._check_folder(resume)
        studies = training_studies(self.store)
        torch.manual_seed(self.recipe.training.seed)
        self.model, self.base = build_model(self.recipe, corpus_of(studies, self.recipe), self.recipe.training.seed)
        weights.load_visual(self.model, init)
        self.samples = self._samples(studies)
        optimizers = make_optimizers(self.model, self.recipe.training.optimizer)
        self.total = self._total_steps(len(studies))
        if start:
            self._restore(start, optimizers)
        self.wrapped, *self.optimizers = self.accelerator.prepare(self.model, *optimizers)
        loss = self._steps(start)
        return self._finish(loss, time.monotonic() - started)

    def _check_folder(self, resume: bool) -> int:
        """The step to go on from; refuses a folder that holds another run."""
        steps = checkpoint.found(self.folder)
        finished = (self.out / weights.CONFIG).is_file()
        if not resume:
            if steps or finished:
                raise UserError("the folder holds a run already", self.out, "Choose another --out, or go on with --resume.")
            return 0
        if not steps and finished:
            raise UserError("the run has no checkpoint to go on from", self.out, "Train into another folder.")
        if not steps:
            return 0
        state = json.loads((self.folder / f"step-{steps[-1]:06d}" / "state.json").read_text())
        if state["recipe"] != self.recipe.fingerprint():
            raise UserError(
                "the checkpoint was made with another recipe",
                self.out,
                "Resume with the same options, or choose another --out.",
            )
        return steps[-1]

    def _samples(self, studies: list[Study]) -> Samples:
        geometry = self.recipe.geometry_encoder is not None
        ids = [s.id for s in studies]
        source = open_views(self.store, ids, self.recipe.views, geometry=geometry, progress=self.progress)
        features = None
        if self.recipe.training.cache_features:
            if not self.recipe.volume_encoder.freeze:
                hint = "Set volume_encoder.freeze=true or training.cache_features=false."
                raise UserError("features can be cached only while the volume encoder is frozen", fix=hint)
            self.model.visual.to(self.accelerator.device)
            features = encode_features(self.model, source, progress=self.progress)
        return Samples(self.model, studies, source, features)

    @property
    def _effective(self) -> int:
        return self.recipe.training.batch_size * self.recipe.training.accumulation

    def _total_steps(self, studies: int) -> int:
        epoch = math.ceil(studies / self._effective)
        return self.recipe.training.max_steps or self.recipe.training.epochs * epoch

    def _restore(self, step: int, optimizers: list[Any]) -> None:
        tensors, state = checkpoint.read(self.folder, step)
        weights.load_into(self.model, tensors, self.folder, partial_decoder=self.base is not None)
        checkpoint.restore(self.folder, step, state, optimizers)
        kept = [line for line in self._metric_lines() if json.loads(line)["step"] <= step]
        write_text(self.out / "metrics.jsonl", "".join(f"{line}\n" for line in kept))

    def _metric_lines(self) -> list[str]:
        path = self.out / "metrics.jsonl"
        return path.read_text().splitlines() if path.is_file() else []

    def _order(self, start: int) -> Iterator[tuple[int, int, list[int]]]:
        """(step, epoch, studies of that step) from `start` on; each study once an epoch."""
        count = len(self.samples)
        per_epoch = math.ceil(count / self._effective)
        for step in range(start, self.total):
            epoch, place = divmod(step, per_epoch)
            order = list(range(count))
            random.Random(f"{self.recipe.training.seed}/{epoch}").shuffle(order)
            yield step, epoch, order[place * self._effective : (place + 1) * self._effective]

    def _steps(self, start: int) -> float:
        spec, loss, mark = self.recipe.training, math.nan, time.monotonic()
        self.wrapped.train()
        for step, epoch, chosen in self._order(start):
            rate = set_learning_rate(self.optimizers, learning_rate_factor(spec.schedule, step, self.total))
            loss, norm = self._step(chosen, epoch)
            done = step + 1
            if done % spec.log_every == 0 or done == self.total:
                took, mark = time.monotonic() - mark, time.monotonic()
                self._log(step=done, epoch=epoch, loss=loss, lr=rate, grad_norm=norm, seconds=round(took, 3))
            self.progress("Train", done, self.total, f"loss {loss:.3f}")
            if done % spec.checkpoint_every == 0 and done < self.total:
                self._checkpoint(done)
        return loss

    def _step(self, chosen: list[int], epoch: int) -> tuple[float, float]:
        """One optimizer step over the studies `chosen`; the loss is the mean over studies of their means over tokens."""
        spec = self.recipe.training
        mine, size = chosen[self.rank :: self.world], spec.batch_size
        total = torch.zeros((), device=self.accelerator.device)
        # every process makes as many passes, or those that have one more would wait for the others for ever
        for start in range(0, math.ceil(len(chosen) / self.world), size):
            part = mine[start : start + size]
            samples = [self.samples.training(i, spec.seed, epoch) for i in part or chosen[:1]]
            batch = collate(samples, self.model.tokenizer.pad_token_id).to(self.accelerator.device)
            with self.accelerator.autocast():
                nll, count = self.wrapped(batch)
            loss = (nll / count.clamp(min=1e-6)).sum() / len(chosen) * (1.0 if part else 0.0)
            # each process holds a share of the step; DDP averages gradients, hence the factor
            self.accelerator.backward(loss * self.world)
            total += loss.detach()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        norm = self.accelerator.clip_grad_norm_(parameters, spec.optimizer.clip) if spec.optimizer.clip else torch.zeros(())
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        value = float(self.accelerator.reduce(total, "sum"))
        if not math.isfinite(value):
            raise UserError(f"the loss became {value}", self.out, "Lower training.optimizer.lr, or train with precision: no.")
        return value, float(norm)

    def _log(self, **row: Any) -> None:
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _checkpoint(self, step: int) -> None:
        if self.accelerator.is_main_process:
            facts = {"recipe": self.recipe.fingerprint(), "data": self.store.fingerprint()}
            state = weights.own_state(self.model, self.base)
            checkpoint.write(self.folder, step, state, self.optimizers, facts, self.recipe.training.keep)
        self.accelerator.wait_for_everyone()

    def _finish(self, loss: float, seconds: float) -> Result:
        self._checkpoint(self.total)
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        parameters = sum(p.numel() for p in self.model.parameters())
        if self.accelerator.is_main_process:
            weights.save(self.model, self.out, self.base, self._facts(loss))
        self.accelerator.wait_for_everyone()
        return Result(self.out, self.total, loss, seconds, parameters, trained)

    def _facts(self, loss: float) -> dict[str, Any]:
        from .. import __version__

        info = self.store.info
        return {
            "reg2rg_version": __version__,
            "recipe": self.recipe.name,
            "recipe_fingerprint": self.recipe.fingerprint(),
            "data_fingerprint": self.store.fingerprint(),
            "trained_on_phantoms": bool(info.get("phantom")),
            "studies": len(self.samples),
            "steps": self.total,
            "final_loss": round(loss, 4),
            "seed": self.recipe.training.seed,
        }
