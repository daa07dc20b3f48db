"""Labeler `radbert`: CT-RATE's text classifier, a RoBERTa whose pooled first token goes through one linear layer to 18 logits.

In: report texts; cut to 512 tokens, as its authors do. Out: 1 where the sigmoid reaches 0.5, columns in CT-RATE's order. The
weights are a folder of this machine, written by `reg2rg convert radbert`; nothing is fetched and nothing unpickled.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reg2rg.anatomy import FINDINGS
from reg2rg.errors import UserError

from ..devices import device_of

VARIABLE = "REG2RG_RADBERT"  # where the weights lie, for those who don't want to say it each time
WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))
HOW = (
    "Get RadBertClassifier.pth (hub name Trusure/Reg2RG), and config.json, vocab.json and merges.txt of "
    "zzxslp/RadBERT-RoBERTa-4m into one folder, run: reg2rg convert radbert FOLDER --out DIR, and say --weights DIR or set "
    f"{VARIABLE}=DIR."
)
Progress = Callable[..., None]


class Classifier(nn.Module):
    """The network, with the published names of its weights: `model.…` the encoder, `classifier.weight` and `.bias` the head."""

    def __init__(self, config: Any) -> None:
        from transformers import AutoModel

        super().__init__()
        self.model = AutoModel.from_config(config)
        self.classifier = nn.Linear(config.hidden_size, len(FINDINGS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, 18) of token ids (B, T) and their mask."""
        return self.classifier(self.model(input_ids=input_ids, attention_mask=attention_mask).pooler_output)


class RadBert:
    """The labeler. `weights`: the folder that `reg2rg convert radbert` wrote; default: the variable REG2RG_RADBERT.

    `tokenizer`: a folder, where it isn't the weights' own. `device`: cpu, cuda, cuda:1, mps; auto is a GPU where there is one.
    Raises UserError that says which files are missing, where they come from and where they go.
    """

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | None = None,
        device: str = "auto",
        batch_size: int = 32,
        max_length: int = 512,
        threshold: float = 0.5,
        progress: Progress | None = None,
    ) -> None:
        if batch_size < 1 or max_length < 3 or not 0 < threshold < 1:
            raise UserError("batch_size must be 1 or more, max_length 3 or more, and threshold between 0 and 1", "radbert")
        folder = _folder(weights)
        words = Path(tokenizer).expanduser() if tokenizer else folder
        _check_files(folder, words)
        stamp = (folder / WEIGHTS).stat().st_mtime_ns
        self.network, self.tokenizer = _load(folder, words, device_of(device, mps=True), stamp)
        self.batch_size, self.threshold, self.progress = batch_size, threshold, progress
        self.max_length = min(max_length, _positions(self.network.model.config))

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """uint8 (n, 18): 1 where the classifier sees the finding, columns as `reg2rg.anatomy.FINDINGS`; 0 for an empty text."""
        return (self.probabilities(texts) >= self.threshold).astype(np.uint8)

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """float64 (n, 18): the sigmoid of each finding's logit; 0 for an empty text, which the classifier isn't asked about."""
        distinct = list(dict.fromkeys(text for text in texts if text.strip()))
        if not distinct:
            return np.zeros((len(texts), len(FINDINGS)))
        ids = self.tokenizer(distinct, truncation=True, max_length=self.max_length)["input_ids"]
        cut = sum(len(row) == self.max_length for row in ids)
        note = f"{cut} of {len(ids)} texts fill {self.max_length} tokens; what is longer is cut" if cut else ""
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # alike lengths side by side: little padding
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            self._tell(start, len(order), note)
            found |= dict(zip((distinct[i] for i in places), self._batch([ids[i] for i in places]), strict=True))
        self._tell(len(order), len(order), note)
        nothing = np.zeros(len(FINDINGS))
        return np.stack([found.get(text, nothing) for text in texts])

    def _batch(self, ids: list[list[int]]) -> np.ndarray:
        """float64 (B, 18) of token ids of different lengths."""
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.network.classifier.weight.device)
        logits = self.network(padded["input_ids"], padded["attention_mask"])
        return logits.cpu().double().sigmoid().numpy()  # double: a logit just below 0 must not round to 0.5

    def _tell(self, done: int, total: int, note: str) -> None:
        if self.progress is not None:
            self.progress("radbert", done, total, note)


def _folder(weights: str | None) -> Path:
    """The weights' folder. Raises UserError where none is named, or a published file instead of it."""
    given = weights or os.environ.get(VARIABLE)
    if not given:
        raise UserError("the labeler 'radbert' needs its classifier's weights, and none are named", fix=HOW)
    path = Path(given).expanduser()
    if path.is_file() and path.name == WEIGHTS:
        return path.parent
    if path.is_file():
        fix = f"Turn it into a folder, and name that: reg2rg convert radbert {path} --out DIR"
        raise UserError("the labeler 'radbert' reads a converted folder, not a published file", path, fix)
    if not path.is_dir():
        raise UserError("there is no such folder with the weights of the labeler 'radbert'", path, HOW)
    return path


def _check_files(folder: Path, words: Path) -> None:
    """Raises UserError that names every file that is missing, and where it comes from."""
    absent = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
    if absent:
        raise UserError(f"the folder lacks {' and '.join(absent)} of the labeler 'radbert'", folder, HOW)
    if not any(all((words / name).is_file() for name in names) for names in TOKENIZERS):
        fix = (
            "Copy tokenizer.json, or vocab.json and merges.txt, of zzxslp/RadBERT-RoBERTa-4m there, or say where they are: "
            "--labeler-options tokenizer=FOLDER"
        )
        raise UserError("the folder has no tokenizer of the labeler 'radbert'", words, fix)


def _positions(config: Any) -> int:
    """How many tokens the model takes; RoBERTa counts positions from the one after its padding's."""
    offset = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return int(config.max_position_embeddings) - offset


@functools.lru_cache(maxsize=1)
def _load(folder: Path, words: Path, device: torch.device, stamp: int) -> tuple[Classifier, Any]:
    """The network, ready to be asked, and its tokenizer; kept, since an evaluation asks for them twice or more.

    `stamp` is the weights' time of change: others at the same place are read anew.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        network = Classifier(config)
        # the option that the authors give; RoBERTa's byte-level tokenizer keeps capitals all the same, here as there
        tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True, do_lower_case=True)
    except Exception as error:  # a wrong size, a file that is none: each library throws its own, tokenizers the plainest one
        lines = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"the labeler 'radbert' can't be built from this folder ({lines[0][:200]})", folder, HOW) from error
    _fill(network, folder / WEIGHTS)
    return network.to(device).eval().requires_grad_(False), tokenizer


def _fill(network: Classifier, path: Path) -> None:
    """Loads the weights, every name and shape checked. Raises UserError that names the first ones that don't fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    again = "Convert the published file again."
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights can't be read ({error})", path, again) from error
    own = network.state_dict()
    odd = [name for name in {**own, **tensors} if name not in tensors or name not in own]
    odd += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if odd:
        raise UserError(f"the weights don't fit the folder's config.json: {', '.join(odd[:3])}", path, again)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
