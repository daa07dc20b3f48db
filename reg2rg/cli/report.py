"""`reg2rg report`: one scan to a grounded report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .console import emit_json, say
from .options import pairs


def command(
    scan: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MHA file, zip, or DICOM folder.")],
    run: Annotated[Path, typer.Option(help="The run folder of train.")],
    out: Annotated[Path, typer.Option(help="Folder for report.txt, report.json and page.html.")],
    segmenter: Annotated[str, typer.Option(help="Segmenter plugin; see: reg2rg plugins list.")] = "threshold",
    masks: Annotated[Path | None, typer.Option(help="Folder of REGION.nii.gz or a label map, instead of a segmenter.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default: a GPU where there is one.")] = None,
    decoder: Annotated[str | None, typer.Option(help="Where the run's base language model or tokenizer lies now.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Option of the segmenter, as KEY=VALUE; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json's document.")] = False,
) -> None:
    """Segments one scan, writes its report region by region, and draws the page on which each sentence shows its region.

    Example: reg2rg report scan.nii.gz --run runs/demo/run --out out
    """
    if out.is_file():
        raise UserError("this is a file, not a folder's name", out, "For example: --out out", 2)
    options = pairs(set_, "--set")
    from ..plugins import registry

    registry().find("segmenter", segmenter)
    if not scan.exists():
        raise UserError("there is no such scan", scan, "Give a CT file, or a folder of DICOM files.")
    from ..ct import read_volume

    volume = read_volume(scan)  # a scan that can't be read needs no model to be loaded
    from ..pipeline import Reg2RG, study_id

    model = Reg2RG.from_pretrained(run, device, decoder)
    result = model.report(volume, segmenter=segmenter, masks=masks, options=options, name=study_id(scan))
    page = result.save(out)
    if as_json:
        emit_json(result.to_json())
    for warning in model.warnings:
        say(f"Note: {warning}")
    if result.missing:
        say("No mask: " + "; ".join(f"{region} ({reason})" for region, reason in result.missing.items()) + ".")
    say(f"{page}: {len(result.regions)} regions. Open it in any browser.")
