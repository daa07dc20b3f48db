"""`reg2rg split`: a table of whole reports → a region report table, once, for `preprocess --reports`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import emit_json, progress_bar, say
from .options import SplitterOptions, pairs


def command(
    reports: Annotated[Path, typer.Argument(help="Table of whole reports: CSV, or a JSON list of objects.")],
    out: Annotated[Path, typer.Option(help="CSV to write: Volumename, Anatomy, Sentence.")],
    splitter: Annotated[str, typer.Option(help="Splitter plugin: rules (offline), llm, or any installed one.")] = "rules",
    splitter_options: SplitterOptions = None,
    report_column: Annotated[str, typer.Option(help="Column with the reports; '' = look for it.")] = "",
    id_column: Annotated[str, typer.Option(help="Column with the study ids; '' = look for it.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print counts as one JSON document and nothing else.")] = False,
) -> None:
    """Give each sentence of each report to the region that it is about; the same command goes on where it was interrupted.

    Every sentence is used once (rules with several=true: once for each of its regions) and none is invented. Sentences of no
    region, such as remarks on technique, are left out and counted; the row with an empty Anatomy keeps the whole report.

    Example: reg2rg split reports.csv --out region_report.csv --splitter llm --splitter-options model=models/qwen
    """
    from ..data.splitting import Splitter, check_out, counts, read_reports, split_reports, write_table

    chosen = Splitter(splitter, pairs(splitter_options, "--splitter-options"))
    columns = {key: name for key, name in (("report", report_column), ("id", id_column)) if name}
    kept = out.with_name(f".{out.name}.part")
    texts = read_reports(reports, columns)
    check_out(out, reports)
    with progress_bar(not json) as progress:
        found = split_reports(texts, chosen, progress, kept)
    write_table(out, texts, found)
    kept.unlink(missing_ok=True)
    summary: dict[str, Any] = {**counts(texts, found), "splitter": splitter, "made": chosen.made(), "out": str(out)}
    if json:
        emit_json(summary)
    else:
        _tell(summary)


def _tell(summary: dict[str, Any]) -> None:
    regions = ", ".join(f"{region} {n}" for region, n in summary["regions"].items())
    say(f"Split {summary['n']} reports with '{summary['splitter']}': {summary['out']}\n  Reports with each region: {regions}")
    if summary["without_region"]:
        say(f"  {summary['without_region']} sentences are about no region and stand in the whole reports alone")
    for reason, n in summary["reasons"].items():
        say(f"  {n} reports were left to another splitter: {reason}")
