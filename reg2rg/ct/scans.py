"""Which scans lie in a folder: every image file is one, DICOM files are grouped by SeriesInstanceUID over the whole tree.

A `Scan` is data (files, kind, id), so that it can be sent to another process and read there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import UserError
from . import archive, dicom, identity
from .bytes import head
from .facts import Facts

# longest first, so that the id of x.nii.gz is x
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".mgz", ".mgh")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*|[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """One scan on disk: `files` (for a zip: the zip, with `members` in it), `kind` "image" or "dicom", `id` the study's name.

    `label` says what it is without any DICOM identifier; paths, which may hold one, aren't shown with the object. `facts` is
    what a table says of it (image files only).
    """

    id: str
    files: tuple[Path, ...] = dataclasses.field(repr=False)
    kind: str
    members: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    label: str = ""
    facts: Facts | None = None


def bare_name(name: str) -> str:
    """A file's name without its image ending."""
    lower = name.lower()
    ending = next((e for e in (*IMAGE_ENDINGS, ".zip") if lower.endswith(e)), "")
    return name[: len(name) - len(ending)] if ending else name


def is_image_name(name: str) -> bool:
    """Whether a file is a NIfTI, NRRD, MetaImage … by its name."""
    return name.lower().endswith(IMAGE_ENDINGS)


def find_scans(folder: Path, *, keep_ids: bool = False, skip: Iterable[Path] = ()) -> list[Scan]:
    """All scans in `folder` and below (or the one file), sorted by id; `skip` names files and folders to leave out.

    DICOM ids are salted hashes of the SeriesInstanceUID unless `keep_ids`. Files of one name get their folders' names too.
    """
    images: list[Scan] = []
    slices: list[tuple[dicom.Slice, Path, str]] = []
    alone = folder.is_file()
    files, folder = ([folder], folder.parent) if alone else (walk(folder, skip), folder)
    for path in files:
        if is_image_name(path.name):
            images.append(Scan(bare_name(path.name), (path,), "image", label=path.name))
        elif path.suffix.lower() == ".zip":
            images += _in_zip(path, slices)
        else:
            images += _loose(path, folder, alone, slices)
    return sorted(_told_apart(images, folder) + _series(slices, keep_ids), key=lambda s: s.id)


def walk(folder: Path, skip: Iterable[Path] = ()) -> Iterator[Path]:
    """Every visible file below `folder` in a fixed order, and folders that can't be opened; links are followed once."""
    unreadable: list[Path] = []
    left_out = {Path(p).resolve() for p in skip}
    seen: set[Path] = set()
    for parent, folders, files in os.walk(folder, onerror=lambda e: unreadable.append(Path(e.filename)), followlinks=True):
        here = Path(parent)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        if here.resolve() in seen | left_out:
            folders[:] = []
            continue
        seen.add(here.resolve())
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and path.is_file() and (not left_out or path.resolve() not in left_out):
                yield path
    # nothing else would tell of what lies in them
    yield from unreadable


def _loose(path: Path, folder: Path, alone: bool, slices: list[tuple[dicom.Slice, Path, str]]) -> list[Scan]:
    """A file that is no image by its name: a slice (added to `slices`), a damaged one (a scan to be refused), or nothing."""
    try:
        found = slice_of(path)
    except UserError:
        return [Scan(identity.pseudonym(str(path.relative_to(folder))), (path,), "dicom", label="a DICOM file")]
    if found:
        slices.append((found, path, ""))
        return []
    return [Scan(path.name, (path,), "image", label=path.name)] if alone else []


def slice_of(path: Path) -> dicom.Slice | None:
    """The DICOM slice in a file, None where it is something else; raises UserError where it is damaged DICOM.

    A file that calls itself DICOM and isn't counts as damaged: in a series it would be a missing slice.
    """
    if path.is_dir():
        raise UserError("a folder can't be read", fix="Check its permissions.")
    try:
        start = head(path)
        if dicom.is_dicom(start):
            with path.open("rb") as file:
                if found := dicom.header(file, functools.partial(_open, path), path.name):
                    return found
    except OSError as error:
        # many systems name files by UIDs, whose last number looks like an ending
        if path.suffix.lower() not in ("", *DICOM_ENDINGS) and not path.suffix[1:].isdigit():
            return None
        raise UserError(f"a file can't be read ({error.strerror})", fix="Check its permissions.") from error
    if path.suffix.lower() in DICOM_ENDINGS:
        raise UserError("it isn't a DICOM file, in spite of its name (or its beginning is lost)", fix="Copy the series again.")
    return None


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def member_slice(path: Path, name: str) -> dicom.Slice | None:
    """The DICOM slice in one member of a zip."""
    with archive.open_stream(path, name) as file:
        if not dicom.is_dicom(file.read(512)):
            return None
        file.seek(0)
        return dicom.header(file, functools.partial(archive.open_member, path, name), PurePosixPath(name).name)


def _in_zip(path: Path, slices: list[tuple[dicom.Slice, Path, str]]) -> list[Scan]:
    """The image files in a zip; its DICOM slices are added to `slices`. A zip that can't be opened is one scan."""
    whole = Scan(identity.pseudonym(path.name), (path,), "image", label="a zip file")
    try:
        names = archive.members(path)
    except UserError:
        return [whole]
    before, found = len(slices), []
    for name in names:
        if is_image_name(name):
            found.append(Scan(bare_name(PurePosixPath(name).name), (path,), "image", (name,), PurePosixPath(name).name))
            continue
        try:
            if inside := member_slice(path, name):
                slices.append((inside, path, name))
        except UserError:
            found.append(Scan(identity.pseudonym(f"{path.name}/{name}"), (path,), "dicom", (name,), "a DICOM file"))
    return found if found or len(slices) > before else [whole]


def series_key(s: dicom.Slice, folder: str) -> str:
    """What makes files one series: the SeriesInstanceUID, or the folder where it is blank."""
    return s.series or f"blank {folder}"


def _series(slices: list[tuple[dicom.Slice, Path, str]], keep_ids: bool) -> list[Scan]:
    groups: dict[str, list[tuple[dicom.Slice, Path, str]]] = {}
    for s, path, member in slices:
        groups.setdefault(series_key(s, str(path if member else path.parent)), []).append((s, path, member))
    scans = []
    for group in groups.values():
        uid = group[0][0].series or hashlib.sha256("|".join(sorted(s.instance for s, _, _ in group)).encode()).hexdigest()
        # one series over several zips or folders would be read from the first zip alone: such copies are rare and whole
        zipped = next((path for _, path, member in group if member), None)
        loose = [path for _, path, member in group if not member]
        files = tuple(loose) if loose or zipped is None else (zipped,)
        inside = () if loose else tuple(member for _, path, member in group if path == zipped)
        label = f"a DICOM series of {len(inside or files)} file{'s' * (len(inside or files) > 1)}"
        # what is no UID isn't kept as a file's name
        kept = keep_ids and _UID.fullmatch(uid)
        scans.append(Scan(uid if kept else identity.pseudonym(uid), files, "dicom", inside, label))
    return scans


def _told_apart(scans: list[Scan], folder: Path) -> list[Scan]:
    """Gives scans of one name their folders' names, and files of one name and folder their endings."""
    out = list(scans)
    for depth in range(1, 12):
        counts: dict[str, int] = {}
        for scan in out:
            counts[scan.id] = counts.get(scan.id, 0) + 1
        if max(counts.values(), default=1) == 1:
            return out
        out = [_longer(s, folder, depth) if counts[s.id] > 1 and s.kind == "image" else s for s in out]
    return out


def _longer(scan: Scan, folder: Path, depth: int) -> Scan:
    place = scan.files[0].relative_to(folder)
    parts = [*place.parts[:-1], *(PurePosixPath(scan.members[0]).parts if scan.members else (place.name,))]
    if depth < len(parts):
        return dataclasses.replace(scan, id="_".join([*parts[-1 - depth : -1], bare_name(parts[-1])]))
    return dataclasses.replace(scan, id="_".join(parts).replace(".", "_"))
