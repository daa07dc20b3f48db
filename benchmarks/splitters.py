"""How well a splitter finds the region of a sentence: RadGenome-ChestCT's region sentences, fold by fold.

Reads `data/text-reg2rg-regions500/regions500.csv` of the folder that REG2RG_SHARED names, else of ../shared. Unit: a distinct
sentence of a volume with its set of regions; fold = patient number mod 5, test fold 0; "unseen": the sentence's text stands in
no volume of the other folds. Strict: the set is right; any-hit: the first region named is in the set; then precision, recall
and F1 over sets. "In context": the volume's regions in drawn order as one report, is a sentence under one of its regions?

    python benchmarks/splitters.py [--splitter NAME] [--splitter-options KEY=VALUE …] [--fold 0|…|4|all] [--json]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reg2rg.anatomy import REGIONS
from reg2rg.cli.options import pairs as options_of
from reg2rg.errors import UserError
from reg2rg.plugins import resolve

FOLDS = 5
TABLE = Path("data") / "text-reg2rg-regions500" / "regions500.csv"


class Pair(NamedTuple):
    """A distinct sentence of a volume: its regions, its fold, and whether no other fold has its text."""

    volume: str
    sentence: str
    regions: frozenset[str]
    fold: int
    unseen: bool


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a region report table in the table's order. Raises UserError where there is none."""
    if not path.is_file():
        raise UserError("no table of region sentences", path, "Set REG2RG_SHARED to the shared material's folder.")
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for sentence in filter(None, re.split(r"(?<=[.!?])\s+", row["Sentence"].strip())):
                found[row["Volumename"], sentence].add(row["Anatomy"])
    folds = {key: int(re.findall(r"\d+", key[0])[0]) % FOLDS for key in found}
    at: dict[str, set[int]] = defaultdict(set)
    for key, fold in folds.items():
        at[key[1]].add(fold)
    return [Pair(*key, frozenset(regions), folds[key], len(at[key[1]]) == 1) for key, regions in found.items()]


def predict(splitter: Any, sentences: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Sentence → the regions that the splitter names for it alone, best first."""
    texts = list(dict.fromkeys(sentences))
    if hasattr(splitter, "regions_of"):
        return {text: tuple(splitter.regions_of(text)) for text in texts}
    return {text: tuple(parts) for text, parts in zip(texts, _split_all(splitter, texts), strict=True)}


def _split_all(splitter: Any, texts: Sequence[str]) -> list[dict[str, str]]:
    return list(splitter.split_all(texts)) if hasattr(splitter, "split_all") else [splitter.split(text) for text in texts]


def score(pairs: Sequence[Pair], named: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Strict, any-hit, and precision, recall and F1 (micro, macro, per region with its support) of these pairs."""
    n = max(len(pairs), 1)
    counts = {region: [0, 0, 0] for region in REGIONS}  # right, named, wanted
    for pair in pairs:
        for region in REGIONS:
            is_named, wanted = region in named[pair.sentence], region in pair.regions
            for i, value in enumerate((is_named and wanted, is_named, wanted)):
                counts[region][i] += value
    per_region = {region: {**_prf(*c), "pairs": c[2]} for region, c in counts.items()}
    return {
        "n": len(pairs),
        "several": sum(len(pair.regions) > 1 for pair in pairs),
        "strict": sum(set(named[p.sentence]) == p.regions for p in pairs) / n,
        "any_hit": sum(bool(named[p.sentence]) and named[p.sentence][0] in p.regions for p in pairs) / n,
        "micro": _prf(*map(sum, zip(*counts.values(), strict=True))),
        "macro_f1": sum(row["f1"] for row in per_region.values()) / len(per_region),
        "per_region": per_region,
    }


def _prf(right: int, named: int, wanted: int) -> dict[str, float]:
    precision, recall = right / max(named, 1), right / max(wanted, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * right / max(named + wanted, 1)}


def in_context(splitter: Any, pairs: Iterable[Pair], seed: int = 0) -> float:
    """Share of the sentences that end under one of their regions when each volume is one report, its regions in drawn order."""
    volumes: dict[str, dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        volumes[pair.volume][min(pair.regions, key=REGIONS.index)].append(pair)
    draw, orders = random.Random(seed), []
    for regions in volumes.values():
        orders.append([pair for region in draw.sample(sorted(regions), len(regions)) for pair in regions[region]])
    split = _split_all(splitter, [" ".join(pair.sentence for pair in order) for order in orders])
    hits = [
        any(p.sentence in parts.get(r, "") for r in p.regions)
        for order, parts in zip(orders, split, strict=True)
        for p in order
    ]
    return sum(hits) / max(len(hits), 1)


def measure(splitter: Any, pairs: Sequence[Pair], fold: int | None) -> dict[str, Any]:
    """All scores of one fold (None: the five together)."""
    chosen = [pair for pair in pairs if fold is None or pair.fold == fold]
    named = predict(splitter, [pair.sentence for pair in chosen])
    unseen = [pair for pair in chosen if pair.unseen]
    return {"unseen": score(unseen, named), "all": score(chosen, named), "in_context": in_context(splitter, chosen)}


def table(result: Mapping[str, Any]) -> str:
    """The scores as Markdown."""
    rows = ["| pairs | n | several | any-hit | strict | micro P / R / F1 | macro F1 |", "|---|---|---|---|---|---|---|"]
    for name in ("unseen", "all"):
        s, m = result[name], result[name]["micro"]
        micro = f"{m['precision']:.3f} / {m['recall']:.3f} / {m['f1']:.3f}"
        rows.append(
            f"| {name} | {s['n']:,} | {s['several']} | {s['any_hit']:.3f} | {s['strict']:.3f} | {micro} | {s['macro_f1']:.3f} |"
        )
    rows += ["", "| region | unseen: pairs | P | R | F1 | all: pairs | P | R | F1 |", "|---|---|---|---|---|---|---|---|---|"]
    for region in REGIONS:
        cells = [result[name]["per_region"][region] for name in ("unseen", "all")]
        numbers = " | ".join(f"{c['pairs']} | {c['precision']:.3f} | {c['recall']:.3f} | {c['f1']:.3f}" for c in cells)
        rows.append(f"| {region} | {numbers} |")
    return "\n".join([*rows, "", f"In context: {result['in_context']:.3f} of the sentences stand under one of their regions."])


def shared() -> Path:
    """The shared material's folder."""
    return Path(os.environ.get("REG2RG_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--splitter", default="rules")
    parser.add_argument("--splitter-options", action="append", metavar="KEY=VALUE")
    parser.add_argument("--fold", default="0", choices=["0", "1", "2", "3", "4", "all"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        splitter = resolve("splitter", given.splitter, options_of(given.splitter_options, "--splitter-options"))
        began = time.perf_counter()
        result = measure(splitter, read_pairs(shared() / TABLE), None if given.fold == "all" else int(given.fold))
    except UserError as error:
        sys.exit(f"splitters: {error}")
    if given.json:
        print(json.dumps({"splitter": given.splitter, "fold": given.fold, **result}, indent=2))
    else:
        print(f"Splitter '{given.splitter}', fold {given.fold} ({time.perf_counter() - began:.1f} s)\n\n{table(result)}")


if __name__ == "__main__":
    main()
