"""Checks of decoders: a Hugging Face causal language model and its tokenizer, as prompts, training and decoding use them."""

from __future__ import annotations

import inspect
import tempfile
from typing import Any

import torch

from . import Subject, check, expect

CORPUS = (
    "The region 0 is lung: Both lungs are clear. ",
    "The region 1 is heart: The heart is enlarged, with calcified coronary arteries. ",
    "The region 2 is bone: No fracture is seen in the bones. ",
)


def _build(subject: Subject) -> tuple[Any, Any]:
    built = subject.part.build
    pair = built(CORPUS) if "corpus" in inspect.signature(built).parameters else built()
    expect(isinstance(pair, tuple) and len(pair) == 2, f"build gave {type(pair).__name__}")
    return pair


def _pair(subject: Subject) -> tuple[Any, Any]:
    """The model and its tokenizer, built once a subject."""
    if "built" not in subject.__dict__:
        subject.__dict__["built"] = _build(subject)
    model, tokenizer = subject.__dict__["built"]
    return model.eval(), tokenizer


def _embeddings(model: Any, tokenizer: Any) -> torch.Tensor:
    """Input embeddings (1, T, width) of a sentence."""
    ids = torch.tensor([tokenizer(CORPUS[0], add_special_tokens=False)["input_ids"]])
    return model.get_input_embeddings()(ids).detach()


@check("decoder", "build() gives a PreTrainedModel and its PreTrainedTokenizerBase")
def _types(subject: Subject) -> None:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, tokenizer = _pair(subject)
    found = f"{type(model).__name__} and {type(tokenizer).__name__}"
    expect(isinstance(model, PreTrainedModel) and isinstance(tokenizer, PreTrainedTokenizerBase), found)


@check("decoder", "the tokenizer has an end token and tells the place of each token (a fast one)")
def _tokenizer(subject: Subject) -> None:
    tokenizer = _pair(subject)[1]
    expect(tokenizer.eos_token_id is not None, "no eos_token")
    expect(tokenizer.is_fast, "a slow tokenizer, without offsets")


@check("decoder", "a sentence comes back from its tokens")
def _round_trip(subject: Subject) -> None:
    tokenizer = _pair(subject)[1]
    for text in CORPUS:
        back = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)
        expect(back.strip() == text.strip(), repr(back))


@check("decoder", "inputs_embeds (1, T, width) give finite logits for every token of the tokenizer")
def _logits(subject: Subject) -> None:
    model, tokenizer = _pair(subject)
    with torch.no_grad():
        logits = model(inputs_embeds=_embeddings(model, tokenizer)).logits
    rows = model.get_input_embeddings().weight.shape[0]
    expect(
        min(logits.shape[-1], rows) >= len(tokenizer), f"{logits.shape[-1]} logits and {rows} rows for {len(tokenizer)} tokens"
    )
    expect(bool(logits.isfinite().all()), "logits that aren't finite")


@check("decoder", "a loss reaches the input embeddings, where visual tokens come in")
def _gradient(subject: Subject) -> None:
    model, tokenizer = _pair(subject)
    embeds = _embeddings(model, tokenizer).requires_grad_()
    model(inputs_embeds=embeds).logits.float().logsumexp(-1).mean().backward()
    expect(embeds.grad is not None and bool(embeds.grad.any()), "no gradient")
    model.zero_grad()


@check("decoder", "generate(inputs_embeds=…) writes new tokens")
def _generates(subject: Subject) -> None:
    model, tokenizer = _pair(subject)
    embeds = _embeddings(model, tokenizer)
    mask = torch.ones(embeds.shape[:2], dtype=torch.long)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": pad}
    out = model.generate(inputs_embeds=embeds, attention_mask=mask, **options)
    expect(1 <= out.shape[1] <= 3, f"{out.shape[1]} tokens for max_new_tokens=3")


@check("decoder", "save_pretrained and from_pretrained give the same model and tokenizer")
def _saves(subject: Subject) -> None:
    model, tokenizer = _pair(subject)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        again, words = type(model).from_pretrained(folder), type(tokenizer).from_pretrained(folder)
        embeds = _embeddings(model, tokenizer)
        gap = (again.eval()(inputs_embeds=embeds).logits - model(inputs_embeds=embeds).logits).abs().max().item()
    expect(gap < 1e-4, f"logits that differ by {gap:.2g}")
    expect(words(CORPUS[1])["input_ids"] == tokenizer(CORPUS[1])["input_ids"], "other token ids")
