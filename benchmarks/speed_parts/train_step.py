"""Part train_step: one optimizer step on two studies: a LLaMA of 4 layers, width 256 and 32,000 words behind the visual side
of recipe `tiny`, ten regions each, with the paper's wording and AdamW.

Ours is what `train` does: features of the frozen encoder from its cache, padding to the longest text, logits where there are
labels, clipping, AdamW. Limit: the decoder's forward and backward alone on embeddings of that length. Plain way: views
through the encoder each time, padding to 2,048, the table put together and multiplied with one-hot ids, logits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.contracts import Study, StudyViews
from reg2rg.model.batch import Batch
from reg2rg.model.composite import Reg2RGModel, build_model, nll
from reg2rg.model.prompt import IGNORE
from reg2rg.model.samples import Samples
from reg2rg.recipe import Recipe
from reg2rg.train import engine
from reg2rg.train.loading import Batches
from reg2rg.train.order import Order

from .texts import pairs
from .timing import Row, Settings, against, measure, seconds

WORDS, LENGTH = 32_000, 2048
LLAMA = {"width": 256, "layers": 4, "heads": 4, "mlp": 688}
SMALL = {"width": 64, "layers": 1, "heads": 2, "mlp": 64}


class Drawn:
    """Random views of some studies, all ten regions each."""

    def __init__(self, ids: Sequence[str], settings: Recipe) -> None:
        size, small = settings.views.size, settings.views.geometry_size or settings.views.size
        draw = torch.Generator().manual_seed(0)
        self.ids = list(ids)
        self._views = [
            StudyViews(
                torch.rand(1, *size, generator=draw) * 2 - 1,
                torch.rand(len(REGIONS), 1, *size, generator=draw) * 2 - 1,
                torch.rand(len(REGIONS), 1, *small, generator=draw),
                REGIONS,
            )
            for _ in ids
        ]

    def __getitem__(self, index: int) -> StudyViews:
        return self._views[index]


class Held:
    """The frozen encoder's features of all views, in memory: what `train` reads from its feature cache."""

    def __init__(self, model: Reg2RGModel, views: Drawn) -> None:
        model.visual.eval()
        with torch.no_grad():
            found = [views[i] for i in range(len(views.ids))]
            self._images = [model.visual.encode(v.image[None])[0] for v in found if v.image is not None]
            self._textures = [model.visual.encode(v.textures) for v in found]

    def image(self, index: int) -> Tensor:
        return self._images[index]

    def textures(self, index: int, places: Sequence[int]) -> Tensor:
        return self._textures[index][list(places)]


def studies(count: int) -> list[Study]:
    """Studies with the sentences of a report dealt out to the regions."""
    out = []
    for report in pairs(count, seed=1):
        sentences = [f"{s.strip('. ')}." for s in report.reference.split(". ")]
        texts = {region: " ".join(sentences[i :: len(REGIONS)]) for i, region in enumerate(REGIONS)}
        out.append(Study(report.study, "train", {r: t for r, t in texts.items() if t}))
    return out


def settings_of(quick: bool) -> Recipe:
    """Recipe `tiny` around the larger decoder, with the paper's wording and optimizer."""
    paper = recipe.load("reg2rg")
    changes: dict[str, Any] = {
        "prompt": paper.prompt.model_dump(),
        "decoder": {"name": "tiny", "options": SMALL if quick else LLAMA},
        "training": {"batch_size": 2, "optimizer": paper.training.optimizer.model_dump()},
    }
    return recipe.load("tiny", changes)


def full_encoders() -> Recipe:
    """Recipe `reg2rg` with its full-size visual side, all in float32, around the same decoder."""
    decoder = {"name": "tiny", "options": LLAMA, "lora": "none", "dtype": "float32", "gradient_checkpointing": False}
    training = {"accumulation": 1, "precision": "no", "workers": 0}
    return recipe.load("reg2rg", {"decoder": decoder, "training": training})


def build(spec: Recipe, told: Sequence[Study], words: int) -> Reg2RGModel:
    """The recipe's model with a vocabulary of exactly `words`, filled up with words that occur nowhere."""
    texts = [*(t for s in told for t in s.region_reports.values()), spec.prompt.lead_in, spec.prompt.instruction, *REGIONS]
    texts.append("The region 0 is : 1 2 3 4 5 6 7 8 9 .")
    known = len(build_model(spec, texts)[0].tokenizer)
    fill = " ".join(f"w{i}" for i in range(words - known))
    model, _ = build_model(spec, [*texts, fill])
    if len(model.tokenizer) != words:
        raise RuntimeError(f"the vocabulary has {len(model.tokenizer)} words, not {words}")
    return model


class Step:
    """A training step as `train` makes it, with its engine, batches and order."""

    def __init__(self, spec: Recipe, model: Reg2RGModel, samples: Samples) -> None:
        self.spec, self.engine = spec.training, engine.start(spec.training)
        self.engine.prepare(model, spec.training.optimizer)
        self.engine.wrapped.train()
        self.batches = Batches(samples, model.tokenizer.pad_token_id, spec.training.seed)
        size = spec.training.batch_size
        self.work = next(iter(Order(len(samples), size, size, spec.training.seed, 1).works(0, 0, 1)))

    def batch(self) -> Batch:
        """The step's studies, collated."""
        found = self.batches[self.work]
        if not isinstance(found, Batch):
            raise found
        return found

    def __call__(self, loss: Callable[[Batch], tuple[Tensor, Tensor]] | None = None) -> float:
        told, count = (loss or self.engine.loss)(self.batch())
        value = (told / count.clamp(min=1e-6)).sum() / self.work.total
        self.engine.backward(value)
        self.engine.step(self.spec.optimizer.clip)
        return float(value.detach())


def bare(model: Reg2RGModel, batch: Batch) -> Callable[[], None]:
    """Forward and backward of the decoder alone on embeddings of the batch's length."""
    with torch.no_grad():
        embeds = model.embed(batch)
    keep = embeds.shape[1] - int(batch.lengths.min()) + 1

    def run() -> None:
        inputs = embeds.detach().requires_grad_()
        logits = model.decoder(
            inputs_embeds=inputs, attention_mask=batch.attention, use_cache=False, logits_to_keep=keep
        ).logits
        told, count = nll(logits, batch.labels[:, -keep:], batch.weights[:, -keep:])
        (told.sum() / count.sum()).backward()
        model.zero_grad(set_to_none=True)

    return run


def plain_loss(model: Reg2RGModel, length: int) -> Callable[[Batch], tuple[Tensor, Tensor]]:
    """The loss the plain way: padded to `length`, one-hot ids times the whole table, logits of every place."""

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        more = length - batch.ids.shape[1]
        ids = F.pad(batch.ids, (0, more), value=model.tokenizer.pad_token_id)
        words = model.decoder.get_input_embeddings().weight
        visual = model.table(batch)
        table = torch.cat([words.expand(len(ids), -1, -1), visual], dim=1)
        embeds = F.one_hot(ids, table.shape[1]).to(table.dtype) @ table
        logits = model.decoder(inputs_embeds=embeds, attention_mask=F.pad(batch.attention, (0, more)), use_cache=False).logits
        return nll(logits, F.pad(batch.labels, (0, more), value=IGNORE), F.pad(batch.weights, (0, more)))

    return loss


def run(variant: str, settings: Settings) -> Row:
    """The part's row; with the plain way also what caching a full-size encoder's features saves an epoch."""
    spec, told = settings_of(settings.quick), studies(2)
    model = build(spec, told, 1500 if settings.quick else WORDS)
    views = Drawn([s.id for s in told], spec)
    step = Step(spec, model, Samples(model, told, views, Held(model, views)))
    batch = step.batch()
    row = measure(step, bare(model, batch), settings.runs)
    row["tokens"] = batch.ids.shape[1]
    if not settings.plain:
        return row
    step.batches = Batches(Samples(model, told, views), model.tokenizer.pad_token_id, spec.training.seed)
    row["difference"] = _difference(model, step, batch, LENGTH)
    row = against(row, lambda: step(plain_loss(model, LENGTH)), 3)
    return {**row, "cached_encoder": saving(settings.quick)}


@torch.no_grad()
def _difference(model: Reg2RGModel, step: Step, batch: Batch, length: int) -> float:
    """How far the two ways' losses lie apart."""
    ours, ways = model(batch)[0], plain_loss(model, length)(step.batch())[0]
    return float(((ours - ways) / ours).abs().max())


def saving(quick: bool) -> Row:
    """One study's step with the full-size frozen encoder: computed each time, or read from cached features."""
    spec, told = settings_of(True) if quick else full_encoders(), studies(1)
    model = build(spec, told, 1500 if quick else WORDS)
    views = Drawn([s.id for s in told], spec)
    step = Step(spec, model, Samples(model, told, views, Held(model, views)))
    step()
    cached = min(seconds(step) for _ in range(3))
    step.batches = Batches(Samples(model, told, views), model.tokenizer.pad_token_id, spec.training.seed)
    step()
    computed = min(seconds(step) for _ in range(2))
    return {"cached_seconds": cached, "computed_seconds": computed, "ratio": computed / cached}
