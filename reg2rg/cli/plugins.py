"""`reg2rg plugins`: what is installed and from which package, its options, its conformance, and a start for one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import emit_json, say, show

if TYPE_CHECKING:
    from ..conformance import Verdict
    from ..plugins import Offer

app = typer.Typer(
    help="What is installed, from which package; conformance; scaffold.\n\nExample: reg2rg plugins list",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

KIND = "segmenter, volume-encoder, adapter, geometry-encoder, decoder, metric, labeler or splitter"
Name = Annotated[str, typer.Argument(help="The plugin's name; package:name where two packages offer it.")]
Kind = Annotated[str, typer.Option("--kind", help=f"Only this kind: {KIND}. Default: every kind that has the name.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option("--kind", help=f"Only this kind: {KIND}. Default: all.")] = "", as_json: Json = False
) -> None:
    """Everything that installed packages offer, and the packages that failed, with their reason.

    Example: reg2rg plugins list --kind metric
    """
    from ..plugins import registry

    _known(kind)
    found = registry()
    offers = [o for o in found.offers if kind in ("", o.kind)]
    if as_json:
        broken = [{"package": b.package, "reason": b.reason} for b in found.broken]
        emit_json({"plugins": [_row(o) for o in offers], "broken": broken})
        return
    _table(offers)
    for b in found.broken:
        say(f"Package '{b.package}' could not be loaded: {b.reason}.")


@app.command("show")
def show_(name: Name, kind: Kind = "", as_json: Json = False) -> None:
    """One plugin: its package, what it needs, and its options with their types and defaults.

    Example: reg2rg plugins show vit3d
    """
    rows = [{**_row(o), **_details(o)} for o in _offers(name, kind)]
    if as_json:
        emit_json({"plugins": rows})
        return
    for row in rows:
        _card(row)


@app.command("check")
def check(
    name: Name,
    kind: Kind = "",
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, an option to build the plugin with; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tries a plugin against the contract of its kind on tiny synthetic inputs; exit code 1 where it breaks it.

    Example: reg2rg plugins check hf --set path=models/my-model
    """
    from ..conformance import conform
    from ..errors import EXIT_FAILED
    from ..recipe import assignments

    options = assignments(sets or [])
    verdicts = [conform(o.kind, f"{o.package}:{o.name}", options) for o in _offers(name, kind)]
    if as_json:
        emit_json({"plugins": [_verdict(v) for v in verdicts], "passed": all(v.passed for v in verdicts)})
    else:
        for verdict in verdicts:
            _print(verdict)
    if failed := [v for v in verdicts if not v.passed]:
        for verdict in failed:
            say(f"reg2rg: {_sentence(verdict)}")
        raise typer.Exit(EXIT_FAILED)


@app.command("new")
def new(
    kind: Annotated[str, typer.Argument(help=f"The kind: {KIND}.")],
    name: Annotated[str, typer.Argument(help="The new plugin's name, lower-case words with hyphens.")],
    out: Annotated[Path | None, typer.Option("--out", help="The new folder. Default: ./PACKAGE.")] = None,
    package: Annotated[str, typer.Option("--package", help="The new package's name. Default: reg2rg-NAME.")] = "",
) -> None:
    """Writes a small installable package with a working plugin of a kind and its test, to change into one's own.

    Example: reg2rg plugins new metric distinct-words --out distinct-words
    """
    from ..scaffold import write_package

    folder = write_package(kind, name, out or Path(package or f"reg2rg-{name}"), package)
    print(folder)
    say(f"Next: pip install -e {folder}, then: reg2rg plugins check {name} --kind {kind}")


def _known(kind: str) -> None:
    from ..errors import EXIT_USAGE, UserError, suggest
    from ..plugins import KINDS

    if kind and kind not in KINDS:
        raise UserError(f"no kind of plugin is called '{kind}'", "--kind", suggest(kind, KINDS), EXIT_USAGE)


def _offers(name: str, kind: str) -> list[Offer]:
    """The offers called `name`; a clash of one kind is an error, the same name under several kinds is not."""
    from ..errors import UserError, suggest
    from ..plugins import registry

    _known(kind)
    found = registry()
    if kind:
        return [found.find(kind, name)]
    kinds = dict.fromkeys(o.kind for o in found.named(name))
    if not kinds:
        known = (o.name for o in found.offers)
        broken = "".join(f" Package '{b.package}' could not be loaded: {b.reason}." for b in found.broken)
        raise UserError(f"no plugin is called '{name}'", fix=suggest(name.rpartition(":")[2], known) + broken)
    return [found.find(k, name) for k in kinds]


def _row(offer: Offer) -> dict[str, Any]:
    return {
        "kind": offer.kind,
        "name": offer.name,
        "package": offer.package,
        "version": offer.version,
        "summary": offer.summary,
        "target": offer.target,
        "requires": list(offer.requires),
        "missing": offer.missing(),
    }


def _details(offer: Offer) -> dict[str, Any]:
    """Docstring and options, which need the plugin's import; `error` where it fails."""
    import inspect

    from ..errors import UserError
    from ..plugins import parameters, target_of

    try:
        target = target_of(offer.kind, f"{offer.package}:{offer.name}")
    except UserError as error:
        return {"doc": "", "options": [], "error": str(error)}
    options = [
        {
            "name": p.name,
            "type": _type(p.annotation),
            "default": None if p.default is p.empty else repr(p.default),
        }
        for p in parameters(target).values()
    ]
    return {"doc": inspect.getdoc(target) or "", "options": options, "error": ""}


def _type(annotation: Any) -> str:
    import inspect

    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _table(offers: list[Offer]) -> None:
    from rich.table import Table

    table = Table("kind", "name", "package", "what it is", box=None, pad_edge=False)
    kind = ""
    for o in offers:
        missing = f" (needs {', '.join(o.missing())}, not installed)" if o.missing() else ""
        table.add_row("" if o.kind == kind else o.kind, o.name, f"{o.package} {o.version}".strip(), o.summary + missing)
        kind = o.kind
    show(table)


def _card(row: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    show(f"[bold]{row['kind']} {escape(row['name'])}[/bold]  {escape(row['package'])} {row['version']}")
    show(escape(row["doc"] or row["summary"]))
    if row["error"]:
        say(f"reg2rg: {row['error']}")
    if row["options"]:
        table = Table("option", "type", "default", box=None, pad_edge=False)
        for o in row["options"]:
            default = "filled by reg2rg, or required" if o["default"] is None else o["default"]
            table.add_row(o["name"], escape(o["type"]), escape(default))
        show(table)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    checks = [{"check": o.expected, "passed": o.passed, "found": o.found} for o in verdict.outcomes]
    return {"kind": verdict.offer.kind, "name": verdict.offer.name, "package": verdict.offer.package,
            "passed": verdict.passed, "checks": checks}  # fmt: skip


def _sentence(verdict: Verdict) -> str:
    if len(verdict.outcomes) == 1:  # it wasn't even built
        return f"{verdict.offer} could not be tried; its options are given with --set KEY=VALUE."
    return f"{verdict.offer} breaks its contract in {len(verdict.failures)} of {len(verdict.outcomes)} checks."


def _print(verdict: Verdict) -> None:
    from rich.markup import escape

    show(f"[bold]{verdict.offer.kind} {escape(verdict.offer.name)}[/bold]  {escape(verdict.offer.package)}")
    for o in verdict.outcomes:
        show(f"  {'[green]pass[/green]' if o.passed else '[red]FAIL[/red]'}  {escape(o.expected)}")
        if not o.passed:
            show(f"        found: {escape(o.found)}")
