"""Small studies made on the spot for the pages' tests."""

from __future__ import annotations

import numpy as np

from reg2rg.contracts import GroundedReport, RegionMask, RegionSection, Volume

SPACING = (2.0, 3.0, 5.0)


def make_volume(shape: tuple[int, int, int] = (40, 30, 20), spacing: tuple[float, float, float] = SPACING) -> Volume:
    """Air with nothing in it."""
    return Volume(np.full(shape, -1000, np.int16), np.diag([*spacing, 1.0]), "/some/where/scan.nii.gz", ("Turned from LPS.",))


def make_mask(shape: tuple[int, int, int] = (40, 30, 20)) -> RegionMask:
    """A heart whose largest axial cross-section is slice 14, a lung with an overlapping pleura; the thyroid is out of view."""
    heart, lung, pleura = (np.zeros(shape, bool) for _ in range(3))
    heart[24:34, 8:20, 12:17] = True
    heart[22:36, 6:22, 14] = True
    lung[4:16, 6:24, 3:9] = True
    pleura[14:18, 6:24, 3:9] = True
    masks = {"heart": heart, "lung": lung, "pleura": pleura, "thyroid": np.zeros(shape, bool)}
    return RegionMask.from_masks(masks, ("The heart is rough.",))


def make_report(study: str = "scan-1") -> GroundedReport:
    """Three sections: named right, named wrong, named not at all."""
    sections = (
        RegionSection(0, "lung", "lung", 0.93, "The lungs are clear. There is no nodule.", "Both lungs are clear."),
        RegionSection(1, "heart", "pleura", 0.51, "The heart is large.", "The heart is large."),
        RegionSection(2, "pleura", "", None, "No effusion is seen."),
    )
    settings = {"run": "runs/x", "decoding": {"sample": False, "tokens": 160}, "warnings": ["Trained on phantoms."]}
    return GroundedReport(study, sections, " ".join(s.report for s in sections), "The whole reference.", settings)
