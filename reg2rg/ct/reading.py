"""A path → `Volume`, whatever lies there: the format is told by the content, not by the name.

In: a NIfTI, NRRD or MetaImage file, a DICOM file or folder, or a zip of those. Out: int16 HU in RAS+, or a `UserError` that
says what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..contracts import Volume
from ..errors import UserError
from . import archive, dicom, facts, headers, itk, nifti, scans, series
from .bytes import GZIP, head, plain_head
from .image import LEAST_SLICES_CHEST, Image, finish

_FORMATS = "Known are NIfTI, NRRD, MHA/MHD, DICOM (file, folder) and zip files of those."
_ZIP = b"PK\x03\x04"


def read_volume(path: Path, *, whole: bool = True) -> Volume:
    """The CT at `path` as a `Volume`; `whole=False` lets pieces through that are too small to be a chest."""
    path = Path(path)
    with _placed(path):
        image, source = _image(path)
        return finish(image, source, whole=whole)


def read_image(path: Path) -> Image:
    """The CT at `path` as stored: before its values are turned to HU and its axes to RAS+."""
    path = Path(path)
    with _placed(path):
        return _image(path)[0]


def read_scan(scan: scans.Scan, *, whole: bool = True) -> Volume:
    """A scan found by `find_scans` as a `Volume`; its errors name no path where it is DICOM."""
    if scan.kind == "dicom":
        slices = [s for m in scan.members if (s := scans.member_slice(scan.files[0], m))]
        return finish(_stack(slices or _slices(scan.files)), scan.label, whole=whole)
    if scan.members:
        with tempfile.TemporaryDirectory(prefix="reg2rg-") as folder:
            image = _file(_unpacked(scan.files[0], scan.members[0], Path(folder)))
            return finish(facts.apply(image, scan.facts), scan.label, whole=whole)
    path = scan.files[0]
    with _placed(path):
        image, source = _image(path)
        return finish(facts.apply(image, scan.facts), source, whole=whole)


def _unpacked(path: Path, name: str, folder: Path) -> Path:
    """An image file out of a zip, with the file that holds its voxels where its header names one."""
    image = archive.extract(path, name, folder)
    start = head(image)
    nrrd = itk.is_nrrd(start)
    if (nrrd or itk.is_meta(start)) and (data := headers.data_name(image, nrrd)):
        archive.extract_beside(path, name, folder, data)
    return image


@contextlib.contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Adds the path to errors that don't name one yet."""
    try:
        yield
    except UserError as error:
        if error.where:
            raise
        raise UserError(error.what, path, error.fix, error.code) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = error.strerror or type(error).__name__
        raise UserError(f"it can't be read ({reason})", path, "Check its permissions.") from error


def _image(path: Path) -> tuple[Image, str]:
    if not path.exists():
        raise UserError("no such file or folder", fix="Check the path.")
    if path.is_dir():
        return _folder(path)
    start = head(path)
    if start.startswith(_ZIP):
        return _zip(path)
    image = _file(path)
    # the name of a DICOM file is often its patient's
    return image, "a DICOM file" if image.kind == "DICOM" else path.name


def _file(path: Path) -> Image:
    """One image file, by its content."""
    start = head(path)
    if not start:
        raise UserError("the file is empty (0 bytes)", fix="Copy or download it again.")
    plain = plain_head(path) if start.startswith(GZIP) else start
    if nifti.is_nifti(plain):
        return nifti.read(path)
    if itk.is_nrrd(start) or itk.is_meta(start):
        return itk.read(path)
    if dicom.is_dicom(start) and (found := scans.slice_of(path)):
        return _stack([found])
    raise UserError(_what_else(path, start, plain), fix=_FORMATS)


def _what_else(path: Path, start: bytes, plain: bytes) -> str:
    """Why a file is no image, as far as its first bytes tell."""
    if start.startswith(GZIP) and not plain:
        return "its gzip data is damaged or cut short at the very beginning"
    if plain.startswith(GZIP):
        return "it is packed twice with gzip"
    text = plain.lstrip()[:64].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "it isn't an image: it looks like a web page (a download that failed?)"
    if text.startswith((b"{", b"[")) or (plain and all(32 <= b < 127 or b in b"\t\r\n" for b in plain[:256])):
        return "it isn't an image: it is a text file"
    if path.name.lower().endswith((".mgz", ".mgh")):
        return "FreeSurfer's MGH format isn't read"
    if path.suffix.lower() in scans.DICOM_ENDINGS:
        return "it isn't a DICOM file, in spite of its name (or its beginning is lost)"
    return "it isn't an image of a known format, or its beginning is damaged"


def _slices(files: Iterable[Path]) -> list[dicom.Slice]:
    return [found for path in files if (found := scans.slice_of(path))]


def _stack(slices: list[dicom.Slice]) -> Image:
    if not slices:
        raise UserError("it isn't a DICOM file, in spite of its name (or its beginning is lost)", fix=_FORMATS)
    return series.read(slices)


def _folder(path: Path) -> tuple[Image, str]:
    """The one CT series of a folder, or its one image file."""
    images, found = [], _Series()
    for file in scans.walk(path):
        if scans.is_image_name(file.name):
            images.append(file)
        else:
            found.add(functools.partial(scans.slice_of, file), str(file.parent))
    if found.any():
        return found.chosen()
    if len(images) == 1:
        return _file(images[0]), images[0].name
    if images:
        raise UserError(f"the folder holds {len(images)} image files", fix=f"Name one of them, e.g. {images[0].name}.")
    raise UserError("the folder holds no scan", fix=_FORMATS)


def _zip(path: Path) -> tuple[Image, str]:
    """The one CT series of a zip file, or its one image file."""
    names = archive.members(path)
    images, found = [n for n in names if scans.is_image_name(n)], _Series()
    for name in names:
        if name not in images:
            found.add(functools.partial(scans.member_slice, path, name), name.rpartition("/")[0])
    if found.any():
        return found.chosen()
    if len(images) == 1:
        with tempfile.TemporaryDirectory(prefix="reg2rg-") as folder:
            return _file(_unpacked(path, images[0], Path(folder))), path.name
    if images:
        raise UserError(f"the zip file holds {len(images)} image files", fix="Unpack it and name one of them.")
    raise UserError("the zip file holds no scan", fix=_FORMATS)


class _Series:
    """DICOM slices by series, and what could not be read among them."""

    def __init__(self) -> None:
        self.groups: dict[str, list[dicom.Slice]] = {}
        self.damaged: list[UserError] = []

    def add(self, read: Callable[[], dicom.Slice | None], folder: str) -> None:
        """Reads one file's header and puts it to its series."""
        try:
            if found := read():
                self.groups.setdefault(scans.series_key(found, folder), []).append(found)
        except UserError as error:
            self.damaged.append(error)

    def any(self) -> bool:
        """Whether there is DICOM at all, whole or not."""
        return bool(self.groups or self.damaged)

    def chosen(self) -> tuple[Image, str]:
        """The one series that can be a CT volume, with a note on what could not be read beside it."""
        if not self.groups:
            raise self.damaged[0]
        image, source = _chosen(list(self.groups.values()))
        if n := len(self.damaged):
            note = f"{n} damaged DICOM file{'s were' if n > 1 else ' was'} left out: a slice may be missing at an end"
            image = dataclasses.replace(image, notes=(*image.notes, note))
        return image, source


def _chosen(groups: list[list[dicom.Slice]]) -> tuple[Image, str]:
    """The one series that can be a CT volume; raises UserError listing the series where there isn't exactly one."""
    groups.sort(key=lambda g: (-len(g), g[0].label))
    able = groups
    if len(groups) > 1:
        able = [g for g in groups if _able(g) >= LEAST_SLICES_CHEST]
    if len(able) != 1:
        listed = "; ".join(_described(g) for g in groups[:6]) + ("; …" if len(groups) > 6 else "")
        raise UserError(
            f"it holds {len(groups)} series, of which {len(able)} can be a CT volume: {listed}",
            fix="Give a folder with the one series that you mean.",
        )
    image = series.read(able[0])
    if others := len(groups) - 1:
        said = f"{others} other series beside it {'was' if others == 1 else 'were'} left out"
        image = dataclasses.replace(image, notes=(*image.notes, said))
    return image, f"a DICOM series of {len(able[0])} files"


def _able(group: list[dicom.Slice]) -> int:
    """How many images of a group can be slices of a CT volume."""
    return sum(s.frames for s in group if s.modality == "CT" and s.pixels and not s.localizer)


def _described(group: list[dicom.Slice]) -> str:
    first = min(group, key=lambda s: s.label)
    said = f"{len(group)} {first.modality or 'unknown'} file{'s' * (len(group) > 1)} of {first.matrix[0]}×{first.matrix[1]}"
    return said if first.label.startswith(dicom.UNNAMED) else f"{said} from {first.label} on"
