"""`reg2rg phantom`: a procedural chest-CT data set in the RadGenome-ChestCT layout."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import emit_json, progress_bar, say


class Size(StrEnum):
    """Grids over the same field of view."""

    small = "small"
    medium = "medium"
    full = "full"


class Masks(StrEnum):
    """How masks are stored."""

    files = "files"
    bits = "bits"


class Profile(StrEnum):
    """Easy and fast to learn, or with evidence classes that hold."""

    demo = "demo"
    strict = "strict"


def command(
    out: Annotated[
        Path, typer.Argument(help="Folder to write; it must be new, empty, or an unfinished phantom of the same settings.")
    ],
    studies: Annotated[int, typer.Option(min=1, help="Number of volumes: 80 % train, 10 % valid, 10 % test.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed; study i of a seed is always the same bytes.")] = 0,
    size: Annotated[Size, typer.Option(help="Voxels: small 96×96×48, medium 192×192×96, full 512×512×300.")] = Size.small,
    masks: Annotated[Masks, typer.Option(help="One bit-mask file a study, or one file a region.")] = Masks.bits,
    profile: Annotated[
        Profile, typer.Option(help="demo: easy, for the demo; strict: full grammar and distractors.")
    ] = Profile.demo,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw; default: one a core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the settings and counts as JSON.")] = False,
) -> None:
    """Writes procedural chest CTs with masks, region reports, labels and a split (RadGenome-ChestCT layout).

    They are drawn from solids and noise: no patient, and no substitute for real data.

    Example: reg2rg phantom runs/phantom --studies 100 --seed 1
    """
    import json

    from ..phantom import write_phantom

    with progress_bar() as progress:
        write_phantom(
            out,
            studies=studies,
            seed=seed,
            size=size.value,
            masks=masks.value,
            profile=profile.value,
            workers=workers,
            progress=progress,
        )
    if as_json:
        emit_json(json.loads((out / "phantom.json").read_text(encoding="utf-8")))
    else:
        say(f"{studies} phantoms in {out} (procedural phantom, not a patient).")
        say(f"Next: reg2rg preprocess {out} --out STORE --segmenter precomputed")
