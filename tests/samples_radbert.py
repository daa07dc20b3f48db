"""A small RadBERT classifier in its published layout: keys written out by hand, random numbers, a byte-level tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

FINDINGS = 18
TEXTS = (
    "The heart is enlarged. Calcified plaques are seen in the aorta.",
    "No pleural effusion. Both lungs are clear.",
    "A nodule of 6 mm is seen in the right upper lobe, and another one in the LEFT lower lobe.",
    "There is consolidation. " * 30,
)


def shapes(
    hidden: int = 64, layers: int = 2, ff: int = 48, words: int = 400, positions: int = 66
) -> dict[str, tuple[int, ...]]:
    """The published names with their shapes."""
    out: dict[str, tuple[int, ...]] = {
        "model.embeddings.word_embeddings.weight": (words, hidden),
        "model.embeddings.position_embeddings.weight": (positions, hidden),
        "model.embeddings.token_type_embeddings.weight": (1, hidden),
        "model.embeddings.LayerNorm.weight": (hidden,),
        "model.embeddings.LayerNorm.bias": (hidden,),
    }
    for i in range(layers):
        at = f"model.encoder.layer.{i}"
        for part, (rows, columns) in {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (ff, hidden),
            "output.dense": (hidden, ff),
        }.items():
            out |= {f"{at}.{part}.weight": (rows, columns), f"{at}.{part}.bias": (rows,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            out |= {f"{at}.{part}.weight": (hidden,), f"{at}.{part}.bias": (hidden,)}
    out |= {"model.pooler.dense.weight": (hidden, hidden), "model.pooler.dense.bias": (hidden,)}
    return {**out, "classifier.weight": (FINDINGS, hidden), "classifier.bias": (FINDINGS,)}


PUBLISHED = shapes(hidden=768, layers=12, ff=3072, words=50265, positions=514)


def state(seed: int = 0, old: bool = False, **sizes: int) -> dict[str, Tensor]:
    """Random weights; `old` with the constants that transformers stored before 4.31."""
    maker = torch.Generator().manual_seed(seed)
    out = {}
    for key, shape in shapes(**sizes).items():
        scale = 1.0 if "embeddings.weight" in key else 4.0 / shape[-1] ** 0.5
        norm = 1.0 if key.endswith("LayerNorm.weight") else 0.0
        out[key] = torch.randn(shape, generator=maker) * scale * (0.1 if len(shape) == 1 else 1.0) + norm
    if old:
        out["model.embeddings.position_ids"] = torch.arange(66)[None]
    return out


def tokenizer_files(folder: Path, texts: Sequence[str] = TEXTS) -> Path:
    """vocab.json and merges.txt with a tokenizer_config.json, as the hub's folder has them."""
    from tokenizers import ByteLevelBPETokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(texts, vocab_size=380, min_frequency=1, special_tokens=special)
    tokenizer.save_model(str(folder))
    names = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    tokens = {
        f"{name}_token": {"content": text, "single_word": False, "lstrip": name == "mask", "rstrip": False, "normalized": True,
                          "__type": "AddedToken"}
        for name, text in names.items()
    }  # fmt: skip
    about = {
        **tokens,
        "add_prefix_space": False,
        "errors": "replace",
        "tokenizer_class": "RobertaTokenizer",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


def config_file(folder: Path, **changes: object) -> Path:
    """The encoder's config.json, as the hub's folder has it, at the small size."""
    about = {
        "architectures": ["RobertaForMaskedLM"],
        "model_type": "roberta",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "vocab_size": 400,
        "max_position_embeddings": 66,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "layer_norm_eps": 1e-5,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(about))
    return folder


def published(folder: Path, weights: dict[str, Tensor] | None = None, **changes: object) -> Path:
    """A folder with RadBertClassifier.pth, its tokenizer and config.json."""
    config_file(tokenizer_files(folder), **changes)
    torch.save(state() if weights is None else weights, folder / "RadBertClassifier.pth")
    return folder
