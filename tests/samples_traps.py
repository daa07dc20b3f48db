"""Made-up traps among image files: how each is made, and what must come of it: words of the refusal, or "" where it reads."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from samples_ct import hu_array, ras_affine, write_nifti

HU = hu_array()
RAW = HU.tobytes(order="F")

Maker = Callable[[Path], Path]


def floats(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


def patched(at: int, data: bytes, array: np.ndarray = HU) -> Maker:
    """A plain NIfTI file with some bytes of its header replaced."""

    def make(folder: Path) -> Path:
        path = write_nifti(folder / "a.nii", array)
        raw = bytearray(path.read_bytes())
        raw[at : at + len(data)] = data
        path.write_bytes(raw)
        return path

    return make


def qform_only(qfac: float, flip: int = 1) -> Maker:
    def make(folder: Path) -> Path:
        image = nib.Nifti1Image(HU[::flip], None)
        affine = ras_affine()
        if flip < 0:
            affine = affine @ np.array([[-1, 0, 0, HU.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        image.set_qform(affine, 1)
        image.set_sform(None, 0)
        nib.save(image, folder / "a.nii")
        raw = bytearray((folder / "a.nii").read_bytes())
        if flip > 0:
            raw[76:80] = floats(qfac)
        (folder / "a.nii").write_bytes(raw)
        return folder / "a.nii"

    return make


def two_forms(qform: np.ndarray) -> Maker:
    def make(folder: Path) -> Path:
        image = nib.Nifti1Image(HU, ras_affine())
        image.set_sform(ras_affine(), 2)
        image.set_qform(qform, 1)
        nib.save(image, folder / "a.nii")
        return folder / "a.nii"

    return make


def stored(array: np.ndarray) -> Maker:
    def make(folder: Path) -> Path:
        nib.save(nib.Nifti1Image(array, ras_affine(), dtype=array.dtype), folder / "a.nii")
        return folder / "a.nii"

    return make


def nifti2(shape: tuple[int, int, int], packed: bool) -> Maker:
    def make(folder: Path) -> Path:
        header = nib.Nifti2Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape(shape)
        header.set_sform(ras_affine(), 1)
        header["vox_offset"] = 544
        raw = header.binaryblock + bytes(2000)
        (folder / "a.nii").write_bytes(gzip.compress(raw) if packed else raw)
        return folder / "a.nii"

    return make


def packed(*parts: bytes) -> Maker:
    def make(folder: Path) -> Path:
        whole = write_nifti(folder / "b.nii", HU).read_bytes()
        (folder / "a.nii.gz").write_bytes(b"".join([gzip.compress(whole), *parts]))
        return folder / "a.nii.gz"

    return make


def packed_twice(folder: Path) -> Path:
    (folder / "a.nii.gz").write_bytes(gzip.compress(gzip.compress(write_nifti(folder / "b.nii", HU).read_bytes())))
    return folder / "a.nii.gz"


def rescaled_twice(folder: Path) -> Path:
    dense = np.where(HU > 300, 2500, HU).astype(np.int16)
    return patched(112, floats(1, -1024), dense)(folder)


def colours(folder: Path) -> Path:
    array = np.zeros(HU.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
    nib.save(nib.Nifti1Image(array, ras_affine()), folder / "a.nii")
    return folder / "a.nii"


# what is made, and what must come of it: nothing = the array itself, else words of the refusal
NIFTI: dict[str, tuple[Maker, str]] = {
    "slope NaN means none": (patched(112, floats(np.nan, 0)), ""),
    "slope 0 means none": (patched(112, floats(0, -1024)), ""),
    "intercept infinite": (patched(112, floats(1, np.inf)), "rescale is broken"),
    "rescaled twice": (rescaled_twice, "rescaled twice"),
    "voxels at NaN": (patched(108, floats(np.nan)), "begin at byte nan"),
    "voxels at infinity": (patched(108, floats(np.inf)), "begin at byte inf"),
    "voxels at 0": (patched(108, floats(0)), "begin at byte 0"),
    "voxels inside the header": (patched(108, floats(100)), "begin at byte 100"),
    "voxels before the file": (patched(108, floats(-8)), "begin at byte -8"),
    "voxels behind the file": (patched(108, floats(1e15)), "cut short"),
    "qform alone": (qform_only(1), ""),
    "qform alone, qfac 0": (qform_only(0), ""),
    "qform alone, negative determinant": (qform_only(-1, flip=-1), ""),
    "qform alone, qfac NaN": (qform_only(np.nan), "quaternion"),
    "sform and qform mirrored": (two_forms(np.diag([-3, 2.5, 4, 1.0])), "sform says that its axes point RAS, its qform LAS"),
    "sform and qform 6 mm apart": (two_forms(ras_affine() + np.outer([1, 0, 0, 0], [0, 0, 0, 6])), ""),
    "uint8 picture": (stored(((HU.astype(int) + 1024) // 16).clip(0, 255).astype(np.uint8)), "8-bit picture"),
    "int16 under a uint16 header": (stored(HU.view(np.uint16)), "beyond the range"),
    "int64": (stored(HU.astype(np.int64)), ""),
    "uint64 that wraps around": (stored(HU.astype(np.int64).view(np.uint64)), "beyond the range"),
    "big-endian float64": (stored(HU.astype(">f8")), ""),
    "bytes swapped": (stored(HU.byteswap()), "wrong byte order"),
    "complex": (stored(HU.astype(np.complex64)), "complex numbers"),
    "colours with alpha": (colours, "colours"),
    "trailing axes of one": (stored(HU[..., None, None]), ""),
    "five axes, the last a vector": (stored(np.stack([HU] * 3, -1)[..., None, :]), "5-D"),
    "a leading axis of one": (stored(HU[None]), "4-D"),
    "no finite number": (stored(np.full(HU.shape, np.nan, np.float32)), "no finite number"),
    "a negative size": (patched(40, np.array([3, 20, 24, -12], "<i2").tobytes()), "the shape"),
    "sizes in the wrong byte order": (patched(40, np.array([3, 20, 24, 12], ">i2").tobytes()), "which can't be"),
    "NaN in the affine": (patched(280, floats(np.nan)), "NaN"),
    "voxels of 1e30 mm": (patched(280, floats(1e30)), "which no CT has"),
    "10^15 voxels": (nifti2((100_000,) * 3, False), "more than any chest CT"),
    "10^15 voxels, gzip": (nifti2((100_000,) * 3, True), "more than any chest CT"),
    "more than the bytes can hold": (nifti2((2000, 1000, 1000), True), "cut short"),
    "two gzip members": (packed(gzip.compress(bytes(9))), ""),
    "something behind the gzip stream": (packed(b"garbage behind it"), "damaged"),
    "zeros behind the gzip stream": (packed(bytes(512)), ""),
    "packed twice": (packed_twice, "packed twice"),
}  # fmt: skip


# --- NRRD ------------------------------------------------------------------------------------------------------------


def nrrd(folder: Path, *, encoding: str = "raw", detached: str = "", data: bytes = RAW, **fields: str) -> Path:
    """An NRRD file of `HU`; `fields` replace header lines, with _ for blanks, and an empty one leaves its line out."""
    head = {
        "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "20 24 12",
        "space_directions": "(-3,0,0) (0,-2.5,0) (0,0,4)", "kinds": "domain domain domain", "endian": "little",
        "encoding": encoding, "space_origin": "(10,-20,-30)",
    } | fields  # fmt: skip
    text = "".join(f"{key.replace('_', ' ')}: {value}\n" for key, value in head.items() if value)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress, "bzip2": bz2.compress, "hex": lambda b: b.hex().encode(),
        "ascii": lambda b: " ".join(map(str, np.frombuffer(b, np.int16))).encode(),
    }  # fmt: skip
    body = pack.get(encoding, bytes)(data)
    if not detached:
        (folder / "a.nrrd").write_bytes(f"NRRD0005\n{text}\n".encode() + body)
        return folder / "a.nrrd"
    (folder / "a.nhdr").write_text(f"NRRD0005\n{text}data file: {detached}\n")
    (folder / detached).parent.mkdir(exist_ok=True)
    (folder / detached).write_bytes(body)
    return folder / "a.nhdr"


RAS = {"space_directions": "(3,0,0) (0,2.5,0) (0,0,4)", "space_origin": "(-10,20,-30)"}
VECTOR = {
    "dimension": "4", "sizes": "3 20 24 12", "space_directions": "none (-3,0,0) (0,-2.5,0) (0,0,4)",
    "kinds": "vector domain domain domain",
}  # fmt: skip
NRRD: dict[str, tuple[dict[str, Any], str]] = {
    "raw": ({}, ""),
    "gzip": ({"encoding": "gzip"}, ""),
    "ascii": ({"encoding": "ascii"}, ""),
    "hex": ({"encoding": "hex"}, ""),
    "bzip2": ({"encoding": "bzip2"}, "bzip2"),
    "big-endian": ({"endian": "big", "data": HU.astype(">i2").tobytes(order="F")}, ""),
    "right-anterior-superior": ({"space": "right-anterior-superior", **RAS}, ""),
    "RAS": ({"space": "RAS", **RAS}, ""),
    "a space of the scanner": ({"space": "3D-right-handed"}, "left and right"),
    "a screenful as space": ({"space": "ZEBRA" * 900}, "left and right"),
    "centimetres": ({"space_units": '"cm" "cm" "cm"'}, "not in mm"),
    "millimetres": ({"space_units": '"mm" "mm" "mm"'}, ""),
    "detached": ({"detached": "a.raw"}, ""),
    "detached, packed, in a folder": ({"detached": "sub/a.raw.gz", "encoding": "gzip"}, ""),
    "a vector axis": ({**VECTOR, "data": np.repeat(HU.ravel(order="F"), 3).tobytes()}, "several values a voxel"),
    "an axis of one in front": ({**VECTOR, "sizes": "1 20 24 12"}, ""),
    "10^15 voxels": ({"sizes": "100000 100000 100000"}, "more than any chest CT"),
    "fewer voxels than promised": ({"sizes": "20 24 13"}, "cut short"),
    "NaN as direction": ({"space_directions": "(nan,0,0) (0,-2.5,0) (0,0,4)"}, "could not be read"),
    "skewed": ({"space_directions": "(-3,0,0) (0,-2.5,0) (0,1,4)"}, "right angles"),
    "spacings without directions": ({"space_directions": "", "spacings": "3 2.5 4"}, "no space directions"),
    "no byte order": ({"endian": ""}, "could not be read"),
}  # fmt: skip


# --- MetaImage -------------------------------------------------------------------------------------------------------


def meta(folder: Path, *, data: bytes = RAW, file: str = "LOCAL", **fields: str) -> Path:
    """A MetaImage file of `HU`; `fields` replace or add header lines, an empty one leaves its line out."""
    head = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "TransformMatrix": "-1 0 0 0 -1 0 0 0 1", "Offset": "10 -20 -30", "ElementSpacing": "3 2.5 4", "DimSize": "20 24 12",
        "ElementType": "MET_SHORT",
    } | fields  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in head.items() if value) + f"ElementDataFile = {file}\n"
    path = folder / ("a.mha" if file == "LOCAL" else "a.mhd")
    path.write_bytes(text.encode() + (data if file == "LOCAL" else b""))
    if file != "LOCAL":
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(data)
    return path


MSB = HU.astype(">i2").tobytes(order="F")
PACKED = zlib.compress(RAW)
META: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, ""),
    "MSB": ({"BinaryDataByteOrderMSB": "True", "data": MSB}, ""),
    "MSB by its other name": ({"BinaryDataByteOrderMSB": "", "ElementByteOrderMSB": "True", "data": MSB}, ""),
    "two byte orders": ({"ElementByteOrderMSB": "True", "data": MSB}, "two byte orders"),
    "MSB without a word": ({"data": MSB}, "wrong byte order"),
    "packed": ({"CompressedData": "True", "CompressedDataSize": str(len(PACKED)), "data": PACKED}, ""),
    "packed, its size not given": ({"CompressedData": "True", "data": PACKED}, "no CompressedDataSize"),
    "packed beside": ({"CompressedData": "True", "data": PACKED, "file": "a.zraw"}, ""),
    "beside, in a folder": ({"file": "sub/a.raw"}, ""),
    "beside, with a header": ({"file": "a.raw", "HeaderSize": "100", "data": bytes(100) + RAW}, ""),
    "as text": ({"BinaryData": "False", "data": b"1 2 3"}, "written as text"),
    "three channels": ({"ElementNumberOfChannels": "3", "data": RAW * 3}, "several values a voxel"),
    "two volumes": (
        {"NDims": "4", "DimSize": "20 24 6 2", "ElementSpacing": "3 2.5 4 1", "Offset": "0 0 0 0",
         "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"}, "4-D",
    ),
    "centimetres": ({"DistanceUnits": "cm"}, "not in mm"),
    "a negative spacing": ({"ElementSpacing": "3 -2.5 4"}, "0 or below"),
    "no spacing": ({"ElementSpacing": ""}, "no ElementSpacing"),
    "sheared": ({"TransformMatrix": "-1 0 0 0 -1 0 0 0.3 1"}, "right angles"),
    "directions of zero": ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "could not be read"),
    "10^15 voxels": ({"DimSize": "100000 100000 100000"}, "more than any chest CT"),
}  # fmt: skip
