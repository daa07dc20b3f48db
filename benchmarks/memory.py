"""What a training step of the default recipe on LLaMA-2-7B needs on a GPU, computed on a machine without one → docs/scale.md.

    python benchmarks/memory.py [--length 2048] [--json | --write | --check]

The real modules are built without storage, and one step runs on fake tensors in the recipe's types: every tensor that a step
makes is counted for as long as it lives, so that the peak is found where autograd has it. What shares the work out (DDP, FSDP,
ZeRO-2) is added by its rules; `ALLOWANCE` is an estimate of what no tensor shows. Nothing here is measured on a GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marked import between
from memory_step import Step, step

from reg2rg import recipe as recipes

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- memory.py writes from here", "<!-- to here -->"
GIB = 2**30
# meta-llama/Llama-2-7b-chat-hf: 6.74 thousand million parameters
LLAMA2_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
}
ALLOWANCE = 1.0 * GIB  # CUDA's context, libraries' workspaces, blocks that the allocator can't fill
EXCHANGE = 0.5 * GIB  # NCCL's buffers where processes work together
BUCKETS = 2 * 20_000_000 * 4  # ZeRO-2 with overlap: two buckets of deepspeed-zero2.json, float32
CARDS = {"24 GB": 23.9, "80 GB": 79.6}  # what such cards report, in GiB


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """A way to train: its cards, what it adds to or takes from one process's need, and the launch file."""

    name: str
    cards: int
    card: str
    need: Callable[[Step, int], float]
    launch: str


def _alone(s: Step, _: int) -> float:
    return s.alone + ALLOWANCE


def _ddp(s: Step, _: int) -> float:
    """Gradients lie a second time in the buckets that are exchanged."""
    return s.alone + s.gradients + ALLOWANCE + EXCHANGE


def _zero2(s: Step, n: int) -> float:
    """Weights are whole; a float32 copy of the trained ones, gradients and optimizer state are shared out."""
    shared = (s.trained + s.gradients + s.optimizer) / n
    return s.alone - s.gradients - s.optimizer + shared + BUCKETS + ALLOWANCE + EXCHANGE


def _grad_op(s: Step, n: int) -> float:
    """FSDP 2, frozen weights whole: trained ones, gradients and optimizer state are shared out, and trained weights and
    gradients are whole as well from the first pass of a step to the last."""
    return s.alone - s.optimizer + (s.trained + s.gradients + s.optimizer) / n + ALLOWANCE + EXCHANGE


def _full(s: Step, n: int) -> float:
    """FSDP 2, all but 4-bit weights shared out; of the layers two are whole at a time, and a third's pieces on their way."""
    layers = LLAMA2_7B["num_hidden_layers"]
    shares = (s.unquantised + s.encoder + s.trained + s.gradients + s.optimizer) / n
    gathered = s.unquantised - (layers - 3) * s.layer + s.encoder + s.trained + s.gradients
    return s.base - s.unquantised + shares + gathered + s.views + s.passes + ALLOWANCE + EXCHANGE


SETTINGS = [
    Setting("1 × 24 GB", 1, "24 GB", _alone, "one-gpu.sh"),
    Setting("2 × 24 GB, DDP", 2, "24 GB", _ddp, "ddp.sh"),
    Setting("2 × 24 GB, FSDP SHARD_GRAD_OP", 2, "24 GB", _grad_op, "fsdp.sh"),
    Setting("2 × 24 GB, FSDP FULL_SHARD", 2, "24 GB", _full, "fsdp.sh"),
    Setting("2 × 24 GB, ZeRO-2", 2, "24 GB", _zero2, "deepspeed-zero2.sh"),
    Setting("1 × 80 GB", 1, "80 GB", _alone, "one-gpu.sh"),
]
PARTS = [
    ("base weights", lambda s: s.base),
    ("volume encoder, frozen: float32 weights and their bfloat16 copies", lambda s: s.encoder),
    ("adapters and trained visual modules, float32", lambda s: s.trained),
    ("their gradients", lambda s: s.gradients),
    ("AdamW's two moments", lambda s: s.optimizer),
    ("one study's views: image, ten crops, ten masks", lambda s: s.views),
    ("activations kept for the backward pass", lambda s: s.kept),
    ("on top at the peak: logits and their gradients, or a layer computed again", lambda s: s.passes - s.kept),
    ("allowance: CUDA context, workspaces, gaps", lambda s: ALLOWANCE),
]


def table(steps: dict[str, Step], length: int) -> dict[str, Any]:
    """The parts and the settings as plain data, in GiB."""

    def gib(value: float) -> float:
        return round(value / GIB, 2)

    parts = [{"part": name, **{kind: gib(of(s)) for kind, s in steps.items()}} for name, of in PARTS]
    settings = []
    for setting in SETTINGS:
        row: dict[str, Any] = {"setting": setting.name, "launch": setting.launch, "card": CARDS[setting.card]}
        for kind, s in steps.items():
            need = gib(setting.need(s, setting.cards))
            row[kind] = {"need": need, "fits": need <= CARDS[setting.card]}
        settings.append(row)
    return {"length": length, "parts": parts, "settings": settings}


def markdown(data: dict[str, Any]) -> str:
    """The two tables of docs/scale.md."""
    total = {k: round(sum(p[k] for p in data["parts"]), 2) for k in ("bfloat16", "nf4")}
    lines = [f"GiB a GPU, batch 1, {data['length']:,} ids:", "", "| part | bf16 base | 4-bit base |", "|---|---|---|"]
    lines += [f"| {p['part']} | {p['bfloat16']:.2f} | {p['nf4']:.2f} |" for p in data["parts"]]
    lines += [f"| **one process** | **{total['bfloat16']:.2f}** | **{total['nf4']:.2f}** |", ""]
    lines += ["| setting | launch file | the card has | bf16 base needs | 4-bit base needs |", "|---|---|---|---|---|"]
    for row in data["settings"]:
        cells = [f"{row[k]['need']:.1f}: {verdict(row[k]['need'], row['card'])}" for k in ("bfloat16", "nf4")]
        lines.append(f"| {row['setting']} | `{row['launch']}` | {row['card']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def verdict(need: float, card: float) -> str:
    """In words; within a GiB of the card's memory a computed number is no promise."""
    if need > card:
        return "**does not fit**"
    return "barely" if need > card - 1 else "fits"


def page(text: str, tables: str) -> str:
    """The page's text with the tables between its two marks."""
    return between(text, BEGIN, END, tables, PAGE.name)


def main() -> None:
    """Prints the tables or the JSON, writes them into docs/scale.md, or checks that they stand there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, help="ids of prompt and target; default: the recipe's longest")
    how = parser.add_mutually_exclusive_group()
    for name in ("json", "write", "check"):
        how.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    recipe = recipes.load("reg2rg")
    length = options.length or recipe.prompt.max_length
    data = table({kind: step(recipe, LLAMA2_7B, kind == "nf4", length) for kind in ("bfloat16", "nf4")}, length)
    if options.json:
        print(json.dumps(data, indent=2))
    elif options.write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), markdown(data)), encoding="utf-8")
    elif options.check:
        text = PAGE.read_text(encoding="utf-8")
        sys.exit(
            f"{PAGE.name} is out of date: python benchmarks/memory.py --write" if page(text, markdown(data)) != text else 0
        )
    else:
        print(markdown(data), end="")


if __name__ == "__main__":
    main()
