"""Published weights ↔ ours: key tables as data, strict checks, nothing unpickled, and the way back bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Converted, Request


def convert(request: Request, back: bool = False) -> Converted:
    """Runs a conversion, `back` to the official layout. Raises UserError, and leaves nothing half-written, where it can't."""
    from . import back as backwards
    from . import encoder, labeler, run, segmenter

    if request.kind.makes == "labeler":
        return labeler.back(request) if back else labeler.forth(request)
    if request.kind.makes == "segmenter":
        return segmenter.back(request) if back else segmenter.forth(request)
    if request.kind.makes == "run":
        return backwards.run(request) if back else run.forth(request)
    return backwards.parts(request) if back else encoder.forth(request)
