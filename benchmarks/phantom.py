"""Sanity figures of the phantom → benchmarks/phantom.md.

    python benchmarks/phantom.py [--studies 700] [--test 150] [--steps 600] [--profile demo|strict|both] [--json]

Floors and ceiling of the text metrics; the evidence check (small classifiers that see only the whole volume resized, the
masked crops, the masks' geometry, or all of it); region masks in ml; sizes of vocabulary and reports. About ten minutes on two
cores. Each reader is one small network on one thread, so a figure is a lower bound on what is readable: a finding that a
reader misses may need more data, one that it finds in the wrong evidence is a leak for certain.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from reg2rg.anatomy import FINDINGS, REGIONS
from reg2rg.bench.evidence import MARGIN, READERS, RIGHT, Seen, check, from_arrays, stacked
from reg2rg.contracts import GroundedReport, RegionMask, RegionSection, Study, Volume
from reg2rg.phantom import EVIDENCE, plan_study, render, report, sentences
from reg2rg.phantom.look import PROFILES, Profile

SEED = 1


NOTES = """## Reading the figures

In `demo` leaks are allowed; `phantom.json` names them under "leaks". In `strict`:

- Cardiomegaly, pericardial effusion and hiatal hernia are told by geometry and not by the crop. As solids they are scale-free
  (tests hold that), but a crop of few voxels enlarged to 32×32×16 shows how many it had, and so its size in mm. What cures
  that is people of many sizes and builds, of whom those with a large heart are smaller by half of what it gains: then a size in
  mm is a large person's about as often as a sick one's. A reader that knew the heart's volume exactly, and nothing else, would
  still reach F1 0.28 for cardiomegaly where always yes has 0.33, and 0.33 for effusion from the heart's height beside its
  width (2,500 plans; 0.47 at the threshold that suits best). A reader of the heart's crop alone (500 studies, 1,500 steps,
  250 for the test; coronary calcification 1.00) gave 0.00 and 0.07, one of the oesophagus's crop 0.08 for hernia.
- Half of the heart's gain shows in the person: body size alone tells cardiomegaly with F1 0.49 at the best threshold. Where a
  model sees every region's crop, that and the heart's size in voxels together could tell it; the check's `crops` sees a
  finding's own region only.
- A thick bronchial wall and thick septa take from their surroundings what they add, so that the whole volume shows neither.
- Bulk findings are large and dense enough for this reader to find them in 32×32×16 cells. It learns studies by heart
  before it learns a faint finding: `whole` and `all` stay below what is there, and on septa, bronchiectasis and sequelae `all`
  is below `crops`.
- Of the studies that show one half of lymphadenopathy's evidence (nodes, or their cause in the lung) 36% have the finding, so
  that half alone is no reason to say yes.
- Sizes and contrasts of `strict` were chosen on phantoms of this very seed, among them those of the test; another seed wasn't
  tried.
- A small bench's check has few positives, so its F1 are uncertain by about 0.1. With 360 studies to learn from and 90 for the
  test (the first 450 of the same phantoms, seed 0) nothing leaked; at 300 steps six findings weren't learned, at 450 one,
  consolidation, which 10 of the 90 have.
"""

# The evidence check


def views(task: tuple[int, Profile]) -> tuple[Seen, dict[str, int]]:
    """One study as the readers see it, and its labels."""
    import torch

    torch.set_num_threads(1)
    index, profile = task
    plan = plan_study(SEED, index, profile)
    drawn = render(plan)
    return from_arrays(Volume(drawn.hu, drawn.affine), RegionMask(drawn.bits, frozenset(REGIONS))), plan.labels


def evidence(profile: Profile, studies: int, test: int, steps: int) -> list[dict[str, Any]]:
    """The evidence check's table on studies drawn for it."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(views, [(i, profile) for i in range(studies + test)], chunksize=16))
    data = stacked([seen for seen, _ in rows], [labels for _, labels in rows], studies)
    start = time.perf_counter()

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        print(f"{profile} {note}: {done}/{total} after {time.perf_counter() - start:.0f} s", flush=True)

    classes = {name: sorted(f for f in FINDINGS if EVIDENCE[f] == name) for name in RIGHT}
    return check(data, classes, steps=steps, seed=SEED, progress=told)


# Texts


def texts(profile: Profile, train: int, test: int) -> dict[str, Any]:
    """Floors and ceiling (reg2rg.evaluate) and the size of vocabulary and reports."""
    from reg2rg.evaluate import floors, label_texts

    plans = [plan_study(SEED, i, profile) for i in range(train + test)]
    written = [sentences(plan) for plan in plans]
    studies = [Study(str(p.index), "train", t, report(t), p.labels) for p, t in zip(plans, written, strict=True)]
    perfect = [_report(p.index, sentences(p, SEED + 1), t) for p, t in zip(plans[train:], written[train:], strict=True)]
    labels = {str(p.index): p.labels for p in plans}
    metrics = ("bleu", "rouge", "meteor")
    rows = floors(
        perfect, train=studies[:train], labels=labels, ci=0, metrics=metrics, extra={"perfect reader, other wording": perfect}
    )
    read = label_texts([s.report for s in studies], "rules")
    wrong = int((read != np.array([list(p.labels.values()) for p in plans])).sum())
    words = [re.findall(r"\w+|[^\w\s]", _prefixed(t).lower()) for t in written]
    lengths = [len(w) for w in words]
    size = {"vocabulary": len(Counter(w for row in words for w in row)), "mean": float(np.mean(lengths)), "most": max(lengths)}
    return {"floors": rows, "labeler_errors": wrong, "labels_read": int(read.size), "words": size}


def _report(index: int, said: dict[str, str], truth: dict[str, str]) -> GroundedReport:
    rows = enumerate(truth.items())
    sections = tuple(RegionSection(i, region, region, None, said[region], text) for i, (region, text) in rows)
    return GroundedReport(str(index), sections, report(said), report(truth))


def _prefixed(text: dict[str, str]) -> str:
    return " ".join(f"The region {i} is {region}: {said}" for i, (region, said) in enumerate(text.items()))


def masks(profile: Profile, studies: int = 40) -> dict[str, dict[str, float]]:
    """Region → ml: mean and range over studies, and the largest difference to the same solids on a grid twice as fine."""

    def one(index: int, size: str) -> np.ndarray:
        drawn = render(plan_study(SEED, index, profile), size)
        ml = abs(np.linalg.det(drawn.affine[:3, :3])) / 1000
        return np.array([((drawn.bits >> i) & 1).sum() * ml for i in range(len(REGIONS))])

    small = np.stack([one(i, "small") for i in range(studies)])
    fine = np.stack([one(i, "medium") for i in range(6)])
    rows = {}
    for i, region in enumerate(REGIONS):
        seen = small[:, i][small[:, i] > 0]
        off = np.abs(small[:6, i] - fine[:, i])[fine[:, i] > 0] / fine[:, i][fine[:, i] > 0]
        rows[region] = {
            "mean": float(seen.mean()),
            "low": float(seen.min()),
            "high": float(seen.max()),
            "off": float(np.median(off)),
        }
    return rows


# The page


def markdown(found: dict[str, Any], settings: dict[str, Any]) -> str:
    """The figures as benchmarks/phantom.md."""
    lines = [
        "# The phantom's sanity figures",
        "",
        "Made by `python benchmarks/phantom.py` with " + ", ".join(f"{k} {v}" for k, v in settings.items()) + f", seed {SEED}.",
        "The phantom is a procedural phantom, not a patient.",
        "",
    ]
    for profile, part in found.items():
        lines += [
            f"## Profile `{profile}`",
            "",
            *_evidence_lines(part["evidence"]),
            *_text_lines(part["texts"]),
            *_mask_lines(part["masks"]),
        ]
    return "\n".join([*lines, NOTES])


def _evidence_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "### Evidence check: F1 of a small classifier that sees only one kind of evidence",
        "`whole`: the volume resized to 32×32×16; `crops`: each finding's home region, masked and cropped, at that size;",
        "`masked`: the same without cropping; `geometry`: soft masks of the ten regions at 16×16×8; `all`: whole, crops of",
        "every region and geometry together. `always yes`: the F1 of saying yes to everybody, which beats yes at random, said",
        "as often as the finding is there. `holds`: the class's own evidence tells the finding, the wrong evidence doesn't.",
        "Detail needs crops, and whole, masked and geometry are wrong; bulk needs the whole volume; geometry needs geometry,",
        "and crops are wrong; context needs all, and crops or the whole volume alone are wrong. The right reader must beat",
        f"always yes and every wrong one by {MARGIN}; a wrong one must stay within {MARGIN} of always yes, or it `leaks`.",
        "`not learned`: nothing leaks, but the right reader is no better.",
        "",
        "| finding | class | prevalence | always yes | " + " | ".join(READERS) + " | holds | leaks |",
        "|---|---|---" + "|---" * (len(READERS) + 3) + "|",
    ]
    for row in rows:
        values = " | ".join(f"{row[key]:.2f}" for key in ("prevalence", "always_yes", *READERS))
        lines.append(f"| {row['finding']} | {row['class']} | {values} | {row['holds']} | {', '.join(row['leaks'])} |")
    means = " | ".join(f"{np.mean([row[kind] for row in rows]):.3f}" for kind in READERS)
    return [*lines, f"| mean | | | | {means} | | |", ""]


def _text_lines(part: dict[str, Any]) -> list[str]:
    shown = ("micro_f1", "macro_f1", "bleu1", "bleu4", "rougeL", "meteor")
    lines = ["### Floors and ceiling", "", "| reader | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in part["floors"].items():
        lines.append(f"| {name} | " + " | ".join(f"{row[k]['value']:.3f}" if k in row else "" for k in shown) + " |")
    words = part["words"]
    return [
        *lines,
        "",
        f"The rule labeler reads the plan back with {part['labeler_errors']} errors in {part['labels_read']} labels.",
        f"Vocabulary {words['vocabulary']} words; a report with its prefixes has {words['mean']:.0f} words and marks",
        f"on average, {words['most']} at most.",
        "",
    ]


def _mask_lines(part: dict[str, dict[str, float]]) -> list[str]:
    lines = [
        "### Region masks, ml",
        "`off`: median relative difference between the mask on this grid and the same solids on a grid twice as fine.",
        "",
        "| region | mean | lowest | highest | off |",
        "|---|---|---|---|---|",
    ]
    rows = [f"| {r} | {v['mean']:.0f} | {v['low']:.0f} | {v['high']:.0f} | {v['off']:.2f} |" for r, v in part.items()]
    return [*lines, *rows, ""]


def main() -> None:
    """Computes the figures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=700, help="studies that the readers learn from")
    parser.add_argument("--test", type=int, default=150, help="studies that they are tested on")
    parser.add_argument("--steps", type=int, default=600, help="training steps of a reader")
    parser.add_argument("--profile", choices=("demo", "strict", "both"), default="both")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"), help="the page to write")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON too")
    chosen = parser.parse_args()
    found: dict[str, Any] = {}
    for profile in (p for p in PROFILES if chosen.profile in ("both", p)):
        found[profile] = {
            "evidence": evidence(profile, chosen.studies, chosen.test, chosen.steps),
            "texts": texts(profile, chosen.studies, chosen.test),
            "masks": masks(profile),
        }
    chosen.out.write_text(markdown(found, {k: getattr(chosen, k) for k in ("studies", "test", "steps")}), encoding="utf-8")
    if chosen.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
