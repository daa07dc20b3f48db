"""A metric's own package, asked from another Python: started by `elsewhere.py`, which passes this file's text to `python -c`.

Arguments: the metric's name and its settings as JSON. It answers one line of JSON for each line of JSON that it reads: first
that it is ready, then [[number, …], …] for {"reports": […], "references": […]}. What the package prints goes to stderr. It
imports nothing of reg2rg, and runs on Python 3.9 and later, which may be all that the packages run on.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Score = Callable[[list[str], list[str]], list[list[float]]]


def bertscore(settings: dict[str, Any]) -> Score:
    """Precision, recall and F1 of bert-score's matched tokens."""
    import transformers
    from bert_score import BERTScorer
    from bert_score.utils import model2layers

    if int(transformers.__version__.split(".")[0]) > 4:
        raise RuntimeError("with transformers 5 bert-score cuts RoBERTa's first word otherwise: install 'transformers<5' there")
    layers = settings["layers"]
    if layers is None:
        known = {name.split("/")[-1]: number for name, number in model2layers.items()}
        layers = known.get(Path(settings["weights"]).name)
    if layers is None:
        raise RuntimeError("bert-score has no layer for a folder of this name: give the option 'layers' (roberta-large: 17)")
    device = None if settings["device"] == "auto" else settings["device"]
    scorer = BERTScorer(model_type=settings["weights"], num_layers=layers, device=device, batch_size=settings["batch_size"])

    def score(reports: list[str], references: list[str]) -> list[list[float]]:
        found = scorer.score(reports, references, batch_size=settings["batch_size"])
        return [[float(value) for value in row] for row in zip(*found)]  # noqa: B905 - 3.9 knows no strict

    return score


def radgraph(settings: dict[str, Any]) -> Score:
    """RadGraph-F1: entities; entities with whether they have a relation; entities with their relations."""
    from radgraph import F1RadGraph

    model, device = settings["model"], settings["device"]
    cuda = None if device == "auto" else -1 if device == "cpu" else int(device.partition(":")[2] or 0)
    with tempfile.TemporaryDirectory() as cache:  # the package looks for CACHE/MODEL, and fetches it where that is missing
        source, folder = Path(settings["weights"]), Path(cache) / model
        folder.mkdir()
        for path in source.iterdir():
            if path.name != "config.json":
                (folder / path.name).symlink_to(path.resolve())
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        if settings["encoder"]:
            config["dataset_reader"]["token_indexers"]["bert"]["model_name"] = settings["encoder"]
            config["model"]["embedder"]["token_embedders"]["bert"]["model_name"] = settings["encoder"]
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        scorer = F1RadGraph(reward_level="all", model_type=model, model_cache_dir=cache, cuda=cuda)

    def score(reports: list[str], references: list[str]) -> list[list[float]]:
        rewards = scorer(refs=references, hyps=reports)[1]
        return [[float(value) for value in row] for row in zip(*rewards)]  # noqa: B905 - 3.9 knows no strict

    return score


def ratescore(settings: dict[str, Any]) -> Score:
    """RaTEScore: medical entities matched by meaning, weighed by their types."""
    import torch
    from RaTEScore import RaTEScore

    gpu = torch.cuda.is_available() if settings["device"] == "auto" else settings["device"] != "cpu"
    scorer = RaTEScore(
        bert_model=settings["entities"], eval_model=settings["synonyms"], batch_size=settings["batch_size"], use_gpu=gpu
    )

    def score(reports: list[str], references: list[str]) -> list[list[float]]:
        return [[float(value)] for value in scorer.compute_score(reports, references)]

    return score


METRICS = {"bertscore": bertscore, "radgraph": radgraph, "ratescore": ratescore}


def main() -> None:
    """Builds the metric, says so, and answers until there is no more to read."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    try:
        score = METRICS[sys.argv[1]](json.loads(sys.argv[2]))
        answers.write("{}\n")
        answers.flush()
        for line in requests:
            asked = json.loads(line)
            answers.write(json.dumps(score(asked["reports"], asked["references"])) + "\n")
            answers.flush()
    except Exception as error:
        text = " ".join(str(error).split()) or "no reason given"
        answers.write(json.dumps({"error": type(error).__name__ + ": " + text[:300]}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
