"""`reg2rg bench`: trains and compares methods, ablations and sweeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .console import emit_json, progress_bar, say, show_table
from .options import EncoderOption, GeometryOption, SetOption, check_plugins, decoder_change, pairs

if TYPE_CHECKING:
    from ..bench.plan import Plan
    from ..bench.row import Place


def command(
    data: Annotated[str, typer.Option(help="A store, or phantom: the bench makes its own phantoms.")] = "phantom",
    out: Annotated[Path, typer.Option(help="Folder for the runs, bench.json, the tables and page.html.")] = Path("runs/bench"),
    ablate: Annotated[str, typer.Option(help="Ablations, comma-separated: lfd, rra, geometry, global, texture, decoder.")] = "",
    methods: Annotated[
        str, typer.Option(help="Whole recipes to compare, comma-separated names or files: reg2rg,radfm,m3d.")
    ] = "",
    sweep: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,VALUE: a row for each value of a recipe's key; repeatable.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe that ablations change; default: tiny on phantoms, else reg2rg.")
    ] = None,
    volume_encoder: EncoderOption = None,
    geometry_encoder: GeometryOption = None,
    decoder: Annotated[str | None, typer.Option(help="Decoder plugin or folder instead of the recipe's.")] = None,
    init: Annotated[
        list[str] | None, typer.Option(help="ENCODER=DIR, initial weights for rows with that volume encoder; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split that is scored.")] = "test",
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each row; default: 3 on phantoms, else 1.")] = None,
    studies: Annotated[int, typer.Option(min=24, help="Phantoms to make, all splits together.")] = 450,
    profile: Annotated[Literal["demo", "strict"], typer.Option(help="Profile of the phantoms.")] = "strict",
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training and pretraining steps of each row; default: 250 on phantoms, else the recipe's."),
    ] = None,
    set_: SetOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Rows that are trained at the same time; they share the cores.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show rows, parameters, estimated time; train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print bench.json's document.")] = False,
) -> None:
    """Trains every row, scores its test reports and compares the pairs study by study, with the paper's rows beside.

    The same command goes on where it was interrupted; finished rows are kept, and a row that fails stops no other. Under
    accelerate launch all GPUs train each row together.

    Example: reg2rg bench --data phantom --ablate lfd,rra,geometry,global,texture --jobs 2 --out runs/bench
    """
    from ..bench.plan import Wish, make_plan

    phantom = data == "phantom"
    steps = max_steps or (250 if phantom else None)
    changes: dict[str, Any] = {"training": {"max_steps": steps}, "pretraining": {"max_steps": steps}} if steps else {}
    chosen: dict[str, Any] = {"volume_encoder": volume_encoder, "geometry_encoder": geometry_encoder}
    chosen["decoder"] = decoder_change(decoder) if decoder else None
    wish = Wish(
        base=recipe or ("tiny" if phantom else "reg2rg"),
        ablate=_names(ablate),
        methods=_names(methods),
        sweeps=tuple(sweep or ()),
        seeds=seeds or (3 if phantom else 1),
        plugins={key: named for key, named in chosen.items() if named},
        changes=changes,
        sets=tuple(set_ or ()),
        small=phantom,
    )
    plan = make_plan(wish)
    for row in plan.runs.values():
        check_plugins(row.recipe)
    folders = {name: Path(str(folder)) for name, folder in pairs(init, "--init").items()}
    if dry_run:
        _foresee(plan, _place(data, out, folders, split), studies, profile, jobs, as_json)
        return
    document, traces = _run(plan, _place(data, out, folders, split), studies, profile, jobs)
    for trace in traces:
        say(trace)
    if not document:  # another of a launcher's processes has it
        return
    if as_json:
        emit_json(document)
    else:
        _show(document, out)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _place(data: str, out: Path, inits: dict[str, Path], split: str) -> Place:
    """Where the bench works; the data's fingerprint is "" as long as the phantoms aren't made."""
    from ..bench.row import Place
    from ..data.store import Store, is_store

    phantom = data == "phantom"
    folder = out / "store" if phantom else Path(data)
    key = "" if phantom and not is_store(folder) else Store(folder).fingerprint()
    return Place(folder, key, out, phantom, inits, split)


def _run(
    plan: Plan, place: Place, studies: int, profile: Literal["demo", "strict"], jobs: int
) -> tuple[dict[str, Any], list[str]]:
    from ..bench.run import bench
    from ..bench.together import alone
    from ..data.store import Store
    from ..demo import phantom_store, splits

    notes = []
    with progress_bar() as progress:
        if place.pretrained:
            notes = [f"Phantoms of the profile {profile}, no patients; small models and few steps."]
            alone(lambda: phantom_store(place.out, splits(studies), 0, profile, progress))
            place = dataclasses.replace(place, data=Store(place.store).fingerprint())
        return bench(plan, place, jobs=jobs, notes=notes, progress=progress)


def _foresee(plan: Plan, place: Place, studies: int, profile: Literal["demo", "strict"], jobs: int, as_json: bool) -> None:
    from ..bench.estimate import foresee
    from ..data.store import Store
    from ..demo import splits
    from ..evaluate.tables import Table
    from ..phantom import plan_study, report, sentences

    if place.data:
        texts = [study.report for study in Store(place.store).studies("train")]
        train = len(texts)
    else:
        train, texts = splits(studies)[0], [report(sentences(plan_study(0, i, profile))) for i in range(30)]
    found = foresee(plan, texts, train, place, jobs)
    if as_json:
        emit_json(found)
        return
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        by_name.setdefault(row["name"], []).append(row)
    table = [
        (name, rows[0]["recipe"], _count(rows[0]["parameters"]), _count(rows[0]["steps"]), str(len(rows)), _time(rows))
        for name, rows in by_name.items()
    ]
    note = (
        f"{len(plan.runs)} runs, about {found['seconds'] / 60:,.0f} min left with --jobs {jobs} (by {found['from']}). "
        "–: the decoder isn't on this machine."
    )
    show_table(Table("Plan", ("row", "recipe", "parameters", "steps", "seeds", "seconds a seed"), tuple(table), note=note))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _time(rows: list[dict[str, Any]]) -> str:
    """Seconds of a seed, what is done already, and whose run the row shares."""
    if rows[0]["shares"]:
        return f"the run of {rows[0]['shares']}"
    done = sum(row["finished"] for row in rows)
    mean = sum(row["seconds"] for row in rows) / len(rows)
    return f"{mean:,.0f}" + (f" ({done} of {len(rows)} done)" if done else "")


def _show(document: dict[str, Any], out: Path) -> None:
    from ..bench.tables import remarks, tables

    for table in tables(document, narrow=True):
        show_table(table)
    for line in remarks(document):
        say(line)
    say(f"{out / 'page.html'}: open it in any browser. Beside it: bench.json, bench.csv, bench.md, bench.tex.")
