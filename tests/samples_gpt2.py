"""A small GPT-2 in a folder: random weights, a byte-level tokenizer with the one special token that GPT-2 has."""

from __future__ import annotations

from pathlib import Path

import torch

END = "<|endoftext|>"


def gpt2_folder(folder: Path, context: int = 256, width: int = 32, layers: int = 2, heads: int = 4) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = ["The region 0 is lung: Both lungs are clear. The region 1 is heart: The heart is enlarged."]
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, special_tokens=[END], initial_alphabet=alphabet))
    words = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=END, eos_token=END, unk_token=END)
    words.save_pretrained(folder)
    torch.manual_seed(0)
    end = words.eos_token_id
    config = GPT2Config(
        vocab_size=len(words),
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=end,
        eos_token_id=end,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
