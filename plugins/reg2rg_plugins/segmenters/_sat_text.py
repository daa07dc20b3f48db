"""SAT's text encoder: a prompt's tokens, averaged, through two linear layers, plus its modality's vector: the query.

The tower is BioLORD-2023-C, a BERT-like encoder: its config.json and tokenizer come from a folder of this machine, its weights
from SAT's own file. Prompts are lower case, as trained. Facts that are published leave open where the modality's vector is
added; here it is added to the projected text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reg2rg.errors import UserError

BASE = "FremyCompany/BioLORD-2023-C"
TOWER, CT, MODALITIES, TOKENS = "biolord", 0, 4, 256


class TextEncoder(nn.Module):
    """The published names: `text_tower.biolord.…`, `projection_layer.0`, `.2`, `modality_embed` (ct, mri, us, pet)."""

    def __init__(self, config: Any, hidden: int, width: int) -> None:
        from transformers import AutoModel

        super().__init__()
        self.text_tower = nn.ModuleDict({TOWER: AutoModel.from_config(config)})
        self.projection_layer = nn.Sequential(nn.Linear(config.hidden_size, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.modality_embed = nn.Embedding(MODALITIES, width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, modality: int = CT) -> Tensor:
        """Token ids (B, T) and their mask → queries (B, width)."""
        states = self.text_tower[TOWER](input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(dim=1) / weight.sum(dim=1)
        out: Tensor = self.projection_layer(mean) + self.modality_embed.weight[modality]
        return out


def build(config: Mapping[str, Any], hidden: int, width: int, device: str = "cpu") -> TextEncoder:
    """The encoder of a config.json's content, with random weights, or without memory on the device `meta`.

    Raises UserError where transformers can't build its tower.
    """
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    try:
        own = AutoConfig.for_model(str(config["model_type"]), **{k: v for k, v in config.items() if k != "model_type"})
        with torch.device(device), no_init_weights():
            return TextEncoder(own, hidden, width)
    except Exception as error:  # each kind of model throws its own at a configuration that isn't its
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(
            f"SAT's text encoder can't be built from this config.json ({first})", fix=f"Give that of {BASE}."
        ) from error


@torch.inference_mode()
def encode(encoder: TextEncoder, folder: Path, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Each prompt's query, float32 (width,), with the tokenizer of `folder`. Raises UserError where it can't be loaded."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library throws its plainest one at files that don't fit together
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"the text encoder's tokenizer can't be loaded ({first})", folder, f"Give that of {BASE}.") from error
    tower: Any = encoder.text_tower[TOWER]
    rows = int(tower.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > rows:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} words, the text encoder's table {rows}", folder, f"Give that of {BASE}."
        )
    encoder.eval()
    out: dict[str, Tensor] = {}
    for start in range(0, len(prompts), 32):
        some = list(prompts[start : start + 32])
        tokens = tokenizer(some, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        queries = encoder(tokens["input_ids"], tokens["attention_mask"])
        out |= {prompt: query.clone() for prompt, query in zip(some, queries, strict=True)}
    return out


def read_config(path: Path) -> dict[str, Any]:
    """A tower's config.json. Raises UserError where it can't be read or names no kind of model."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or "model_type" not in data:
            raise ValueError("it names no model_type")
    except (OSError, ValueError) as error:
        raise UserError(f"the text encoder's config.json can't be read ({error})", path, f"Give that of {BASE}.") from error
    return data
