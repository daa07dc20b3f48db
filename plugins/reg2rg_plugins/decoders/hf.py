"""Any causal language model of Hugging Face transformers, by hub name or local folder; the paper's decoder is one of them."""

from __future__ import annotations

import importlib.util
import logging as logs
from pathlib import Path
from typing import Any, Literal

from reg2rg.errors import UserError
from reg2rg.snapshots import NotFetched, snapshot

Quantization = Literal["none", "nf4"]
FILES = ("*.json", "*.safetensors", "*.model", "*.txt")  # of a model on the hub


class HuggingFace:
    """A pretrained causal language model with its tokenizer; `dtype`, `quantization` and adapters are set by the recipe.

    `path` is a hub name or a folder with config.json, weights and tokenizer files; `revision` pins a hub version.
    `quantization: nf4` keeps the weights of its layers in 4 bits and computes in `dtype` (QLoRA).
    """

    def __init__(
        self, path: str, revision: str | None = None, dtype: str = "float32", quantization: Quantization = "none"
    ) -> None:
        self.base, self.revision, self.dtype, self.quantization = str(path), revision, dtype, quantization

    def build(self) -> tuple[Any, Any]:
        """Loads the model and its tokenizer. Raises UserError where the weights, or the package for 4 bits, aren't at hand."""
        import torch
        from transformers import AutoModelForCausalLM

        _quiet()
        settings: dict[str, Any] = {} if self.quantization == "none" else {"quantization_config": four_bits(self.dtype)}
        source = locate(self.base, self.revision)
        tokenizer = load_tokenizer(source)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, self.dtype), use_safetensors=True, **settings
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"the folder holds no causal language model that can be loaded ({_first_line(error)})",
                self.base,
                "It needs config.json, model.safetensors and the tokenizer's files.",
            ) from error
        return model, tokenizer

    def tokenizer(self) -> Any:
        """The tokenizer alone. Raises UserError where there is none."""
        _quiet()
        return load_tokenizer(locate(self.base, self.revision))


class Llama2(HuggingFace):
    """LLaMA-2-7B-chat, the paper's decoder (Sec. IV-B); its licence must be accepted on the hub."""

    def __init__(
        self,
        path: str = "meta-llama/Llama-2-7b-chat-hf",
        revision: str | None = None,
        dtype: str = "bfloat16",
        quantization: Quantization = "none",
    ) -> None:
        super().__init__(path, revision, dtype, quantization)


class GPT2(HuggingFace):
    """GPT-2, the small decoder of the paper's Table VI. GUESS: the smallest one (124 million), trained whole.

    It reads 1,024 tokens at most; padding takes its end token.
    """

    def __init__(
        self,
        path: str = "openai-community/gpt2",
        revision: str | None = None,
        dtype: str = "float32",
        quantization: Quantization = "none",
    ) -> None:
        super().__init__(path, revision, dtype, quantization)


def four_bits(dtype: str) -> Any:
    """QLoRA's setting: normal-float 4 bits, quantised scales, products in `dtype`. Raises UserError without bitsandbytes."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "4-bit weights need the package bitsandbytes, which is not installed",
            "decoder.quantization",
            "Install it: pip install 'reg2rg[qlora]'.",
        )
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def locate(base: str, revision: str | None = None) -> str:
    """The folder of a model: `base` itself, the hub's copy on this machine, or one fetched now.

    Raises UserError where the weights are neither here nor to be had; a machine without network is told so at once.
    """
    from huggingface_hub.errors import HFValidationError

    if Path(base).is_dir():
        return base
    try:
        return str(snapshot(base, revision, FILES, lambda folder: any(folder.glob("*.safetensors"))))
    except HFValidationError as error:
        raise UserError(
            "there is no such folder, and this is no name on the hub", base, "Point to a folder: --decoder FOLDER."
        ) from error
    except NotFetched as error:
        at = f" at revision '{revision}'" if revision else ""
        raise UserError(
            f"the weights of the decoder '{base}'{at} are not on this machine and could not be fetched ({error})",
            fix="Download them where you may, and point to them: --decoder FOLDER (config.json, *.safetensors, tokenizer).",
        ) from error


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a model's folder; special tokens that its files leave empty are set to SentencePiece's own."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except RecursionError:  # a LLaMA folder whose configuration holds empty special tokens
        tokenizer = AutoTokenizer.from_pretrained(path, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    except (OSError, ValueError) as error:
        raise UserError(
            f"the folder holds no tokenizer that can be loaded ({_first_line(error)})",
            path,
            "Put tokenizer.json or tokenizer.model there.",
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
    logs.getLogger("bitsandbytes").setLevel(logs.ERROR)  # it recommends packages on a CPU
