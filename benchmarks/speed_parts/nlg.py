"""Part nlg: BLEU, METEOR and ROUGE of 1,564 report pairs, as `evaluate --metrics bleu,meteor,rouge` computes them.

Each run begins with empty caches of tokens, stems and synonyms; WordNet itself is opened once, for us and for the plain way.
Limit: cutting every text once by each of the three tokenizers. Plain way: sacrebleu, rouge_score and NLTK report by report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reg2rg.contracts import GroundedReport
from reg2rg.plugins import resolve

from .texts import pairs
from .timing import Row, Settings, against, measure

METRICS = ("bleu", "meteor", "rouge")


def run(variant: str, settings: Settings) -> Row:
    """The part's row."""
    from reg2rg_plugins.metrics import tokens

    reports = pairs(30 if settings.quick else 1564, seed=0)
    texts = [text for r in reports for text in (r.report, r.reference)]
    metrics = {name: resolve("metric", name) for name in METRICS}

    def ours() -> dict[str, float]:
        forget(tokens, *metrics.values())
        return {k: float(v) for m in metrics.values() for k, v in m.combine(m.statistics(reports).sum(axis=0)).items()}

    def limit() -> None:
        forget(tokens)
        for text in texts:
            tokens.tokens_13a(text), tokens.tokens_nltk(text), tokens.tokens_rouge(text)

    found = ours()
    row = measure(ours, limit, settings.runs)
    row["words"] = round(sum(len(t.split()) for t in texts) / len(texts))
    if not settings.plain:
        return row
    row["difference"] = max(abs(found[name] - value) for name, value in plain(reports, metrics["meteor"]._wordnet).items())
    return against(row, lambda: plain(reports, metrics["meteor"]._wordnet))


def forget(*holders: Any) -> None:
    """Empties every cache that a module or metric holds."""
    for holder in holders:
        for value in list(vars(holder).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def plain(reports: Sequence[GroundedReport], wordnet: Any) -> dict[str, float]:
    """The same means by the public libraries, report by report."""
    import punkt
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    bleu = BLEU(effective_order=True)
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    treebank = NLTKWordTokenizer()
    sums: dict[str, float] = {}

    def words(text: str) -> list[str]:
        return [token for sentence in punkt.sent_tokenize(text) for token in treebank.tokenize(sentence)]

    for r in reports:
        counts = bleu.sentence_score(r.report, [r.reference])
        logs = [math.log((m + 1) / (n + 1)) for m, n in zip(counts.counts, counts.totals, strict=True)]  # every order smoothed
        scores = {f"bleu{n}": counts.bp * math.exp(sum(logs[:n]) / n) for n in range(1, 5)}
        scores |= {k: v.fmeasure for k, v in rouge.score(r.reference, r.report).items()}
        scores["meteor"] = single_meteor_score(words(r.reference), words(r.report), wordnet=wordnet)
        for name, value in scores.items():
            sums[name] = sums.get(name, 0.0) + value / len(reports)
    return sums
