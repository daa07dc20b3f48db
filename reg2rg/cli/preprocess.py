"""`reg2rg preprocess`: any CT source → a segmented store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EXIT_FAILED, EXIT_REFUSED_SOME, UserError
from ..shares import cores
from .console import emit_json, progress_bar, say
from .options import SplitterOptions, pairs


def command(
    source: Annotated[
        Path, typer.Argument(help="Data set folder, folder of scans (NIfTI, NRRD, MHA, DICOM, zip), or one scan.")
    ],
    out: Annotated[Path, typer.Option(help="The store: a new folder, or one to go on with.")],
    segmenter: Annotated[str, typer.Option(help="Segmenter plugin; see: reg2rg plugins list.")] = "threshold",
    masks: Annotated[Path | None, typer.Option(help="Masks for --segmenter precomputed; default: the layout's own.")] = None,
    reports: Annotated[
        Path | None, typer.Option(help="Region report table (Volumename,Anatomy,Sentence) or whole reports.")
    ] = None,
    layout: Annotated[str, typer.Option(help="auto, radgenome, ctrg or folder.")] = "auto",
    split: Annotated[Path | None, typer.Option(help="Split table (Volumename,Split: train, valid or test).")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(help="Column of a table of whole reports, as id=NAME, report=NAME or split=NAME; repeatable."),
    ] = None,
    splitter: Annotated[
        str, typer.Option(help="Splitter plugin, to make region sentences of whole reports without any; see: reg2rg split.")
    ] = "",
    splitter_options: SplitterOptions = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    cluster: Annotated[
        str,
        typer.Option(
            help="Address (tcp://HOST:PORT) of a running dask scheduler whose workers do the work instead of local processes; "
            "paths must be the same on all machines."
        ),
    ] = "",
    shard: Annotated[str, typer.Option(help="Part I of N of the studies, as I/N from 1/N to N/N (for job arrays).")] = "",
    force: Annotated[bool, typer.Option("--force", help="Make finished studies again.")] = False,
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Keep DICOM's SeriesInstanceUID as id, not a salted hash.")
    ] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Option of the segmenter, as KEY=VALUE; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Reads every scan of SOURCE, segments it and stores it; the same command goes on where it was interrupted.

    A study that can't be used is a row of failures.csv in the store, with the reason; the exit code is then 3 (1 where all
    were refused). What looks odd in a stored study is in qc.csv and, with pictures, in qc.html.

    Example: reg2rg preprocess runs/phantom --out runs/store --segmenter precomputed --workers 2
    """
    from ..data.splitting import Splitter
    from ..preprocess import preprocess

    chosen = Splitter(splitter, pairs(splitter_options, "--splitter-options")) if splitter else None
    with progress_bar() as progress:
        summary = preprocess(
            source,
            out,
            segmenter=segmenter,
            options=pairs(set_, "--set"),
            masks=masks,
            layout=layout,
            reports=reports,
            split=split,
            columns={key: str(value) for key, value in pairs(columns, "--columns").items()},
            splitter=chosen,
            workers=workers or cores(),
            cluster=cluster,
            shard=shard,
            force=force,
            keep_ids=keep_ids,
            progress=progress,
        )
    sheet = "" if summary.rest else _sheet(out)
    for trace in summary.traces:
        say(trace)
    if as_json:
        emit_json(summary.to_json())
    _close(summary, out, sheet)


def _sheet(out: Path) -> str:
    """Writes the contact sheet of the whole store, as the last part of a job array does; what there is to say of it."""
    from ..preprocess import locked, read_table
    from .contact import PAGE, write_sheet

    with locked(out):
        rows = read_table(out)
        if not rows:
            return ""
        try:
            write_sheet(out, out / PAGE)
        except (OSError, UserError) as error:  # the studies are stored all the same
            return f"  The contact sheet could not be written: {error}"
    flagged = sum(bool(row["flags"]) for row in rows)
    return f"  Quality control flagged {flagged} of {len(rows)} stored studies: {out / PAGE}"


def _close(summary: Any, out: Path, sheet: str) -> None:
    """Says how it ended, on stderr, and leaves with the exit code of the interface."""
    say(
        f"{summary.studies} studies: {summary.done} stored, {summary.skipped} were there already, {summary.refused} refused, "
        f"in {summary.seconds:.1f} s. Store: {out}"
    )
    for row in summary.failures[:5]:
        say(f"  refused {row['study']} ({row['stage']}): {row['error'].rstrip('.')}. {row['hint']}".rstrip())
    if summary.refused > 5:
        say(f"  … and {summary.refused - 5} more")
    if summary.refused:
        say(f"  All reasons: {out / 'failures.csv'}")
    if summary.fallbacks:
        say(f"  The splitter left the reports of {summary.fallbacks} studies to another one; each study's provenance says why.")
    if summary.unsplit:
        say(
            f"  {summary.unsplit} studies have a whole report and no region sentences, which training needs: --splitter rules "
            "makes them (or, beforehand, reg2rg split)."
        )
    if sheet:
        say(sheet)
    if summary.refused == summary.studies:
        raise typer.Exit(EXIT_FAILED)
    if summary.refused:
        raise typer.Exit(EXIT_REFUSED_SOME)
