"""The public CTs of the shared material, the masks beside them, what each mask can score, and how the two are laid together.

Nothing here is ground truth but where `quality` says so; a mask of part of a region scores recall, not Dice.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from scipy import ndimage

from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_labels

AIRWAY = "trachea and bronchie"
HAND = "hand contour"
MODEL = "model output, plausible"
COARSE = "model output at 3 mm, plausible"
AUTOMATIC = "automatic, good"
Score = tuple[str, str]  # region (several joined by "+") or side of the lung, measure


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """A mask: its `files` under the CT's folder (globs, joined), the `labels` of a label map, and what it scores."""

    name: str
    files: tuple[str, ...]
    quality: str
    scores: tuple[Score, ...]
    labels: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """A CT with its masks; `file` and the masks' globs are relative to `folder`."""

    name: str
    folder: str
    file: str
    truths: tuple[Truth, ...]


def _recalls(region: str, quality: str, folder: str, *names: str) -> tuple[Truth, ...]:
    return tuple(
        Truth(n.replace("pul_", "pulmonary_").replace("_", " "), (f"{folder}{n}.nii.gz",), quality, ((region, "recall"),))
        for n in names
    )


ORGANS = (
    "liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas", "gallbladder", "duodenum", "colon", "small_bowel",
    "aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "adrenal_gland_left", "adrenal_gland_right",
)  # fmt: skip
SM = "masks_example_ct_sm/"
LOBES, VERTEBRAE, RIBS = (f"{SM}{n}.nii.gz" for n in ("lung_*_lobe_*", "vertebrae_*", "rib_*"))
TUBES = (512, *range(521, 526))  # airway, and airway of a third, in the lung label maps
RIGHT, LEFT = (12, 13, 14, 780, 781, 782), (9, 10, 11, 777, 778, 779)

SCANS = (
    Scan("planning CT, 1×1×3 mm", "4dlung-113", "ct.nii.gz", (
        Truth("vertebra", ("masks/vertebra.nii.gz",), HAND, (("bone", "recall"),)),
        Truth("lymph nodes", ("masks/ln.nii.gz",), HAND, (("mediastinum", "recall"),)),
        Truth("carina", ("masks/carina.nii.gz",), HAND + " with walls, one slice", ((AIRWAY, "recall"),)),
        Truth("hilar tumour", ("masks/tumor.nii.gz",), HAND, (("lung", "recall"), ("mediastinum", "taken"))),
    )),
    Scan("coarse whole chest, 4.2×4.2×4 mm", "cip-chest64", "nifti/ct-64.nii.gz", (
        Truth("whole lung", ("nifti/wholeLung-64.nii.gz",), AUTOMATIC, (("lung", "dice"), ("pleura", "surface"))),
        Truth("lung thirds", ("nifti/lm-64.nii.gz",), AUTOMATIC, (("right lung", "dice"),), RIGHT),
        Truth("lung thirds", ("nifti/lm-64.nii.gz",), AUTOMATIC, (("left lung", "dice"),), LEFT),
        Truth("airway", ("nifti/lm-64.nii.gz",), "automatic, mostly peripheral", ((AIRWAY, "recall"),), (512,)),
        Truth("larger lung labelling", ("nrrd/partial-lung-ct-64.nrrd",), "automatic, too wide", (("lung", "dice"),)),
        Truth("airway of it", ("nrrd/partial-lung-ct-64.nrrd",), "automatic, mostly peripheral", ((AIRWAY, "recall"),), TUBES),
    )),
    Scan("half chest with a mass, 1×1×3 mm", "ibsi-ct-phantom", "phantom.nii.gz", (
        Truth("mass", ("mask_gtv.nii.gz",), HAND, (("lung", "recall"), ("abdomen", "taken"))),
    )),
    Scan("upper abdomen, 3 mm", "ts-abdomen", "example_ct_sm.nii.gz", (
        Truth("lung lobes", (LOBES,), COARSE, (("lung", "dice"),)),
        *_recalls("abdomen", COARSE, SM, *ORGANS),
        Truth("liver (label map)", ("example_seg.nii.gz",), COARSE, (("abdomen", "recall"),), (5,)),
        Truth("spleen (label map)", ("example_seg.nii.gz",), COARSE, (("abdomen", "recall"),), (1,)),
        Truth("liver (fast model)", ("example_seg_fast.nii.gz",), COARSE, (("abdomen", "recall"),), (5,)),
        Truth("spleen (fast model)", ("example_seg_fast.nii.gz",), COARSE, (("abdomen", "recall"),), (1,)),
        Truth("liver (alone)", ("example_seg_roi_subset.nii.gz",), COARSE, (("abdomen", "recall"),), (5,)),
        Truth("back muscles", (SM + "autochthon_*.nii.gz",), COARSE, (("abdomen", "taken"),)),
        Truth("fat under the skin", ("masks_tissue/subcutaneous_fat.nii.gz",), COARSE, (("abdomen", "taken"),)),
        Truth("skeletal muscle", ("masks_tissue/skeletal_muscle.nii.gz",), COARSE, (("abdomen", "taken"),)),
        Truth("vertebrae", (VERTEBRAE,), COARSE, (("bone", "recall"),)),
        Truth("ribs", (RIBS,), COARSE, (("bone", "recall"),)),
        Truth("vertebrae and ribs", (VERTEBRAE, RIBS), COARSE, (("bone", "dice"), ("bone", "precision"))),
    )),
    Scan("abdomen and pelvis, 3 mm", "ts-abdomen", "example_ct.nii.gz", (
        Truth("lumbar vertebrae, T12, S1", ("vertebrae_example_ct.nii.gz",), COARSE, (("bone", "recall"),)),
        Truth("vertebrae", ("example_seg_fast_force_split.nii.gz",), COARSE, (("bone", "recall"),), tuple(range(25, 51))),
        Truth("ribs", ("example_seg_fast_force_split.nii.gz",), COARSE, (("bone", "recall"),), tuple(range(92, 116))),
        Truth("hips", ("example_seg_fast_force_split.nii.gz",), COARSE, (("bone", "recall"),), (77, 78)),
        Truth("liver", ("example_seg_fast_force_split.nii.gz",), COARSE, (("abdomen", "recall"),), (5,)),
        Truth("lung lobes", ("example_seg_fast_force_split.nii.gz",), COARSE, (("lung", "dice"),), tuple(range(10, 15))),
    )),
    Scan("pulmonary angiogram, crop, 1.5 mm", "ts-pulmonary-cta", "ct.nii.gz", (
        Truth("heart", ("masks/heart.nii.gz",), MODEL, (("heart", "dice"), ("heart", "recall"), ("heart", "precision"),
                                                        ("bone", "taken"))),
        Truth("pulmonary artery", ("masks/pulmonary_artery.nii.gz",), MODEL, (("mediastinum", "recall"), ("heart", "taken"))),
        *_recalls("mediastinum", MODEL, "masks/", "pul_bifurcation", "pul_left_start", "pul_right_start"),
        *_recalls("heart+mediastinum", MODEL, "masks/", "pul_annulus", "pul_sinotubular_junction"),
    )),
    Scan("angiogram of a dissection, crop, 1.5 mm (the same patient)", "ts-thorax-cta", "ct.nii.gz", (
        Truth("vertebra T12", ("masks/vertebrae_T12.nii.gz",), MODEL, (("bone", "recall"),)),
        Truth("whole aorta", ("masks/aorta.nii.gz",), MODEL, (("bone", "taken"), ("mediastinum", "recall"),
                                                             ("abdomen+heart+mediastinum", "recall"))),
        Truth("its true lumen", ("masks/aorta_true_lumen.nii.gz",), MODEL, (("bone", "taken"),)),
        Truth("its false lumen", ("masks/aorta_false_lumen.nii.gz",), MODEL, (("bone", "taken"),)),
        *_recalls("mediastinum", MODEL, "masks/", "brachiocephalic_trunk", "common_carotid_artery_left",
                  "subclavian_artery_left"),
        *_recalls("heart+mediastinum", MODEL, "masks/", "annulus_proper", "sinotubular_junction"),
        *_recalls("abdomen", MODEL, "masks/", "celiac_trunk", "superior_mesenteric_artery"),
    )),
)  # fmt: skip


def load(truth: Truth, folder: Path, volume: Volume) -> np.ndarray:
    """The mask on the volume's grid (boolean, RAS+). Raises ValueError where the two grids don't fit."""
    paths = sorted(path for glob in truth.files for path in folder.glob(glob))
    if not paths:
        raise ValueError(f"{truth.files[0]} is absent")
    out = np.zeros(volume.shape, dtype=bool)
    for path in paths:
        array, affine = _labels(path)
        out |= _placed(np.isin(array, truth.labels) if truth.labels else array > 0, affine, volume, path)
    return out


@functools.lru_cache(maxsize=2)
def _labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_labels(path)


def _placed(mask: np.ndarray, affine: np.ndarray, volume: Volume, path: Path) -> np.ndarray:
    """A mask whose grid is the volume's, or is shifted against it by whole voxels."""
    shift = np.linalg.solve(affine[:3, :3], volume.affine[:3, 3] - affine[:3, 3])
    start = np.rint(shift).astype(int)
    if np.abs(affine[:3, :3] - volume.affine[:3, :3]).max() > 1e-3 or np.abs(shift - start).max() > 0.05:
        raise ValueError(f"{path.name} lies on another grid than its CT")
    out = np.zeros(volume.shape, dtype=bool)
    at = [slice(max(0, -s), max(0, min(n, m - s))) for s, n, m in zip(start, volume.shape, mask.shape, strict=True)]
    of = tuple(slice(a.start + s, a.stop + s) for a, s in zip(at, start, strict=True))
    out[tuple(at)] = mask[of]
    return out


def measure(found: RegionMask, truth: np.ndarray, score: Score, spacing: tuple[float, float, float]) -> float:
    """A figure: `dice`, `recall` (share of the truth in our region), `precision` (share of ours in the truth), `taken` (recall
    where it should be none) or `surface` (share of the truth's surface voxels within our region)."""
    region, name = score
    if region in ("right lung", "left lung"):
        ours = sides(found.mask("lung"), spacing)[region == "left lung"]
    else:
        ours = np.logical_or.reduce([found.mask(r) for r in region.split("+")])
    if name == "surface":
        truth = truth & ~ndimage.binary_erosion(truth, border_value=1)
    common = float((ours & truth).sum())
    total = {"dice": (ours.sum() + truth.sum()) / 2, "precision": ours.sum()}.get(name, truth.sum())
    return common / float(total) if total else float("nan")


def sides(lung: np.ndarray, spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(right, left) lung as anyone can part them: parts of at least 10 ml that touch nowhere, by the side of the middle."""
    labels, n = ndimage.label(lung)
    volume = np.bincount(labels.ravel(), minlength=n + 1) * float(np.prod(spacing)) / 1000.0
    big = [i for i in range(1, n + 1) if volume[i] >= 10.0]
    middle = np.nonzero(lung.any(axis=(1, 2)))[0].mean()
    centres = ndimage.center_of_mass(lung, labels, big)
    right = [i for i, c in zip(big, centres, strict=True) if c[0] > middle]
    return np.isin(labels, right), np.isin(labels, [i for i in big if i not in right])


def touching(lung: np.ndarray, spacing: tuple[float, float, float]) -> int:
    """The number of parts of the lung of at least 100 ml: two where the two lungs are whole and don't touch."""
    labels, n = ndimage.label(lung)
    return int((np.bincount(labels.ravel(), minlength=n + 1)[1:] * float(np.prod(spacing)) / 1000.0 >= 100.0).sum())
