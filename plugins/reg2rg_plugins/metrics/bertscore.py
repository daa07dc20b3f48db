"""BERTScore (Zhang et al. 2020): each token of one text matched with the most alike of the other's, by a language model.

The package bert-score computes it, without idf and without rescaling, in another Python: with transformers 5 it fails on empty
texts, and for RoBERTa (its usual model) gives other numbers without a word.
"""

from __future__ import annotations

from typing import ClassVar

from reg2rg.errors import UserError

from .elsewhere import Elsewhere, Progress, folder

MODEL = "It holds a language model, for example roberta-large: config.json, weights and tokenizer."


class BertScore(Elsewhere):
    """Mean precision, recall and F1. `weights`: the language model's folder; `layers`: the layer whose vectors are compared.

    Without `layers` it is the package's own for the folder's name (roberta-large: 17). `python`: see docs/metrics.md.
    """

    names = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
    tool: ClassVar[str] = "bertscore"
    packages: ClassVar[str] = "bert-score 'transformers<5'"

    def __init__(
        self,
        weights: str | None = None,
        layers: int | None = None,
        device: str = "auto",
        batch_size: int = 32,
        python: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        if layers is not None and layers < 1:
            raise UserError("the first layer is 1", "bertscore.layers")
        place = folder(weights, "bertscore.weights", ("config.json",), MODEL)
        settings = {"weights": place, "layers": layers, "device": device, "batch_size": batch_size}
        super().__init__(python, settings, progress)
