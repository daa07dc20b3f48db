"""A scan as hospitals keep it, drawn from a formula: 512×512×300 int16 in a .nii.gz of 60–70 MB, and ten mask files.

It is made of ellipsoids with noise and means nothing; sizes, types and compression are what matter.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from reg2rg.anatomy import REGIONS

Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float]]  # centre and radii; the grid is [-1, 1]³

BODY: Ellipsoid = ((0, 0, 0), (0.86, 0.6, 1.6))
LUNGS: tuple[Ellipsoid, ...] = (((-0.38, 0, 0.05), (0.3, 0.38, 0.72)), ((0.38, 0, 0.05), (0.3, 0.38, 0.72)))
SOLIDS: dict[str, tuple[Ellipsoid, ...]] = {
    "abdomen": (((0, 0, -1.1), (0.7, 0.5, 0.45)),),
    "bone": (((0, 0.42, 0), (0.09, 0.1, 1.5)), ((0, -0.5, 0.1), (0.08, 0.03, 0.5)), ((-0.62, 0.2, 0.5), (0.12, 0.16, 0.3))),
    "breast": (((-0.35, -0.55, 0.1), (0.22, 0.1, 0.25)), ((0.35, -0.55, 0.1), (0.22, 0.1, 0.25))),
    "esophagus": (((0.03, 0.27, 0.1), (0.03, 0.04, 0.9)),),
    "heart": (((0.1, -0.12, -0.2), (0.26, 0.24, 0.3)),),
    "lung": LUNGS,
    "mediastinum": (((0, -0.02, 0.1), (0.16, 0.3, 0.75)),),
    "pleura": tuple((c, (r[0] + 0.03, r[1] + 0.04, r[2] + 0.04)) for c, r in LUNGS),
    "thyroid": (((-0.08, -0.1, 0.88), (0.05, 0.06, 0.08)), ((0.08, -0.1, 0.88), (0.05, 0.06, 0.08))),
    "trachea and bronchie": (((0, 0.12, 0.6), (0.035, 0.045, 0.4)),),
}
HU = {"abdomen": 60, "bone": 420, "breast": -40, "heart": 90, "thyroid": 110, "lung": -860, "trachea and bronchie": -985}


def _inside(shape: tuple[int, int, int], solids: tuple[Ellipsoid, ...]) -> np.ndarray:
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    inside = np.zeros(shape, dtype=bool)
    for centre, radii in solids:
        x, y, z = (((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True))
        inside |= x[:, None, None] + y[None, :, None] + z <= 1
    return inside


def draw(shape: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """HU (X, Y, Z) int16 and each region's mask."""
    masks = {region: _inside(shape, SOLIDS[region]) for region in REGIONS}
    masks["pleura"] &= ~masks["lung"]
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[_inside(shape, (BODY,))] = 30
    for region, value in HU.items():
        hu[masks[region]] = value
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[:2])
    outside = x[:, None] ** 2 + y**2 > 1  # beyond the scanner's field of view there is nothing, not even noise
    rng = np.random.default_rng(0)
    for i in range(shape[0]):
        noise = rng.standard_normal(shape[1:], dtype=np.float32) * np.float32(11)
        hu[i] = np.clip(hu[i] + np.rint(noise), -1024, 3071)
        hu[i][outside[i]] = -1024
    return hu, masks


def write(folder: Path, shape: tuple[int, int, int]) -> None:
    """Writes the scan in the RadGenome layout: volumes/…, masks/seg_scan/<region>.nii.gz, region_report.csv."""
    affine = np.diag([-0.75, -0.75, 1.0, 1.0])  # rows from left to right and front to back, as scanners store them
    hu, masks = draw(shape)
    place = folder / "volumes" / "scan" / "scan_a" / "scan_a_1.nii.gz"
    place.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(hu, affine), place)
    seen = folder / "masks" / "seg_scan_a_1"
    seen.mkdir(parents=True)
    for region, mask in masks.items():
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), seen / f"{region}.nii.gz")
    lines = [f"scan_a_1.nii.gz,{region},Nothing of note in the {region}." for region in REGIONS]
    (folder / "region_report.csv").write_text("Volumename,Anatomy,Sentence\n" + "\n".join(lines) + "\n", encoding="utf-8")
