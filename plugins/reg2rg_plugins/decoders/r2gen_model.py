"""R2Gen as a Hugging Face model: `inputs_embeds` holds the visual tokens and then the text so far, logits say the next word.

The first `config.source` of the given positions are what the transformer's encoder reads. The decoder reads a begin sign and
the text behind them: its first output stands at the last visual token, as a causal language model's would. While generating,
the encoded picture and the memory's walk along the text are kept from word to word; attention is computed anew.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from .r2gen_memory import Attention, MemoryNorm, RelationalMemory

VISUAL_DROPOUT = 0.5
KEPT = ("encoded", "read", "memory")  # from one word to the next


class R2GenConfig(PreTrainedConfig):
    """The architecture; `source` is the number of visual tokens, `slots` the memory's."""

    model_type = "r2gen"

    vocab_size: int = 1001
    hidden_size: int = 512
    num_hidden_layers: int = 3
    num_attention_heads: int = 8
    intermediate_size: int = 512
    dropout: float = 0.1
    slots: int = 3
    source: int = 32
    pad_token_id: int | None = 0
    bos_token_id: int | None = 0
    eos_token_id: int | None = 0
    tie_word_embeddings: bool = False


@dataclasses.dataclass
class R2GenOutput(ModelOutput):
    """Logits (B, T, words), and what the next step can go on from.

    `encoded`: the picture, (B, source, width); `read`: begin sign and text as they were read, (B, n, width); `memory` at each
    of these, (B, n, slots · width).
    """

    logits: Tensor | None = None
    encoded: Tensor | None = None
    read: Tensor | None = None
    memory: Tensor | None = None


def feed_forward(config: R2GenConfig) -> nn.Sequential:
    """Linear, ReLU, Linear."""
    width, inner = config.hidden_size, config.intermediate_size
    return nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    """x + attention(norm x), x + mlp(norm x)."""

    def __init__(self, config: R2GenConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.hidden_size, config.num_attention_heads, config.dropout)
        self.feed_forward = feed_forward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden_size) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norms[0](x)
        x = x + self.dropout(self.self_attn(normed, normed))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """The same with attention to the picture between them; the memory sets all three norms."""

    def __init__(self, config: R2GenConfig) -> None:
        super().__init__()
        self.self_attn, self.src_attn = (
            Attention(config.hidden_size, config.num_attention_heads, config.dropout) for _ in range(2)
        )
        self.feed_forward = feed_forward(config)
        self.norms = nn.ModuleList(MemoryNorm(config.hidden_size, config.slots) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, picture: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        normed = self.norms[0](x, memory)
        x = x + self.dropout(self.self_attn(normed, normed, mask))
        x = x + self.dropout(self.src_attn(self.norms[1](x, memory), picture))
        return x + self.dropout(self.feed_forward(self.norms[2](x, memory)))


def positions(count: int, like: Tensor) -> Tensor:
    """Sines and cosines of the places 0 … count - 1, (count, width)."""
    width = like.shape[-1]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10000.0) / width))
    angle = torch.arange(count, device=like.device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width].to(like.dtype)


def part(x: Tensor, start: Tensor, count: int) -> Tensor:
    """`count` positions of each row of (B, T, width) from `start` (B,) on; those beyond the end repeat the last."""
    places = (start[:, None] + torch.arange(count, device=x.device)).clamp(max=x.shape[1] - 1)
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def placed(x: Tensor, start: Tensor, length: int) -> Tensor:
    """(B, n, V) at the positions from `start` (B,) on of a row of `length`, zero elsewhere; what passes the end is dropped."""
    places = start[:, None] + torch.arange(x.shape[1], device=x.device)
    out = x.new_zeros(len(x), max(length, int(places.max()) + 1), x.shape[-1])
    return out.scatter(1, places[..., None].expand_as(x), x)[:, :length]


class R2GenForCausalLM(PreTrainedModel, GenerationMixin):
    """The encoder–decoder behind the interface of a causal language model."""

    config_class = R2GenConfig
    config: R2GenConfig

    def __init__(self, config: R2GenConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.att_embed = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(VISUAL_DROPOUT))
        self.words = nn.Embedding(config.vocab_size, width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.rm = RelationalMemory(width, config.slots, config.num_attention_heads, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.logit = nn.Linear(width, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Matrices as the authors begin (Xavier), words small enough that their scaling by √width gives unit size."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def set_input_embeddings(self, value: Any) -> None:
        self.words = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.logit

    def encode(self, visual: Tensor) -> Tensor:
        """Visual tokens (B, source, width) → the picture that the decoder reads; without places, as they were given none."""
        x = self.att_embed(visual)
        for layer in self.encoder:
            x = layer(x)
        return self.encoder_norm(x)

    def forward(
        self,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        encoded: Tensor | None = None,
        read: Tensor | None = None,
        memory: Tensor | None = None,
        **_: Any,
    ) -> R2GenOutput:
        """`inputs_embeds` (B, T, width), padded on either side where `attention_mask` (B, T) is 0; or `input_ids` (B, T)."""
        x = inputs_embeds if inputs_embeds is not None else self.words(cast(Tensor, input_ids))
        batch, length = x.shape[:2]
        given = torch.ones(batch, length, device=x.device) if attention_mask is None else attention_mask
        first = given.int().argmax(1)  # of the given positions, where padding stands before them
        source = min(self.config.source, length) if encoded is None else encoded.shape[1]
        if encoded is None:
            encoded = self.encode(part(x, first, source))
        # padding behind a text comes after all that is asked for, and each word reads what stands before it only
        text = part(x, first + source, length - source)
        begin = self.words(torch.full((batch, 1), cast(int, self.config.bos_token_id), device=x.device)).to(x.dtype)
        x = torch.cat([begin, text], dim=1)
        x = self.dropout(x * math.sqrt(x.shape[-1]) + positions(x.shape[1], x))
        memory = self._remember(x, read, memory)
        logits = placed(self.logit(self._decode(x, encoded, memory)), first + source - 1, length)
        return R2GenOutput(logits=logits, encoded=encoded, read=x, memory=memory)

    def _remember(self, x: Tensor, read: Tensor | None, memory: Tensor | None) -> Tensor:
        """The memory along `x`; where it begins with what was `read` (beams may have changed places), from there on."""
        known = 0 if read is None else read.shape[1]
        if read is None or memory is None or known >= x.shape[1] or not torch.equal(x[:, :known], read):
            return self.rm(x)
        return torch.cat([memory, self.rm(x[:, known:], memory[:, -1])], dim=1)

    def _decode(self, x: Tensor, picture: Tensor, memory: Tensor) -> Tensor:
        """(B, T, width) of a begin sign and words → (B, T, width), each from what stands before it and from the picture."""
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for layer in self.decoder:
            x = layer(x, picture, memory, mask)
        return self.decoder_norm(x)

    def prepare_inputs_for_generation(  # type: ignore[override]  # of many settings that this model doesn't know
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **given: Any,
    ) -> dict[str, Any]:
        """The whole sequence again at each step, and what can be gone on from."""
        words = self.words(input_ids)
        x = words if inputs_embeds is None else torch.cat([inputs_embeds, words.to(inputs_embeds.dtype)], dim=1)
        return {"inputs_embeds": x, "attention_mask": attention_mask, **{name: given.get(name) for name in KEPT}}

    def _update_model_kwargs_for_generation(self, outputs: Any, model_kwargs: Any, *args: Any, **given: Any) -> Any:
        kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **given)
        return {**kwargs, **{name: outputs[name] for name in KEPT}}


AutoConfig.register("r2gen", R2GenConfig, exist_ok=True)
AutoModelForCausalLM.register(R2GenConfig, R2GenForCausalLM, exist_ok=True)
