"""R2Gen, CT2Rep's own decoder: an encoder–decoder transformer driven by a relational memory, trained from scratch.

Its vocabulary is the corpus' words. GUESS, against the authors' reader: case and punctuation stay, so that its reports are
scored on the same footing as the others'. Loaded lazily: importing this module registers the model's type with transformers, so
that a run is loaded by its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .r2gen_model import R2GenConfig, R2GenForCausalLM
from .tiny import train_tokenizer


class R2Gen:
    """The decoder at the authors' size: 35,432,937 parameters for 1,000 words and their end sign.

    `source` is the number of visual tokens that begin each sequence, which its encoder reads; what follows is text. Prompts
    must have no words (see the recipe `ct2rep-r2gen`). `threshold`: words that are rarer in the corpus are unknown ones. `seed`
    fixes the initial weights.
    """

    def __init__(
        self,
        source: int = 32,
        width: int = 512,
        layers: int = 3,
        heads: int = 8,
        mlp: int = 512,
        dropout: float = 0.1,
        slots: int = 3,
        threshold: int = 1,
        seed: int = 0,
    ) -> None:
        self.source, self.width, self.layers, self.heads, self.mlp = source, width, layers, heads, mlp
        self.dropout, self.slots, self.threshold, self.seed = dropout, slots, threshold, seed

    def build(self, corpus: Sequence[str] = ()) -> tuple[Any, Any]:
        """The model and its tokenizer. Raises UserError where `corpus` is empty."""
        tokenizer = train_tokenizer(corpus, "word", 0, minimum=self.threshold)
        # one sign begins, ends and pads; it isn't written before a prompt, since the model itself begins each text with it
        tokenizer.bos_token = None
        tokenizer.pad_token = tokenizer.eos_token
        config = R2GenConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.mlp,
            dropout=self.dropout,
            slots=self.slots,
            source=self.source,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return R2GenForCausalLM(config), tokenizer
