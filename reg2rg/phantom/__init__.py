"""The phantom: a procedural chest CT whose truth is known. It is no patient and no substitute for real data.

`plan` says what is there, `body` and `findings` draw it on the canvas of `solids`, `voxels` adds noise, `sentences` (words
in `wording`) writes the reports, `dataset` puts it all on disk in the RadGenome-ChestCT layout.
"""

from __future__ import annotations

from .dataset import write_phantom
from .look import EVIDENCE
from .plan import Finding, Person, Plan, plan_study
from .sentences import regions_in_view, report, sentences
from .voxels import Rendered, render

__all__ = [
    "EVIDENCE", "Finding", "Person", "Plan", "Rendered", "plan_study", "regions_in_view", "render", "report", "sentences",
    "write_phantom",
]  # fmt: skip
