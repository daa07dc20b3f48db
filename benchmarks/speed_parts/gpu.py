"""Parts of a GPU, timed only where torch sees one: the full-size model with random weights of a 7B LLaMA in bfloat16.

`gpu_train_step`: one study with ten regions forward, backward, clipping and AdamW on everything trained, frozen encoder
included, with gradient checkpointing and LoRA as in recipe `reg2rg`. `gpu_generate`: 256 tokens after that study's prompt.
Limit: the decoder alone, its forward and backward, or its steps. Written for one card of 80 GB; the weights take 14 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reg2rg import recipe
from reg2rg.model.composite import Reg2RGModel, prepare_decoder
from reg2rg.model.samples import Samples
from reg2rg.plugins import resolve
from reg2rg.recipe import Recipe

from .timing import Row, Settings, measure
from .train_step import WORDS, Drawn, Step, bare, studies

LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
NEW_TOKENS = 256


def spec_of(quick: bool) -> Recipe:
    """Recipe `reg2rg`, one study a step; small visual modules for tests."""
    changes: dict[str, Any] = {"training": {"accumulation": 1, "workers": 0}}
    if quick:
        small = {"volume_encoder": "conv3d", "geometry_encoder": "mask-conv", "views": {"size": (32, 32, 16)}}
        changes |= {**small, "adapter": {"options": {"tokens": 2, "depth": 1}}}
    return recipe.load("reg2rg", changes)


def build(spec: Recipe, told: list[Any], quick: bool, device: str) -> Reg2RGModel:
    """The model with a decoder of random weights, made on the device in its own type."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = [*(t for s in told for t in s.region_reports.values()), spec.prompt.lead_in, spec.prompt.instruction]
    words = 1500 if quick else WORDS
    texts.append("The region 0 is : 1 2 3 4 5 6 7 8 9 . " + " ".join(spec.prompt.prefix.split()))
    known = len(resolve("decoder", "tiny").build(texts)[1])
    _, tokenizer = resolve("decoder", "tiny").build([*texts, " ".join(f"w{i}" for i in range(words - known))])
    config = LlamaConfig(vocab_size=words, **(SMALL if quick else LLAMA_7B))
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            decoder = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model = Reg2RGModel(spec, prepare_decoder(decoder, spec.decoder, training=True), tokenizer)
    return model.to(device)


def _waiting(work: Callable[[], object], device: str) -> Callable[[], object]:
    """The work with the device's end awaited."""

    def run() -> object:
        result = work()
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def run(variant: str, settings: Settings, device: str = "cuda") -> Row:
    """The row of `train_step` or `generate`; `device_peak_mib` is the card's memory, `peak_mib` the process's."""
    told = studies(1)
    spec = spec_of(settings.quick)
    model = build(spec, told, settings.quick, device)
    step = Step(spec, model, Samples(model, told, Drawn([s.id for s in told], spec)))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row = (_train if variant == "train_step" else _generate)(model, step, settings, device)
    if device == "cuda":
        row |= {"device": torch.cuda.get_device_name(), "device_peak_mib": torch.cuda.max_memory_allocated() / 2**20}
    return row


def _train(model: Reg2RGModel, step: Step, settings: Settings, device: str) -> Row:
    batch = step.batch().to(device)
    with torch.autocast(device, torch.bfloat16):
        alone = bare(model, batch)

    def limit() -> None:
        with torch.autocast(device, torch.bfloat16):
            alone()

    row = measure(_waiting(step, device), _waiting(limit, device), settings.runs)
    tokens = int(batch.attention.sum())
    decoder = sum(p.numel() for p in model.decoder.parameters())
    # the frozen matrices go forward twice (checkpointing) and backward once, for the activations alone
    flops = 3 * 2 * decoder * tokens
    return {
        **row,
        "tokens": tokens,
        "tokens_per_second": tokens / row["seconds"],
        "decoder_tflops": flops / row["seconds"] / 1e12,
    }


def _generate(model: Reg2RGModel, step: Step, settings: Settings, device: str) -> Row:
    batch = step.batch().to(device)
    model.eval()
    count = 8 if settings.quick else NEW_TOKENS
    options: dict[str, Any] = {"min_new_tokens": count, "max_new_tokens": count, "do_sample": False}

    @torch.inference_mode()
    def ours() -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            embeds = model.embed(batch)
            return model.decoder.generate(
                inputs_embeds=embeds, attention_mask=batch.attention, pad_token_id=model.tokenizer.pad_token_id, **options
            )

    embeds = torch.randn_like(model.decoder.get_input_embeddings()(batch.ids.clamp(max=5)))

    @torch.inference_mode()
    def limit() -> Tensor:
        return model.decoder.generate(
            inputs_embeds=embeds, attention_mask=batch.attention, pad_token_id=model.tokenizer.pad_token_id, **options
        )

    row = measure(_waiting(ours, device), _waiting(limit, device), settings.runs)
    return {**row, "tokens": count, "tokens_per_second": count / row["seconds"]}
