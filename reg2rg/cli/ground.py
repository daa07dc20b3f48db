"""`reg2rg ground`: whether each section follows its own region, by intervention."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import EXIT_USAGE, UserError
from .console import emit_json, progress_bar, say, show, show_table
from .options import LabelerOptions, LabelerWeights, labeler_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..contracts import GroundedReport, Study
    from ..evaluate.choice import Named
    from ..generate.donors import Labels, Wish
    from ..pipeline import Reg2RG
    from ..progress import Progress


def command(
    run: Annotated[Path, typer.Argument(help="The run folder of train.")],
    data: Annotated[Path, typer.Option(help="The store with the studies.")],
    out: Annotated[Path, typer.Option(help="Folder for interventions.jsonl, grounding.json, grounding.md and page.html.")],
    split: Annotated[str, typer.Option(help="train, valid, test, or all; donors are of the same split.")] = "test",
    kinds: Annotated[
        str, typer.Option(help="Tokens to swap, by commas: texture, geometry, both; '' = all that the recipe has.")
    ] = "",
    regions: Annotated[str, typer.Option(help="Regions to swap, by commas; '' = all ten.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first studies of the split; default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of donors and of the bootstrap.")] = 0,
    ci: Annotated[int, typer.Option(min=0, help="Bootstrap resamples for the 95 % intervals; 0 = none.")] = 1000,
    labeler: Annotated[str, typer.Option(help="Labeler plugin that reads the findings out of a section.")] = "rules",
    labeler_options: LabelerOptions = None,
    weights: LabelerWeights = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Studies at once; default: the recipe's.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest report; default: the recipe's.")] = None,
    shuffle_regions: Annotated[bool, typer.Option("--shuffle-regions", help="Shuffle the regions, as in training.")] = False,
    decoder: Annotated[str | None, typer.Option(help="Where the run's base language model or tokenizer lies now.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default: a GPU where there is one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print grounding.json's document and nothing else.")] = False,
) -> None:
    """Replaces one region's tokens by another study's, writes the report again, and measures which sections change.

    A section that is written from its own region changes, and no other does. Each study is written once for every region and
    kind of tokens, greedily; the same command goes on where it was interrupted.

    Example: reg2rg ground runs/demo/run --data runs/demo/store --out runs/demo/grounding --shuffle-regions
    """
    if out.is_file():
        raise UserError("this is a file, not a folder's name", out, "For example: --out grounding", EXIT_USAGE)
    from ..data.store import Store
    from ..plugins import registry

    judge = labeler_choice(labeler, labeler_options, weights)
    registry().find("labeler", judge.name)  # a misspelt name costs no hour of writing
    store = Store(data)
    pool = store.chosen(split)
    from ..evaluate.grounding import grounding
    from ..generate.donors import Wish
    from ..pipeline import Reg2RG

    model = Reg2RG.from_pretrained(run, device, decoder)
    changes = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "shuffle_regions": shuffle_regions or None}
    labels, source = _labels(pool, judge)
    wish = Wish(_names(kinds), _names(regions), limit, seed)
    with progress_bar(not json) as progress:
        lines = _lines(model, store, out / "interventions.jsonl", (pool, labels, wish), changes, progress)
    result = grounding(lines, labeler=judge, ci=ci, seed=seed)
    result["settings"] |= {"labels": source, "split": split, "run": str(run), "warnings": model.warnings}
    _write(out, result)
    if json:
        emit_json(result)
    else:
        _show(result)
        say(f"{out / 'page.html'}: open it in any browser. Beside it: interventions.jsonl, grounding.json, grounding.md.")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _labels(pool: Sequence[Study], judge: Named) -> tuple[Labels, str]:
    """The studies' own labels; where no study has any, the labeler reads their references. And whose labels they are."""
    labels = {s.id: s.labels for s in pool if s.labels}
    if labels:
        return labels, "store"
    from ..anatomy import FINDINGS
    from ..evaluate.choice import Choice
    from ..evaluate.labels import label_texts

    told = {s.id: s.report or " ".join(s.region_reports.values()) for s in pool}
    told = {name: text for name, text in told.items() if text.strip()}
    rows = label_texts(list(told.values()), judge)
    read = {name: dict(zip(FINDINGS, map(int, row), strict=True)) for name, row in zip(told, rows, strict=True)}
    return read, Choice.of(judge).name if read else "none"


def _lines(
    model: Reg2RG,
    store: Any,
    out: Path,
    asked: tuple[Sequence[Study], Labels, Wish],
    changes: dict[str, Any],
    progress: Progress,
) -> list[GroundedReport]:
    """The lines of the interventions, written or, as far as they are there, read."""
    from ..generate.donors import plan
    from ..generate.interventions import interventions

    pool, labels, wish = asked
    experiment = plan(store, pool, model.model.recipe, wish, labels)
    spec = model.model.recipe.generation.model_copy(update={k: v for k, v in changes.items() if v is not None})
    return interventions(model.model, store, experiment, out, spec, model.provenance(store.fingerprint()), progress)


def _write(folder: Path, result: dict[str, Any]) -> None:
    import json

    from ..evaluate.grounding_tables import markdown
    from ..files import write_text
    from ..page import write_grounding_page

    write_text(folder / "grounding.json", json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "grounding.md", markdown(result))
    write_grounding_page(folder / "page.html", result)


def _show(result: dict[str, Any]) -> None:
    from ..evaluate.grounding_tables import remarks, tables

    for table in tables(result, narrow=True):
        show_table(table, bold=1)
    for line in remarks(result):
        show(line)
