"""Samples → grounded reports: batched generation, prefixes read back and removed (Sec. III-D)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ..contracts import GroundedReport, Prompt, RegionSection, Study
from ..model.alignment import read_back, strip_prefixes
from ..model.batch import Sample, collate
from ..model.composite import Reg2RGModel
from ..model.samples import Samples
from ..progress import Progress, silent
from ..recipe import Generation
from .grammar import RegionGrammar


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What the decoder wrote for one sample: the text with prefixes, and its confidence in each slot's name."""

    text: str
    confidence: tuple[float | None, ...]


@torch.inference_mode()
def write(model: Reg2RGModel, samples: Sequence[Sample], spec: Generation) -> list[Written]:
    """Generates one batch, greedily unless `spec.sample`; a text ends where the decoder's context does."""
    from transformers import GenerationConfig, LogitsProcessorList

    tokenizer, device = model.tokenizer, next(model.visual.parameters()).device
    batch = collate(samples, tokenizer.pad_token_id, left=True).to(device)
    slots = [len(s.prompt.regions) for s in samples]
    grammar = None
    if spec.grammar and model.recipe.alignment.identify:
        grammar = RegionGrammar(model.recipe, model.prompts.encode, tokenizer.eos_token_id, slots)
    room = (model.context or sys.maxsize) - batch.ids.shape[1]
    # every setting is said, so that none leaks in from a checkpoint's own generation settings
    config = GenerationConfig(
        max_new_tokens=min(spec.max_new_tokens, room),
        do_sample=spec.sample,
        num_beams=1,
        **({"temperature": spec.temperature, "top_p": spec.top_p, "top_k": spec.top_k} if spec.sample else {}),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model.decoder.generation_config = config
    processors = LogitsProcessorList([grammar] if grammar else [])
    ids = model.decoder.generate(
        inputs_embeds=model.embed(batch), attention_mask=batch.attention, generation_config=config, logits_processor=processors
    )
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    confidences = grammar.confidences() if grammar else [[] for _ in samples]
    return [Written(text, _padded(c, n)) for text, c, n in zip(texts, confidences, slots, strict=True)]


def _padded(confidence: Sequence[float], slots: int) -> tuple[float | None, ...]:
    return tuple(confidence[i] if i < len(confidence) else None for i in range(slots))


def grounded(model: Reg2RGModel, study: Study, prompt: Prompt, written: Written, settings: Mapping[str, Any]) -> GroundedReport:
    """The written text as sections that point at the regions shown in each slot."""
    parts = read_back(written.text, len(prompt.regions), model.recipe)
    sections = tuple(
        RegionSection(
            index=part.slot,
            region=region,
            named=part.named,
            confidence=written.confidence[part.slot],
            report=part.text,
            reference=study.region_reports.get(region, ""),
        )
        for part, region in zip(parts, prompt.regions, strict=True)
    )
    reference = " ".join(s.reference for s in sections if s.reference) or study.report
    return GroundedReport(study.id, sections, strip_prefixes(written.text, model.recipe), reference, dict(settings))


def generate(
    model: Reg2RGModel, samples: Samples, spec: Generation, settings: Mapping[str, Any], progress: Progress = silent
) -> Iterator[GroundedReport]:
    """Reports of all samples in order, batch by batch. Sampling is repeatable for a seed and a batch size."""
    if spec.sample:
        torch.manual_seed(spec.seed)
    total = len(samples)
    for start in range(0, total, spec.batch_size):
        rows = range(start, min(start + spec.batch_size, total))
        part = [samples.asking(i, spec.shuffle_regions, spec.seed) for i in rows]
        for i, sample, written in zip(rows, part, write(model, part, spec), strict=True):
            yield grounded(model, samples.studies[i], sample.prompt, written, settings)
        progress("Generate", rows.stop, total)
