"""Our implementation against the golden fixtures: every case of a folder, by family.

usage: python benchmarks/parity.py [FOLDER] [--json] [--tokenizer DIR] [--data DIR]

The folder has the layout FAMILY/CASE/case.json. Whatever is in it is run or counts as failed, with the reason: a family that
isn't known, a case that can't be read, files without a case.json. Exit 1 where one fails. Errors are the largest over all
outputs of a case; the relative one is relative to the output's largest value. Defaults lie in $REG2RG_SHARED or ../shared.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv" / "bin" / "python"

if __name__ == "__main__" and importlib.util.find_spec("reg2rg") is None and VENV.is_file():
    os.execv(VENV, [str(VENV), *sys.argv])  # started by a Python that lacks the environment

from golden_case import Case, Score  # noqa: E402

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Material:
    """What some families need beside their cases: a tokenizer's folder, and the folder with the released results."""

    tokenizer: Path | None = None
    data: Path | None = None


# family → the module that has a function of its name, and what that takes of the material beside case and score
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(("vit3d", "perceiver", "mask_vit", "embeddings", "loss", "lora"), ("golden_models", ())),
    "prompt": ("golden_data", ("tokenizer",)),
    "preprocess": ("golden_data", ()),
    "metrics": ("golden_metrics", ("data",)),
}


def shared() -> Path | None:
    """The shared material: $REG2RG_SHARED, else ../shared, else None."""
    named = os.environ.get("REG2RG_SHARED")
    return next((p for p in (Path(named) if named else None, ROOT.parent / "shared") if p and p.is_dir()), None)


def default_material() -> Material:
    """What lies in the shared material."""
    folder = shared()
    parts = [folder / "data" / "llama-tokenizer", folder / "data"] if folder else []
    return Material(*(p if p.is_dir() else None for p in parts))


def discover(root: Path) -> list[Path]:
    """Folders of cases, and folders with files that belong to no case; hidden ones aside."""
    folders = [p for p in sorted(root.resolve().rglob("*")) if p.is_file() and not _hidden(p, root)]
    holding = dict.fromkeys(p.parent for p in folders)
    cases = [f for f in holding if (f / "case.json").is_file()]
    stray = [f for f in holding if f not in cases and f != root.resolve() and not any(f in c.parents for c in cases)]
    return sorted([*cases, *stray])


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root.resolve()).parts)


def run(folder: Path, material: Material, root: Path | None = None) -> Row:
    """One case as a row; what goes wrong is its reason. A folder right under `root` that is no case counts as a family."""
    score = Score()
    family, name = folder.resolve().parent.name, folder.name
    try:
        if not (folder / "case.json").is_file():
            if root is not None and folder.resolve().parent == root.resolve() and root.name not in FAMILIES:
                family, name = folder.name, "?"
            raise ValueError("the folder holds files but no case.json")
        case = Case(folder)
        if family not in FAMILIES:
            raise ValueError(f"the family '{family}' is unknown (known: {', '.join(FAMILIES)})")
        if case.data.get("family", family) != family:
            raise ValueError(f"the folder says '{family}', case.json says '{case.data['family']}'")
        module, needs = FAMILIES[family]
        check = getattr(importlib.import_module(module), family)
        check(case, score, *(getattr(material, name) for name in needs))
        score.finish(case)
    except Exception as error:  # whatever a case does, it is one failed case and the others are still run
        if os.environ.get("REG2RG_DEBUG"):
            traceback.print_exc()
        score.faults.insert(0, f"{type(error).__name__}: {error}")
        score.max_abs = score.max_rel = math.nan
    numbers = {k: v if math.isfinite(v) else None for k, v in (("max_abs", score.max_abs), ("max_rel", score.max_rel))}
    row = {"family": family, "case": name, **numbers, "passed": not score.faults}
    return row if row["passed"] else {**row, "reason": _told(score.faults)}


def _told(faults: list[str]) -> str:
    """The first faults in one line."""
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return "; ".join(" ".join(fault.split())[:300] for fault in faults[:3]) + more


def rows(root: Path, material: Material) -> Iterator[Row]:
    """The rows of a folder, one at a time."""
    return (run(folder, material, root) for folder in discover(root))


def line(row: Row) -> str:
    """A row of the table."""
    errors = "".join(f"{'-' if row[k] is None else format(row[k], '.2e'):>10}" for k in ("max_abs", "max_rel"))
    return f"{row['family']:<12}{row['case']:<40}{errors}  {'pass' if row['passed'] else 'FAIL: ' + row['reason']}"


def options() -> argparse.Namespace:
    """The command line; a folder that was named must be there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="the fixtures (default: golden/ of the shared material)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--tokenizer", type=Path, help="folder of the LLaMA tokenizer")
    parser.add_argument("--data", type=Path, help="folder with the released results")
    chosen = parser.parse_args()
    for path in (chosen.folder, chosen.tokenizer, chosen.data):
        if path is not None and not path.is_dir():
            parser.error(f"there is no folder {path}")
    return chosen


def main() -> int:
    """Prints the table or the JSON; 0 where every case passes."""
    chosen, material = options(), default_material()
    given = {k: v for k, v in (("tokenizer", chosen.tokenizer), ("data", chosen.data)) if v is not None}
    material = dataclasses.replace(material, **given)
    root = chosen.folder or (shared() or ROOT) / "golden"
    if not root.is_dir():
        print("skipped: the shared material is absent (set REG2RG_SHARED to its folder)", file=sys.stderr)
        found: list[Row] = []
    else:
        found = _shown(root, material, quiet=chosen.json)
        if not found:
            print(f"{root} holds no fixture", file=sys.stderr)
    if chosen.json:
        print(json.dumps({"cases": found}, indent=2))
    return int(not all(row["passed"] for row in found) or (root.is_dir() and not found))


def _shown(root: Path, material: Material, quiet: bool) -> list[Row]:
    """Runs every case, each line of the table as it comes."""
    if not quiet:
        print(f"{'family':<12}{'case':<40}{'max_abs':>10}{'max_rel':>10}  result")
    found = []
    for row in rows(root, material):
        found.append(row)
        if not quiet:
            print(line(row), flush=True)
    if not quiet:
        print(f"{sum(row['passed'] for row in found)} of {len(found)} cases pass")
    return found


if __name__ == "__main__":
    sys.exit(main())
