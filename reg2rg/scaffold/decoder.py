"""A decoder: a causal language model and its tokenizer, both Hugging Face objects (here: a small GPT-2 from scratch).

In: the training texts. Out: `(PreTrainedModel, PreTrainedTokenizerBase)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TinyGPT2:
    """A GPT-2 of a few layers with a byte-level tokenizer trained on the corpus."""

    def __init__(self, width: int = 64, layers: int = 2, heads: int = 4, vocabulary: int = 1000) -> None:
        self.width, self.layers, self.heads, self.vocabulary = width, layers, heads, vocabulary

    def build(self, corpus: Sequence[str]) -> tuple[Any, Any]:
        """`corpus` is filled with the training texts; leave the parameter out where the weights come from elsewhere."""
        from transformers import GPT2Config, GPT2LMHeadModel

        tokenizer = self._tokenizer(corpus)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=2048, n_embd=self.width, n_layer=self.layers, n_head=self.heads,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        return GPT2LMHeadModel(config), tokenizer

    def _tokenizer(self, corpus: Sequence[str]) -> Any:
        from tokenizers import ByteLevelBPETokenizer
        from transformers import PreTrainedTokenizerFast

        words = ByteLevelBPETokenizer()
        words.train_from_iterator(corpus, self.vocabulary, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False)
        return PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
