"""`reg2rg preprocess`: any CT source → a segmented store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EXIT_FAILED, EXIT_REFUSED_SOME
from ..shares import cores
from .console import emit_json, progress_bar, say
from .options import pairs


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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    cluster: Annotated[str, typer.Option(help="Address of a running dask scheduler, instead of local processes.")] = "",
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
    were refused).

    Example: reg2rg preprocess runs/phantom --out runs/store --segmenter precomputed --workers 2
    """
    from ..preprocess import preprocess

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
            workers=workers or cores(),
            cluster=cluster,
            shard=shard,
            force=force,
            keep_ids=keep_ids,
            progress=progress,
        )
    for trace in summary.traces:
        say(trace)
    if as_json:
        emit_json(summary.to_json())
    _close(summary, out)


def _close(summary: Any, out: Path) -> None:
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
    if summary.refused == summary.studies:
        raise typer.Exit(EXIT_FAILED)
    if summary.refused:
        raise typer.Exit(EXIT_REFUSED_SOME)
