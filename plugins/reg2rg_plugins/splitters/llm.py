"""Splitter `llm`: any chat model of Hugging Face names the region of each sentence (the paper: Qwen2.5-14B, Sec. IV-A).

In: reports. Out: region → sentences. The model only ever chooses among the ten regions and "other", sentence by sentence
(`choices.py`); texts are the report's own. A report whose question is too long, or whose answer can't be read, is split by
`rules`; `fallbacks` says which and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from reg2rg.errors import UserError

from ..devices import device_of
from .choices import OTHER, Answers, question, read
from .rules import assign, gather, placeable

Progress = Callable[..., None]
Assigned = list[tuple[str, tuple[str, ...]]]


class _Question(NamedTuple):
    """Some sentences of one report (`start`: their place among those that are asked about), as the model's tokens."""

    report: int
    start: int
    size: int
    ids: list[int]


class LLM:
    """The splitter. `model`: hub name or folder of a chat model; `revision` pins a hub version.

    `device`: cpu, cuda, cuda:1; auto is a GPU where there is one. `dtype` auto: bfloat16 on a GPU, float32 elsewhere. A report
    of more than `max_sentences` is asked about in parts. After `split` or `split_all`, `fallbacks` maps the place of a report
    that was split by `rules` to the reason.
    """

    def __init__(
        self,
        model: str = "Qwen/Qwen2.5-14B-Instruct",
        revision: str | None = None,
        device: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        batch_size: int = 8,
        max_sentences: int = 40,
        progress: Progress | None = None,
    ) -> None:
        if batch_size < 1 or max_sentences < 1:
            raise UserError("batch_size and max_sentences must be 1 or more", "llm")
        self.batch_size, self.max_sentences, self.progress = batch_size, max_sentences, progress
        self.model, self.tokenizer = load(model, revision, device, dtype)
        self.answers = Answers(self.tokenizer, self.tokenizer.eos_token_id)
        self.context = _context(self.model, self.tokenizer)
        self.fallbacks: dict[int, str] = {}

    def split(self, report: str) -> dict[str, str]:
        """Region → its sentences joined by a blank, regions in the order of `reg2rg.anatomy.REGIONS`."""
        return self.split_all([report])[0]

    def split_all(self, reports: Sequence[str]) -> list[dict[str, str]]:
        """The same for many reports, in batches."""
        self.fallbacks = {}
        asked = [[p.text for p in placeable(report) if p.kind == "sentence"] for report in reports]
        questions = [q for i, sentences in enumerate(asked) for q in self._questions(i, sentences)]
        chosen = [[OTHER] * len(sentences) for sentences in asked]
        for q, choices in self._answered(questions):
            chosen[q.report][q.start : q.start + q.size] = choices
        return [self._gathered(i, report, asked[i], chosen[i]) for i, report in enumerate(reports)]

    def _gathered(self, place: int, report: str, sentences: list[str], choices: list[str]) -> dict[str, str]:
        if place in self.fallbacks:
            return gather(assign(report))
        pairs = zip(sentences, choices, strict=True)
        return gather([(text, () if choice == OTHER else (choice,)) for text, choice in pairs])

    def _questions(self, place: int, sentences: list[str]) -> list[_Question]:
        """The questions about one report; none, and a note, where one is longer than the model takes."""
        questions = []
        for start in range(0, len(sentences), self.max_sentences):
            part = sentences[start : start + self.max_sentences]
            ids = self._tokens(question(part, sentences[start - 1] if start else ""))
            if len(ids) + self.answers.longest(len(part)) > self.context:
                self.fallbacks[place] = f"its sentences are more than the model takes at once ({self.context} tokens)"
                return []
            questions.append(_Question(place, start, len(part), ids))
        return questions

    def _tokens(self, text: str) -> list[int]:
        chat = [{"role": "user", "content": text}]
        prompt = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def _answered(self, questions: list[_Question]) -> Iterable[tuple[_Question, list[str]]]:
        """Each question with its choices; reports with an answer that can't be read are noted in `fallbacks`."""
        order = sorted(questions, key=lambda q: len(q.ids))  # alike lengths side by side: little padding
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            self._tell(start, len(order))
            for q, answer in zip(batch, self._ask(batch), strict=True):
                try:
                    yield q, read(answer, q.size)
                except ValueError as error:
                    self.fallbacks[q.report] = str(error)
        if order:
            self._tell(len(order), len(order))

    def _ask(self, batch: list[_Question]) -> list[str]:
        """The model's answers; a batch that a GPU's memory can't hold is asked in halves, a single one answered by ""."""
        import torch

        try:
            return self._generate(batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        half = len(batch) // 2
        return [*self._ask(batch[:half]), *self._ask(batch[half:])] if half else [""]

    def _generate(self, batch: list[_Question]) -> list[str]:
        import torch

        width, pad = max(len(q.ids) for q in batch), self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(q.ids)) + q.ids for q in batch], device=self.model.device)
        seen = torch.tensor([[0] * (width - len(q.ids)) + [1] * len(q.ids) for q in batch], device=self.model.device)

        def allowed(row: int, written: torch.Tensor) -> list[int]:
            return self.answers.allowed(batch[row].size, written[width:].tolist())

        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=seen,
                max_new_tokens=max(self.answers.longest(q.size) for q in batch),
                prefix_allowed_tokens_fn=allowed,
            )
        return [self.tokenizer.decode(row[width:], skip_special_tokens=True) for row in out]

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            note = f"{len(self.fallbacks)} reports left to rules" if self.fallbacks else ""
            self.progress("llm", done, total, note)


def load(name: str, revision: str | None, device: str, dtype: str) -> tuple[Any, Any]:
    """The chat model, ready to answer, and its tokenizer.

    Raises UserError where it is not at hand, can't be loaded or is no chat model.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    from ..decoders.hf import load_tokenizer, locate

    fix = "Download it where you may, and name its folder: --splitter-options model=FOLDER."
    try:
        folder = locate(name, revision)
    except UserError as error:
        raise UserError(
            f"the chat model '{name}' is neither a folder nor on this machine, nor to be fetched", fix=fix
        ) from error
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        raise UserError("this is no chat model: its tokenizer has no chat template", name, "Choose an instruction-tuned model.")
    place = device_of(device)
    kind = dtype if dtype != "auto" else "bfloat16" if place.type == "cuda" else "float32"
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind), use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise UserError(f"the chat model can't be loaded ({reason})", name, fix) from error
    # its own settings may sample, or shun what was written before: each line would weigh on the next
    model.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model.to(place).eval(), tokenizer


def _context(model: Any, tokenizer: Any) -> int:
    """How many tokens a question and its answer may have together."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    return int(min(positions, tokenizer.model_max_length or 1 << 30))
