"""Any causal language model of Hugging Face transformers, by hub name or local folder; the paper's decoder is one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reg2rg.errors import UserError


class HuggingFace:
    """A pretrained causal language model with its tokenizer; `dtype` and adapters are set by the recipe.

    `path` is a hub name or a folder with config.json, weights and tokenizer files; `revision` pins a hub version.
    """

    def __init__(self, path: str, revision: str | None = None, dtype: str = "float32") -> None:
        self.base, self.revision, self.dtype = str(path), revision, dtype

    def build(self) -> tuple[Any, Any]:
        """Loads the model and its tokenizer. Raises UserError where the weights aren't at hand."""
        import torch
        from transformers import AutoModelForCausalLM

        _quiet()
        tokenizer = load_tokenizer(self.base, self.revision)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self.base, revision=self.revision, dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise self._missing(error) from error
        return model, tokenizer

    def _missing(self, error: Exception) -> UserError:
        if Path(self.base).is_dir():
            return UserError(
                f"the folder holds no causal language model that can be loaded ({_first_line(error)})",
                self.base,
                "It needs config.json, model.safetensors and the tokenizer's files.",
            )
        return UserError(
            f"the weights of the decoder '{self.base}' are not on this machine and could not be fetched",
            fix="Download them where you may, and point to the folder: --decoder FOLDER (config.json, *.safetensors, tokenizer).",
        )


class Llama2(HuggingFace):
    """LLaMA-2-7B-chat, the paper's decoder (Sec. IV-B); its licence must be accepted on the hub."""

    def __init__(
        self, path: str = "meta-llama/Llama-2-7b-chat-hf", revision: str | None = None, dtype: str = "bfloat16"
    ) -> None:
        super().__init__(path, revision, dtype)


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """The tokenizer of a model; special tokens that its files leave empty are set to SentencePiece's own."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    except RecursionError:  # a LLaMA folder whose configuration holds empty special tokens
        tokenizer = AutoTokenizer.from_pretrained(path, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    except (OSError, ValueError) as error:
        if Path(path).is_dir():
            raise UserError(
                f"the folder holds no tokenizer that can be loaded ({_first_line(error)})",
                path,
                "Put tokenizer.json or tokenizer.model there.",
            ) from error
        raise UserError(
            f"the decoder '{path}' is not on this machine and could not be fetched",
            fix="Download its weights and tokenizer where you may, and point to the folder: --decoder FOLDER.",
        ) from error
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no end token", path, "Set eos_token in tokenizer_config.json.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")[:200] if str(error).strip() else type(error).__name__


def _quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
