"""The whole model: visual tokens take their places in the prompt's embeddings, a decoder reads and writes (Eqs. 1, 8, 9).

In: `Batch`. Out: the language-modelling loss of each study, or input embeddings for generation.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import plugins
from ..errors import UserError
from ..recipe import Decoder, Lora, Recipe
from .batch import Batch
from .prompt import IGNORE, PromptBuilder
from .visual import VisualModel


class Reg2RGModel(nn.Module):
    """Visual model, decoder and prompt of one recipe. `decoder` and `tokenizer` are Hugging Face objects."""

    def __init__(self, recipe: Recipe, decoder: Any, tokenizer: Any) -> None:
        super().__init__()
        self.recipe, self.tokenizer = recipe, tokenizer
        self.decoder = decoder
        self.visual = VisualModel(recipe, decoder.get_input_embeddings().weight.shape[1])
        # the most tokens of prompt and text together
        self.context: int | None = getattr(getattr(decoder, "config", None), "max_position_embeddings", None)
        visual = self.visual.image_tokens, self.visual.region_tokens
        self.prompts = PromptBuilder(recipe, tokenizer, *visual, context=self.context)
        base = decoder.get_base_model() if hasattr(decoder, "get_base_model") else decoder
        self._keeps_logits = "logits_to_keep" in inspect.signature(base.forward).parameters

    def table(self, batch: Batch) -> Tensor:
        """Each study's visual rows (B, rows, width), as `model.prompt` lays them out; slots that a study lacks are zero."""
        seen = self.visual(batch.images, batch.textures, batch.masks, batch.encoded)
        tags = torch.cat([self.visual.image_tags, self.visual.region_tags]).expand(len(batch.ids), -1, -1)
        rows = [tags]
        if seen.image is not None:
            rows.append(seen.image)
        if seen.regions is not None and len(batch.slot):
            tokens = seen.regions
            if self.recipe.prompt.index_embedding:
                tokens = tokens + self._index_embeddings(batch.slot)[:, None]
            shape = (len(batch.ids), int(batch.slot.max()) + 1, *tokens.shape[1:])
            slots = torch.zeros(shape, dtype=tokens.dtype, device=tokens.device)
            rows.append(slots.index_put((batch.study, batch.slot), tokens).flatten(1, 2))
        return torch.cat([r.to(tags.dtype) for r in rows], dim=1)

    def _index_embeddings(self, slot: Tensor) -> Tensor:
        ids = torch.tensor([self.prompts.index_id(int(i)) for i in range(int(slot.max()) + 1)], device=slot.device)
        return self.decoder.get_input_embeddings()(ids)[slot]

    def embed(self, batch: Batch) -> Tensor:
        """The decoder's input (B, T, width): words from its own table, ids from V on from the study's visual rows."""
        return assemble(batch.ids, self.decoder.get_input_embeddings(), self.table(batch), self.prompts.vocabulary)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Eq. 9: weighted negative log-likelihood of each study's target (B,) and the sum of its weights (B,)."""
        embeds = self.embed(batch)
        first = int(batch.lengths.min())
        keep = {"logits_to_keep": embeds.shape[1] - first + 1} if self._keeps_logits else {}
        logits = self.decoder(inputs_embeds=embeds, attention_mask=batch.attention, use_cache=False, **keep).logits
        return nll(logits, batch.labels[:, -logits.shape[1] :], batch.weights[:, -logits.shape[1] :])


def nll(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w·nll and Σ w of each row for logits (B, T, V) that predict the next of labels (B, T); rows without labels give 0."""
    target = labels[:, 1:]
    weight = torch.where(target != IGNORE, weights[:, 1:], 0.0)
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), target.flatten(), ignore_index=IGNORE, reduction="none")
    return (losses.view_as(weight) * weight).sum(1), weight.sum(1)


def assemble(ids: Tensor, words: nn.Module, table: Tensor, vocabulary: int) -> Tensor:
    """Ids (B, T) → embeddings (B, T, width) by one gather from the word table and one from `table` (B, rows, width).

    Rows beyond `table` are zero.
    """
    visual = ids >= vocabulary
    out = words(ids.clamp(max=vocabulary - 1))
    study, place = visual.nonzero(as_tuple=True)
    wanted = ids[study, place] - vocabulary
    if wanted.numel() and (missing := int(wanted.max()) + 1 - table.shape[1]) > 0:
        table = F.pad(table, (0, 0, 0, missing))  # a text may hold the tag of a slot that no study of the batch fills
    rows = table[study, wanted].to(out.dtype)
    # in place where nothing is learnt; a leaf that gradients are asked of may not be written to
    return (out.index_put if out.requires_grad or rows.requires_grad else out.index_put_)((study, place), rows)


def build_decoder(spec: Decoder, corpus: Sequence[str] = ()) -> tuple[Any, Any, str | None]:
    """The decoder plugin's model and tokenizer, and the name of its base weights where they come from elsewhere.

    Raises UserError where 4-bit weights are asked of a plugin that has none, or without adapters to train.
    """
    if spec.quantization != "none":
        _check_quantization(spec)
    plugin = plugins.resolve("decoder", spec.name, spec.options, dtype=spec.dtype, quantization=spec.quantization)
    with_corpus = "corpus" in inspect.signature(plugin.build).parameters
    model, tokenizer = plugin.build(corpus) if with_corpus else plugin.build()
    return model, tokenizer, getattr(plugin, "base", None)


def _check_quantization(spec: Decoder) -> None:
    where = f"decoder.quantization={spec.quantization}"
    if spec.lora is None:
        raise UserError("4-bit weights can't be trained without adapters", where, "Set decoder.lora, or quantization: none.")
    if "quantization" not in plugins.parameters(plugins.target_of("decoder", spec.name)):
        raise UserError(f"the decoder '{spec.name}' has no 4-bit weights", where, "Set decoder.quantization=none.")


def prepare_decoder(model: Any, spec: Decoder, training: bool) -> Any:
    """Adapters, dtype and gradient checkpointing as the recipe says; 4-bit weights keep their type."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it where it is; it recommends packages on a CPU
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft still calls transformers by older names
        warnings.filterwarnings("ignore", "fan_in_fan_out")  # what peft does by itself for GPT-2's kind of layer
        model = _four_bits(model, spec, training) if spec.quantization != "none" else _plain(model, spec, training)
        return model if spec.lora is None else _adapted(model, spec.lora)


def _plain(model: Any, spec: Decoder, training: bool) -> Any:
    model = model.to(getattr(torch, spec.dtype))
    if training and spec.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _four_bits(model: Any, spec: Decoder, training: bool) -> Any:
    if not training:
        return model
    from peft import prepare_model_for_kbit_training

    # it also keeps what isn't quantised (norms, word table, output) in float32
    return prepare_model_for_kbit_training(
        model, spec.gradient_checkpointing, gradient_checkpointing_kwargs={"use_reentrant": False}
    )


def _adapted(model: Any, lora: Lora) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=lora.target_modules,
        task_type=TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config)


def build_model(recipe: Recipe, corpus: Sequence[str] = (), seed: int = 0) -> tuple[Reg2RGModel, str | None]:
    """A fresh model of a recipe, its new weights drawn from `seed`; and the name of its base weights, if any."""
    decoder, tokenizer, base = build_decoder(recipe.decoder, corpus)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Reg2RGModel(recipe, prepare_decoder(decoder, recipe.decoder, training=True), tokenizer)
    return model, base
