"""`reg2rg recipes`: the methods that come with the toolkit, resolved; a start for one's own; all faults at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import emit_json, say, show

app = typer.Typer(
    help="List, resolve, copy and check recipes.\n\nExample: reg2rg recipes list",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE laid over the recipe; repeatable.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The recipes that come with reg2rg.

    Example: reg2rg recipes list --json
    """
    from ..recipe import load, shipped

    rows = [{"name": name, "summary": load(name).summary, "path": str(path)} for name, path in shipped().items()]
    if as_json:
        emit_json({"recipes": rows})
        return
    from rich.table import Table

    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["name"], row["summary"])
    show(table)


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="A recipe's name, its file, or a run folder.")],
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """A recipe with everything that it extends written out: what `train` will do.

    Example: reg2rg recipes show reg2rg --set training.epochs=10
    """
    from ..recipe import load

    recipe = load(name, sets=sets or ())
    if as_json:
        emit_json({"recipe": recipe.model_dump(mode="json"), "fingerprint": recipe.fingerprint()})
    else:
        print(recipe.to_yaml(), end="")


@app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    file: Annotated[Path, typer.Argument(help="The new file, *.yaml.")],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Starts a recipe of one's own: a new file with every value of NAME in it, to be changed.

    Example: reg2rg recipes copy reg2rg mine.yaml
    """
    from ..errors import UserError
    from ..files import write_text
    from ..recipe import load

    if file.exists() and not force:
        raise UserError("there is a file already", file, "Give another name, or --force.")
    recipe = load(name)
    head = f"# A copy of '{name}'. A recipe may also state only its differences, after a line `extends: {name}`.\n"
    write_text(file, head + recipe.model_copy(update={"name": file.stem}).to_yaml())
    say(f"Next: reg2rg recipes check {file}")


@app.command("check")
def check(
    file: Annotated[str, typer.Argument(help="A recipe's file or name.")], sets: Sets = None, as_json: Json = False
) -> None:
    """Every fault of a recipe at once: keys, values, plugins that aren't there and options that they don't take.

    Example: reg2rg recipes check mine.yaml
    """
    from ..errors import EXIT_FAILED, UserError
    from ..recipe import load, locate

    faults: list[str] = []
    fingerprint = ""
    try:
        recipe = load(file, sets=sets or ())
        faults, fingerprint = _plugin_faults(recipe), recipe.fingerprint()
    except UserError as error:
        if not as_json:
            raise
        faults = [str(error)]
    if as_json:
        emit_json({"recipe": file, "passed": not faults, "faults": faults, "fingerprint": fingerprint})
        raise typer.Exit(EXIT_FAILED if faults else 0)
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise UserError(f"the recipe has {count}: " + "; ".join(f.rstrip(".") for f in faults), locate(file))
    print(f"{file}: sound; fingerprint {fingerprint}")


def _plugin_faults(recipe: Any) -> list[str]:
    """What is wrong with the plugins that a recipe names, without building any."""
    from ..conformance import FILLED
    from ..errors import UserError
    from ..plugins import arguments, target_of
    from ..recipe import COMPONENTS

    faults: list[str] = []
    for key in COMPONENTS:
        part = getattr(recipe, key)
        if part is None:
            continue
        kind = key.replace("_", "-")
        try:
            wrong = arguments(target_of(kind, part.name), part.options, FILLED.get(kind, {}))[1]
        except UserError as error:
            wrong = [str(error)]
        faults += [f"{key}: {w}" for w in wrong]
    return faults
