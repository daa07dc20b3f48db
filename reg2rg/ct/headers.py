"""The text headers of NRRD and MetaImage, checked before SimpleITK sees the file.

SimpleITK fills a file that is cut short, makes up a geometry where the header has none, and can crash the whole process on a
header that is damaged; here each of these is refused. In: a path. Out: notes in sentences.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from .bytes import AGAIN, CUT
from .image import check_count

_SPACES = {
    "right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps",
}  # fmt: skip
_NRRD_TYPES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, ushort, unsigned short, unsigned short int, uint16, "
    "uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, ulonglong, "
    "unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_NRRD_BYTES = {name: size for size, names in _NRRD_TYPES.items() for name in names.split(", ")}
_META_BYTES = {
    "CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8,
    "ULONG_LONG": 8, "LONG": 4, "ULONG": 4,
}  # fmt: skip
_DAMAGED = "its header is damaged"
_GZIP, _ANY_ZLIB = 31, 47


def check_nrrd(path: Path) -> list[str]:
    """Raises UserError where an NRRD file has no full geometry, an unknown space, or fewer voxels than its header says."""
    fields, start = _fields(path, ":")
    if "space directions" not in fields or "space origin" not in fields:
        raise UserError(
            "its header has no space directions and origin, so its size and place are unknown",
            fix="Export it again with its geometry.",
        )
    space = fields.get("space", "")
    if space.lower().replace("_", "-") not in _SPACES:
        raise UserError(
            f"its space is '{_short(space) or 'not given'}', so left and right can't be told",
            fix="Export it again in left-posterior-superior or right-anterior-superior.",
        )
    _millimetres(fields, "space units")
    wanted = _NRRD_BYTES.get(fields.get("type", "").lower(), 0) * _size(fields, "sizes", "dimension")
    if not wanted:
        raise UserError(f"its number type '{_short(fields.get('type', ''))}' is unknown", fix=AGAIN)
    encoding = fields.get("encoding", "raw").lower()
    if encoding in ("bz2", "bzip2"):
        raise UserError("its voxels are packed with bzip2, which isn't read", fix="Save it with gzip, or unpacked.")
    packed = encoding in ("gz", "gzip")
    if packed or encoding == "raw":
        data, start = _data_file(path, data_name(path, nrrd=True), start)
        _check_voxels(data, start, wanted, _GZIP if packed else 0)
    return []


def check_meta(path: Path) -> list[str]:
    """Raises UserError where a MetaImage's header is damaged or has no spacing, or fewer voxels are there than it says."""
    fields, start = _fields(path, "=", stop="elementdatafile")
    sides = _whole(fields, "ndims")[0]
    wanted = _size(fields, "dimsize", "ndims")
    wanted *= _META_BYTES.get(fields.get("elementtype", "").upper().removeprefix("MET_").removesuffix("_ARRAY"), 0)
    wanted *= _whole(fields, "elementnumberofchannels")[0] if "elementnumberofchannels" in fields else 1
    if wanted < 1:
        raise UserError(f"its number type '{_short(fields.get('elementtype', ''))}' is unknown", fix=AGAIN)
    _millimetres(fields, "distanceunits")
    placed = _check_geometry(fields, sides)
    packed, local = _true(fields, "compresseddata"), fields.get("elementdatafile", "").upper() == "LOCAL"
    _understood(fields, packed and local)
    stored = fields.get("elementdatafile", "")
    data, start = _data_file(path, "" if local else stored or "?", start)
    _check_voxels(data, start, wanted, _ANY_ZLIB if packed else 0)
    return [] if placed else ["its header has no TransformMatrix: MetaImage's own default, LPS, was taken"]


def _check_geometry(fields: Mapping[str, str], sides: int) -> bool:
    """Whether a MetaImage's header gives its directions; raises UserError where its numbers can't be a geometry."""
    spacing = next((key for key in ("elementspacing", "elementsize") if key in fields), None)
    if spacing is None:
        raise UserError("its header has no ElementSpacing, so its size is unknown", fix="Export it again with its geometry.")
    if min(_numbers(fields, spacing, sides)) <= 0:
        raise UserError("its header has an ElementSpacing of 0 or below", fix="Export it again with its geometry.")
    turns = [key for key in ("transformmatrix", "rotation", "orientation") if key in fields]
    places = [key for key in ("offset", "position", "origin") if key in fields]
    for name, count in [*((t, sides * sides) for t in turns), *((p, sides) for p in places)]:
        _numbers(fields, name, count)
    return bool(turns)


def data_name(path: Path, nrrd: bool) -> str:
    """The name of the one file in which an NRRD or MetaImage header keeps its voxels; "" where they follow the header."""
    fields, _ = _fields(path, ":") if nrrd else _fields(path, "=", stop="elementdatafile")
    if nrrd:
        return fields.get("data file", fields.get("datafile", ""))
    name = fields.get("elementdatafile", "")
    return "" if name.upper() == "LOCAL" else name


def _understood(fields: Mapping[str, str], packed: bool) -> None:
    """Raises UserError for what ITK reads as other voxels, without a word."""
    orders = {_true(fields, key) for key in ("binarydatabyteordermsb", "elementbyteordermsb") if key in fields}
    if len(orders) > 1:
        raise UserError("its header gives two byte orders", fix="Export it again.")
    if "binarydata" in fields and not _true(fields, "binarydata"):
        raise UserError("its voxels are written as text, which isn't read", fix="Save it as binary.")
    if packed and not fields.get("compresseddatasize", "").strip("0"):
        raise UserError("its header has no CompressedDataSize", fix="Export it again, or save it unpacked.")


def _true(fields: Mapping[str, str], key: str) -> bool:
    return fields.get(key, "")[:1] in ("t", "T", "1")


def _millimetres(fields: Mapping[str, str], key: str) -> None:
    """ITK reads every length as millimetres, whatever the header's unit."""
    units = set(fields.get(key, "").replace('"', " ").lower().split())
    if odd := units - {"mm", "millimeter", "millimetre", "millimeters", "?", "none", "???"}:
        raise UserError(f"its lengths are in '{_short(sorted(odd)[0])}', not in mm", fix="Export it again in mm.")


def _short(text: str) -> str:
    """A header's word as it may be repeated: a damaged header can hold a screenful."""
    return text if len(text) <= 40 else text[:39] + "…"


def _fields(path: Path, sign: str, stop: str = "") -> tuple[dict[str, str], int]:
    """Keys (lower case) and values of a text header, and where it ends: at the key `stop`, else at the first empty line."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(2000):
            line = file.readline(1 << 16)
            text = line.decode("latin-1").strip()
            if not line or (not text and not stop):
                break
            key, _, value = text.partition(sign)
            if value and not text.startswith("#"):
                fields.setdefault(key.strip().lower(), value.strip(" ="))
            if stop and key.strip().lower() == stop:
                break
        return fields, file.tell()


def _whole(fields: Mapping[str, str], key: str) -> list[int]:
    """The whole numbers of a field, each at least 1."""
    try:
        numbers = [int(n) for n in fields.get(key, "").split()]
    except ValueError as error:
        raise UserError(f"{_DAMAGED} ('{key}')", fix=AGAIN) from error
    if not numbers or min(numbers) < 1:
        raise UserError(f"{_DAMAGED} ('{key}')", fix=AGAIN)
    return numbers


def _numbers(fields: Mapping[str, str], key: str, count: int) -> list[float]:
    try:
        numbers = [float(n) for n in fields[key].split()]
    except ValueError as error:
        raise UserError(f"{_DAMAGED} ('{key}')", fix=AGAIN) from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UserError(f"{_DAMAGED} ('{key}')", fix=AGAIN)
    return numbers


def _size(fields: Mapping[str, str], sizes: str, dimension: str) -> int:
    """The number of values that the header promises."""
    shape = _whole(fields, sizes)
    if [len(shape)] != _whole(fields, dimension) or len(shape) > 8:
        raise UserError(f"{_DAMAGED} ('{sizes}' and '{dimension}' don't fit)", fix=AGAIN)
    check_count(shape)
    return math.prod(shape)


def _data_file(path: Path, name: str, start: int) -> tuple[Path, int]:
    """The file that holds the voxels and where they begin in it."""
    if not name:
        return path, start
    if name.upper().startswith("LIST") or "%" in name:
        raise UserError("its voxels are spread over several files", fix="Save it as one file (.nrrd or .mha).")
    data = path.parent / name
    if not data.is_file():
        raise UserError("its data file is missing", fix=f"Put {Path(name).name} beside it, or save it as one file.")
    return data, 0


def _check_voxels(path: Path, start: int, wanted: int, window: int) -> None:
    got = _inflated(path, start, wanted, window) if window else path.stat().st_size - start
    if got < wanted:
        raise UserError(f"{CUT}: {max(got, 0)} of {wanted} bytes of voxels are there", fix=AGAIN)


def _inflated(path: Path, start: int, wanted: int, window: int) -> int:
    """How many bytes a zlib or gzip stream holds; inflated once more to know, since ITK doesn't tell of one that breaks off."""
    inflate, got = zlib.decompressobj(window), 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            while not inflate.eof and got <= wanted and (piece := file.read(1 << 20)):
                while piece and got <= wanted:
                    got += len(inflate.decompress(piece, 1 << 24))
                    piece = inflate.unconsumed_tail
    except zlib.error as error:
        raise UserError("its compressed voxels are damaged", fix=AGAIN) from error
    if not inflate.eof and got <= wanted:
        raise UserError(f"{CUT}: its compressed voxels break off", fix=AGAIN)
    return got
