"""RaTEScore (Zhao et al. 2024): medical entities of both texts, matched by meaning and weighed by their types.

The package RaTEScore computes it, in another Python: it needs medspacy, which it doesn't say, and which needs older libraries.
"""

from __future__ import annotations

from typing import ClassVar

from .elsewhere import Elsewhere, Progress, folder

ENTITIES = "It holds the model that finds entities: Angelakeke/RaTE-NER-Deberta of the hub."
SYNONYMS = "It holds the model that compares them: FremyCompany/BioLORD-2023-C of the hub."


class RateScore(Elsewhere):
    """Mean RaTEScore, with the weights for long reports; 0.5 where a text has no entity, as the package has it.

    `entities`, `synonyms`: the folders of its two models. `python`: see docs/metrics.md.
    """

    names = ("ratescore",)
    tool: ClassVar[str] = "ratescore"
    packages: ClassVar[str] = "RaTEScore medspacy pandas 'transformers<5'"

    def __init__(
        self,
        entities: str | None = None,
        synonyms: str | None = None,
        device: str = "auto",
        batch_size: int = 8,
        python: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        settings = {
            "entities": folder(entities, "ratescore.entities", ("config.json",), ENTITIES),
            "synonyms": folder(synonyms, "ratescore.synonyms", ("config.json",), SYNONYMS),
            "device": device,
            "batch_size": batch_size,
        }
        super().__init__(python, settings, progress)
