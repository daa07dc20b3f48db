"""What a bench would cost before it is run: parameters counted without memory for weights, time from operations counted.

A row that is finished gives its own seconds, and the speed by which the others' are scaled. Before that, operations are divided
by the speed of this machine's matrix products: an order of magnitude, no more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from .. import plugins
from ..anatomy import REGIONS
from ..model.composite import build_decoder
from ..model.visual import VisualModel
from ..recipe import Recipe
from .plan import Plan
from .row import Place, finished

WORDS_TO_TOKENS = 1.4
USE = 0.3  # the share of its matrix products' speed that training reaches
STEP_SECONDS = 0.05  # what a step takes whatever its size


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """One run: parameters (None where the decoder isn't on this machine), operations in training, optimizer steps."""

    parameters: int | None
    operations: float
    steps: int


def cost(recipe: Recipe, corpus: Sequence[str], studies: int, pretrained: bool) -> Cost:
    """Counts one run over `studies` training studies whose reports are `corpus`."""
    decoder, width = _decoder(recipe, corpus)
    with FakeTensorMode(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an encoder may ask a tensor where it lies, and these lie nowhere
        visual = VisualModel(recipe, width)
        encoding = _operations(lambda: visual.encode(torch.empty(1, 1, *recipe.views.size)))
    words = sum(len(text.split()) for text in corpus) / max(1, len(corpus))
    instruction = f"{recipe.prompt.lead_in} {recipe.prompt.instruction} {recipe.prompt.region * len(REGIONS)}"
    tokens = visual.image_tokens + len(REGIONS) * visual.region_tokens
    length = int(tokens + WORDS_TO_TOKENS * (words + len(instruction.split()) + 5 * len(REGIONS)))
    spec, views = recipe.training, int(recipe.views.image) + len(REGIONS) * (recipe.views.texture != "none")
    per_step = spec.batch_size * spec.accumulation
    steps = spec.max_steps or spec.epochs * max(1, studies // per_step)
    passes = 1 if recipe.volume_encoder.freeze else 3
    seen = studies if spec.cache_features else steps * per_step
    operations = views * encoding * passes * seen + steps * per_step * 3 * _reading(decoder, length, width)
    if pretrained:
        more = recipe.pretraining.max_steps or recipe.pretraining.epochs * max(1, studies // recipe.pretraining.batch_size)
        operations += 3 * encoding * more * recipe.pretraining.batch_size * min(views, recipe.pretraining.views_per_study)
        steps += more
    counted = None if decoder is None else sum(p.numel() for part in (visual, decoder) for p in part.parameters())
    return Cost(counted, operations, steps)


def _decoder(recipe: Recipe, corpus: Sequence[str]) -> tuple[Any, int]:
    """The decoder without weights, or None where it isn't on this machine (then the paper's width is taken)."""
    spec = recipe.decoder
    plugin = plugins.resolve("decoder", spec.name, spec.options, dtype=spec.dtype)
    if "corpus" in inspect.signature(plugin.build).parameters:
        model = build_decoder(spec, corpus)[0].to("meta")
        return model, model.get_input_embeddings().weight.shape[1]
    from transformers import AutoConfig, AutoModelForCausalLM

    base = str(getattr(plugin, "base", ""))
    with contextlib.suppress(OSError, ValueError):
        config = AutoConfig.from_pretrained(base, local_files_only=not Path(base).is_dir())
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        return model, model.get_input_embeddings().weight.shape[1]
    return None, 4096


def _reading(decoder: Any, length: int, width: int) -> float:
    """Operations of a decoder over one text; without the decoder those of one with 7 billion weights."""
    if decoder is None:
        return 2 * 6.7e9 * length
    with torch.no_grad():
        return _operations(lambda: decoder(inputs_embeds=torch.empty(1, length, width, device="meta", dtype=decoder.dtype)))


def _operations(work: Any) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops())


def seconds(costs: Sequence[Cost], known: Sequence[float | None]) -> list[float]:
    """Each run's seconds: its own where it is finished; the others' by the finished ones' speed, else by this machine's."""
    plain = [c.operations / (USE * _speed()) + c.steps * STEP_SECONDS for c in costs]
    pairs = [(mine, guess) for mine, guess in zip(known, plain, strict=True) if mine is not None]
    factor = sum(mine for mine, _ in pairs) / sum(guess for _, guess in pairs) if pairs else 1.0
    return [guess * factor if mine is None else mine for mine, guess in zip(known, plain, strict=True)]


def foresee(plan: Plan, corpus: Sequence[str], studies: int, place: Place, jobs: int = 1) -> dict[str, Any]:
    """The plan with what each row would cost: {"rows", "seconds" (of what is left, `jobs` at a time), "from"}."""
    by_kind: dict[str, Cost] = {}
    costs, known = [], list[float | None]()
    for row in plan.runs.values():
        kind = row.recipe.model_copy(update={"training": row.recipe.training.model_copy(update={"seed": 0})}).fingerprint()
        if kind not in by_kind:
            by_kind[kind] = cost(row.recipe, corpus, studies, place.pretrained)
        costs.append(by_kind[kind])
        done = finished(place, row)
        known.append(None if done is None else float(done[0]["seconds"]))
    times = dict(zip(plan.runs, zip(costs, seconds(costs, known), known, strict=True), strict=True))
    rows = [
        {
            "name": row.name,
            "group": row.group,
            "recipe": row.recipe.name,
            "seed": row.seed,
            "parameters": times[row.run][0].parameters,
            "steps": times[row.run][0].steps,
            "seconds": round(times[row.run][1], 1),
            "finished": times[row.run][2] is not None,
            "shares": plan.runs[row.run].name if plan.runs[row.run] is not row else "",
        }
        for row in plan.rows
    ]
    left = sum(guess for _, guess, mine in times.values() if mine is None) / jobs
    source = "finished rows" if any(mine is not None for mine in known) else "operations counted; within a factor of 3 or so"
    return {"rows": rows, "seconds": round(left, 1), "from": source}


@functools.cache
def _speed() -> float:
    """Operations a second of this machine's matrix products."""
    matrix = torch.ones(2048, 2048, device="cuda" if torch.cuda.is_available() else "cpu")
    matrix = matrix @ matrix
    began, times = time.perf_counter(), 5
    for _ in range(times):
        product = matrix @ matrix
    float(product[0, 0])  # waits for a GPU
    return times * 2 * 2048**3 / (time.perf_counter() - began)
