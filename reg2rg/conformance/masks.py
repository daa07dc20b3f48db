"""Checks of segmenters, on a synthetic chest of 96 × 72 × 64 voxels of 4 mm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ..anatomy import REGIONS
from ..contracts import RegionMask, Volume
from . import Subject, check, expect


def chest() -> Volume:
    """A body with lungs, trachea, spine and ribs as ellipsoids and tubes: int16 HU, noise of 12 HU."""
    x, y, z = (np.arange(n, dtype=np.float32).reshape(s) for n, s in ((96, (-1, 1, 1)), (72, (1, -1, 1)), (64, (1, 1, -1))))
    hu = np.full((96, 72, 64), -1000.0, np.float32)
    body = ((x - 48) / 42) ** 2 + ((y - 36) / 30) ** 2 + 0 * z < 1
    rim = ((x - 48) / 38) ** 2 + ((y - 36) / 26) ** 2 + 0 * z
    hu[body] = -90
    hu[rim < 1] = 45
    hu[(rim > 0.85) & (rim < 1) & (z % 8 < 3)] = 350
    for centre in (28, 68):
        hu[((x - centre) / 15) ** 2 + ((y - 36) / 20) ** 2 + ((z - 28) / 26) ** 2 < 1] = -850
    hu[((x - 48) / 3) ** 2 + ((y - 32) / 3) ** 2 + 0 * z < np.where(z > 34, 1, 0)] = -1000
    hu[((x - 48) / 6) ** 2 + ((y - 14) / 6) ** 2 + 0 * z < 1] = 300
    hu += np.random.default_rng(0).normal(0, 12, hu.shape).astype(np.float32)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -150.0
    return Volume(np.clip(hu, -1024, 3071).astype(np.int16), affine, "synthetic chest")


def _segment(subject: Subject) -> RegionMask:
    if hasattr(subject.part, "for_study"):
        with tempfile.TemporaryDirectory() as folder:
            mask = subject.part.for_study(_lung_file(Path(folder))).segment(chest())
    else:
        mask = subject.part.segment(chest())
    expect(isinstance(mask, RegionMask), f"segment gave {type(mask).__name__}")
    return mask


def _lung_file(folder: Path) -> Path:
    """A folder with one mask, lung.nii.gz, of the synthetic chest: for segmenters that read masks."""
    import nibabel as nib

    volume = chest()
    nib.save(nib.Nifti1Image((volume.hu < -700).astype(np.uint8), volume.affine), folder / "lung.nii.gz")
    return folder


@check("segmenter", "`regions` is a set of names out of the ten regions, not empty")
def _regions(subject: Subject) -> None:
    regions = subject.part.regions
    expect(isinstance(regions, frozenset | set) and regions, repr(regions))
    expect(set(regions) <= set(REGIONS), f"unknown: {sorted(set(regions) - set(REGIONS))}")


@check("segmenter", "`fingerprint` is a text, the same for two builds")
def _fingerprint(subject: Subject) -> None:
    first, second = subject.part.fingerprint, subject.build().fingerprint
    expect(isinstance(first, str) and first and first == second, f"{first!r} and {second!r}")


@check("segmenter", "segment(volume) gives a RegionMask on the volume's grid")
def _grid(subject: Subject) -> None:
    shape = _segment(subject).bits.shape
    expect(shape == chest().shape, f"{shape} for a volume of {chest().shape}")


@check("segmenter", "it gives no region that `regions` doesn't name")
def _honest(subject: Subject) -> None:
    extra = set(_segment(subject).given) - set(subject.part.regions)
    expect(not extra, f"also {sorted(extra)}")


@check("segmenter", "the same volume gives the same mask twice, and is left as it was")
def _repeats(subject: Subject) -> None:
    volume = chest()
    if hasattr(subject.part, "for_study"):
        first, second = _segment(subject), _segment(subject)
    else:
        first, second = subject.part.segment(volume), subject.part.segment(volume)
    expect((first.bits == second.bits).all(), f"{int((first.bits != second.bits).sum())} voxels differ")
    expect((volume.hu == chest().hu).all(), "the volume was changed")
