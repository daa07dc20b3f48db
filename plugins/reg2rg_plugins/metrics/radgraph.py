"""RadGraph-F1 (Delbrouck et al. 2022, 2024): entities of a report and their relations, against those of the reference.

The package radgraph computes it, in another Python: with transformers 5 it can be imported but not used.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .elsewhere import Elsewhere, Progress, folder

MODEL = "It holds StanfordAIMI/RRG_scorers' radgraph-xl.tar.gz, unpacked: config.json, weights.th, vocabulary."
ENCODER = "It holds tokenizer and config.json of the BERT that the model's config.json names."


class RadGraph(Elsewhere):
    """Mean F1 of entities (`simple`), of entities with whether they have a relation (`partial`), and with each (`complete`).

    `weights`: the unpacked model; `encoder`: folder with tokenizer and config.json of the BERT that the model's config.json
    names, which is looked for in the hub's cache of this machine otherwise. `python`: see docs/metrics.md.
    """

    names = ("radgraph_simple", "radgraph_partial", "radgraph_complete")
    tool: ClassVar[str] = "radgraph"
    packages: ClassVar[str] = "radgraph requests 'transformers<5'"

    def __init__(
        self,
        weights: str | None = None,
        encoder: str | None = None,
        model: Literal["radgraph-xl", "radgraph", "modern-radgraph-xl", "echograph"] = "radgraph-xl",
        device: str = "auto",
        python: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        place = folder(weights, "radgraph.weights", ("config.json", "weights.th", "vocabulary"), MODEL)
        words = folder(encoder, "radgraph.encoder", ("config.json",), ENCODER) if encoder else None
        settings = {"weights": place, "encoder": words, "model": model, "device": device}
        super().__init__(python, settings, progress)
