"""Tiny: a small causal language model trained from scratch, with a tokenizer trained on the corpus.

What makes it listen to visual tokens at this size: rotary positions, untied output, and word embeddings about as large as
normed visual tokens (standard deviation 0.5). GPT-2's architecture has none of the three; it is there to be compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from reg2rg.errors import UserError

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"


class Tiny:
    """A few layers of the `architecture` llama (rotary positions) or gpt2 (learned positions, tied output).

    `tokenizer` is `word` (one token a word) or `bpe` with `vocabulary` pieces; `seed` fixes the initial weights.
    """

    def __init__(
        self,
        width: int = 96,
        layers: int = 3,
        heads: int = 4,
        mlp: int = 256,
        rope_theta: float = 200.0,
        embedding_std: float = 0.5,
        tokenizer: Literal["word", "bpe"] = "word",
        vocabulary: int = 4000,
        architecture: Literal["llama", "gpt2"] = "llama",
        seed: int = 0,
    ) -> None:
        self.width, self.layers, self.heads, self.mlp, self.rope_theta = width, layers, heads, mlp, rope_theta
        self.embedding_std, self.tokenizer, self.vocabulary, self.seed = embedding_std, tokenizer, vocabulary, seed
        self.architecture = architecture

    def build(self, corpus: Sequence[str] = ()) -> tuple[Any, Any]:
        """The model and its tokenizer. Raises UserError where `corpus` is empty."""
        tokenizer = train_tokenizer(corpus, self.tokenizer, self.vocabulary)
        special: dict[str, Any] = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            build = self._llama if self.architecture == "llama" else self._gpt2
            return build(len(tokenizer), special), tokenizer

    def _llama(self, words: int, special: dict[str, Any]) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=words,
            hidden_size=self.width,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=2048,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            tie_word_embeddings=False,
            initializer_range=0.06,  # about 1 / sqrt(3 · width), as plain linear layers begin
            **special,
        )
        model = LlamaForCausalLM(config)
        embeddings: Any = model.get_input_embeddings()
        torch.nn.init.normal_(embeddings.weight, std=self.embedding_std)
        return model

    def _gpt2(self, words: int, special: dict[str, Any]) -> Any:
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=words,
            n_embd=self.width,
            n_inner=self.mlp,
            n_layer=self.layers,
            n_head=self.heads,
            n_positions=1024,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            **special,
        )
        return GPT2LMHeadModel(config)


def train_tokenizer(corpus: Sequence[str], kind: str, vocabulary: int, minimum: int = 1) -> Any:
    """A fast tokenizer over the corpus' words that occur `minimum` times; decoding gives the text back with single blanks."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if not any(corpus):
        raise UserError(
            "the tiny decoder trains its tokenizer on the reports, and there are none", fix="Give a store with reports."
        )
    special = [PAD, BOS, EOS, UNKNOWN]
    word = kind == "word"
    tok = Tokenizer(models.WordLevel(unk_token=UNKNOWN) if word else models.BPE(unk_token=UNKNOWN))
    tok.normalizer = normalizers.Sequence([normalizers.Replace("\n", " "), normalizers.Strip(left=False, right=True)])
    # a word keeps its blank, punctuation stands alone: so a decoded text is the text
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = (
        trainers.WordLevelTrainer(special_tokens=special, vocab_size=100_000, min_frequency=minimum)
        if word
        else trainers.BpeTrainer(special_tokens=special, vocab_size=vocabulary, show_progress=False)
    )
    tok.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN, padding_side="left"
    )
