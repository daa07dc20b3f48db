"""Ten ways in which a study of a real data set is broken, done to studies of a phantom (`--masks bits`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def _cut_short(volume: Path, mask: Path) -> None:
    raw = volume.read_bytes()
    volume.write_bytes(raw[: len(raw) * 2 // 3])


def _wrong_checksum(volume: Path, mask: Path) -> None:
    raw = bytearray(volume.read_bytes())
    raw[-8] ^= 0xFF
    volume.write_bytes(raw)


def _no_bytes(volume: Path, mask: Path) -> None:
    volume.write_bytes(b"")


def _web_page(volume: Path, mask: Path) -> None:
    volume.write_text("<!doctype html><title>Sign in</title>", encoding="utf-8")


def _no_number(volume: Path, mask: Path) -> None:
    _change(volume, lambda hu: np.full(hu.shape, np.nan, np.float32))


def _four_dimensions(volume: Path, mask: Path) -> None:
    _change(volume, lambda hu: np.stack([hu, hu], axis=-1))


def _one_slice(volume: Path, mask: Path) -> None:
    _change(volume, lambda hu: hu[:, :, :1])


def _other_values(volume: Path, mask: Path) -> None:
    """As an MR or an eight-bit picture has them."""
    _change(volume, lambda hu: ((np.clip(hu, -1000, 400) + 1000) * (255 / 1400)).astype(np.int16))


def _other_scan(volume: Path, mask: Path) -> None:
    """Of another shape and in another place."""
    _change(mask, lambda bits: bits[:-1], shift_mm=5000)


def _empty_masks(volume: Path, mask: Path) -> None:
    _change(mask, np.zeros_like)


# the way, and what its refusal must say
WAYS: dict[Callable[[Path, Path], None], str] = {
    _cut_short: "cut short",
    _wrong_checksum: "damaged",
    _no_bytes: "0 bytes",
    _web_page: "web page",
    _no_number: "no finite number",
    _four_dimensions: "4-D",
    _one_slice: "single slice",
    _other_values: "aren't Hounsfield units",
    _other_scan: "beside the scan",
    _empty_masks: "empty",
}


def _change(path: Path, change: Callable[[np.ndarray], np.ndarray], shift_mm: float = 0) -> None:
    image: Any = nib.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += shift_mm
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), affine), path)


def spoil(data: Path, count: int) -> dict[str, str]:
    """Breaks `count` studies of a phantom, spread evenly over their ids: id → what its refusal must say."""
    volumes = sorted(data.glob("volumes/**/*.nii.gz"), key=lambda p: p.name)
    chosen = volumes[:: len(volumes) // count][:count]
    told = {}
    for i, volume in enumerate(chosen):
        id = volume.name.removesuffix(".nii.gz")
        way, said = list(WAYS.items())[i % len(WAYS)]
        way(volume, data / "masks" / f"seg_{id}.nii.gz")
        told[id] = said
    return told
