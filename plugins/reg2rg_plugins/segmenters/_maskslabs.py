"""One region's mask file → its bit in a volume of bits, a few slices at a time, so that no mask is ever held whole.

This is the short way for plain 0/1 masks in NIfTI; whatever is unusual about a file is left to `_maskfile`, which reads it
whole and says what is wrong with it, and masks on another grid are `_maskgrid`'s.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np

from reg2rg.contracts import Volume

from ._maskfile import has_place
from ._maskgrid import place

SLAB = 1 << 21  # bytes


class Unusual(Exception):
    """The file isn't a whole NIfTI image of zeros and ones on the volume's grid."""


def no_bits(like: np.ndarray) -> np.ndarray:
    """Bits of no region, of the shape and in the memory order of `like` (masks mostly lie as their CT does)."""
    order = sorted(range(3), key=lambda axis: -abs(like.strides[axis]))
    return np.zeros([like.shape[axis] for axis in order], dtype=np.uint16).transpose(np.argsort(order))


def add_slabs(path: Path, volume: Volume, bits: np.ndarray, bit: np.uint16) -> None:
    """Sets `bit` in `bits` (X, Y, Z) where the mask in `path` lies.

    Raises Unusual where there is more to the file, and UserError where it doesn't overlay the volume.
    """
    gzips, damage = _inflater()
    try:
        with _open(path, gzips) as file:
            shape, affine, dtype = _header(file)
            turn = place(shape, affine, volume, path).turn
            if turn is None:
                raise Unusual
            stored = _as_stored(bits, turn)
            plane = shape[0] * shape[1]
            step = max(1, SLAB // (plane * dtype.itemsize))
            buffer = np.empty(step * plane, dtype=dtype)
            for start in range(0, shape[2], step):
                slab = stored[..., start : start + step]
                values = buffer[: slab.size]
                _fill(file, memoryview(values.view(np.uint8)))  # type: ignore[arg-type]
                if _says(values):
                    slab |= np.multiply(values.reshape(slab.shape, order="F"), bit, dtype=np.uint16, casting="unsafe")
            while file.read(1 << 20):  # to the end, where the checksum is
                pass
    except (OSError, EOFError, ValueError, OverflowError, damage) as error:
        raise Unusual from error


def _inflater() -> tuple[Any, type[Exception]]:
    """The module that inflates, and its own error; isal is three times faster."""
    try:
        from isal import igzip, isal_zlib
    except ImportError:
        return gzip, zlib.error
    return igzip, cast(type[Exception], isal_zlib.error)


def _open(path: Path, gzips: Any) -> Any:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzips.open(path, "rb") if packed else path.open("rb")


def _header(file: Any) -> tuple[tuple[int, int, int], np.ndarray, np.dtype[Any]]:
    """Shape, affine and type of a plain NIfTI-1 image; `file` is left at its first voxel."""
    import nibabel as nib

    try:
        header = nib.Nifti1Header.from_fileobj(file)
        slope, intercept = header.get_slope_inter()
    except (nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError) as error:
        raise Unusual from error
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if len(shape) < 3 or min(shape) < 1 or any(n != 1 for n in shape[3:]):
        raise Unusual
    if dtype.kind not in "iufb" or slope not in (None, 1) or intercept not in (None, 0):
        raise Unusual
    if not has_place(header):
        raise Unusual
    file.seek(header.get_data_offset())
    return tuple(map(int, shape[:3])), header.get_best_affine(), dtype  # type: ignore[return-value]


def _as_stored(array: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """A view of an array in RAS+ as an image lies that `turn` turns to RAS+."""
    import nibabel as nib

    back = np.empty_like(turn)
    for axis, (to, flip) in enumerate(turn):
        back[int(to)] = axis, flip
    return nib.orientations.apply_orientation(array, back)  # type: ignore[no-any-return]


def _fill(file: Any, out: memoryview) -> None:
    while out:
        got = file.readinto(out)
        if not got:
            raise EOFError
        out = out[got:]


def _says(values: np.ndarray) -> bool:
    """Whether there is a one among the zeros; raises Unusual where there is anything else."""
    low, high = values.min(), values.max()
    if low == high == 0:
        return False
    if not (low >= 0 and high <= 1) or (values.dtype.kind == "f" and ((values > 0) & (values < 1)).any()):
        raise Unusual
    return True
