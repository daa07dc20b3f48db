"""A phantom data set on disk, in the RadGenome-ChestCT layout.

`volumes/<patient>/<accession>/<volume>.nii.gz`, `masks/seg_<volume>.nii.gz` (one uint16 file a study, bit i = `REGIONS[i]`)
or `masks/seg_<volume>/<region>.nii.gz`, `region_report.csv`, `labels.csv`, `split.csv`, and beside them what only tests and
benchmarks read: `plans/<volume>.json` and `phantom.json`.

Study i of seed s has the same bytes on any number of workers and in any order; a run that was cut off goes on.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..anatomy import FINDINGS, REGIONS
from ..errors import UserError, suggest
from ..progress import Progress, silent
from ..shares import cores
from .look import LOOKS, PROFILES, Profile
from .plan import Plan, plan_study
from .sentences import regions_in_view, report, sentences
from .solids import GRIDS
from .voxels import Rendered, render

ABOUT = "procedural phantom, not a patient"
STAGE = "Drawing phantoms"
# What workers inherit: one BLAS thread each (more oversubscribes the cores and is several times slower), and, with glibc,
# big arrays from the heap, which saves the page faults of mapping each anew.
_WORKER = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a phantom folder was asked to be; written to `phantom.json` first, so that a later call can tell."""

    studies: int
    seed: int
    size: str
    masks: str
    profile: Profile
    split: tuple[int, int, int] | None

    def to_json(self) -> dict[str, Any]:
        """The settings as `phantom.json` holds them."""
        data = dataclasses.asdict(self)
        return {"about": ABOUT, "version": __version__, **data, "split": list(self.split) if self.split else None}


def write_phantom(
    out: Path,
    *,
    studies: int,
    seed: int = 0,
    size: str = "small",
    masks: str = "bits",
    profile: Profile = "demo",
    split: tuple[int, int, int] | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> None:
    """Writes `studies` volumes with masks, reports, labels and split to `out`.

    `split` gives the counts of train, valid and test in this order; where it is None every tenth study is valid and every
    tenth test. `workers` processes draw (None: one a core). A folder of the same settings is completed, another one refused.
    Raises UserError for unknown settings, a split that doesn't add up, and a folder that holds something else.
    """
    settings = _checked(Settings(studies, seed, size, masks, profile, split))
    out = Path(out)
    _claim(out, settings)
    done = {path.name.removesuffix(".json") for path in (out / "plans").glob("*.json")}
    todo = [i for i in range(studies) if volume_name(i, settings) not in done]
    progress(STAGE, studies - len(todo), studies)
    for n, _ in enumerate(_draw_all(out, settings, todo, workers), start=1 + studies - len(todo)):
        progress(STAGE, n, studies)
    _write_tables(out, settings)


def split_of(index: int, settings: Settings) -> str:
    """The split of a study: by the given counts, else train with every tenth study valid and every tenth test."""
    if settings.split:
        train, valid, _ = settings.split
        return "train" if index < train else "valid" if index < train + valid else "test"
    return {1: "valid", 2: "test"}.get(index % 10, "train")


def volume_name(index: int, settings: Settings) -> str:
    """The volume's name without ending, as RadGenome-ChestCT names volumes."""
    return f"{split_of(index, settings)}_{index + 1}_a_1"


def _checked(settings: Settings) -> Settings:
    for what, value, known in (
        ("size", settings.size, GRIDS),
        ("profile", settings.profile, PROFILES),
        ("masks", settings.masks, ("files", "bits")),
    ):
        if value not in known:
            raise UserError(f"there is no phantom {what} '{value}'", fix=suggest(value, known))
    if settings.studies < 1:
        raise UserError(f"a phantom of {settings.studies} studies can't be made", fix="Ask for one study at least.")
    if settings.seed < 0:
        raise UserError(f"the seed {settings.seed} is negative", fix="Choose a seed of 0 or more.")
    if settings.split and (min(settings.split) < 0 or sum(settings.split) != settings.studies):
        raise UserError(
            f"the split {settings.split} doesn't add up to {settings.studies} studies",
            fix="Give counts for train, valid, test.",
        )
    return settings


def _claim(out: Path, settings: Settings) -> None:
    """Makes `out` ours: empty, or a phantom of the same settings."""
    marker, wanted = out / "phantom.json", settings.to_json()
    if out.exists() and not out.is_dir():
        raise UserError("is a file, not a folder", out, "Choose a new folder for the phantom.")
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if {k: found.get(k) for k in wanted} != wanted:
            differing = ", ".join(k for k in wanted if found.get(k) != wanted[k])
            raise UserError(f"holds another phantom (different: {differing})", out, "Choose a new folder or delete this one.")
    elif out.is_dir() and any(out.iterdir()):
        raise UserError("isn't empty and holds no phantom", out, "Choose a new folder.")
    for left in out.rglob(".*.part"):
        left.unlink()
    for folder in ("volumes", "masks", "plans"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    if not marker.is_file():
        _write(marker, json.dumps(wanted, indent=2).encode())


# Workers


@contextmanager
def _worker_environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _WORKER}
    os.environ.update(_WORKER)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _draw_all(out: Path, settings: Settings, todo: list[int], workers: int | None) -> Iterator[int]:
    workers = min(workers or cores(), max(1, len(todo) // 4))
    if workers <= 1:
        for index in todo:
            yield _write_study(out, settings, index)
        return
    with _worker_environment(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        size = max(1, min(16, len(todo) // (4 * workers)))
        chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
        for written in pool.map(_write_chunk, [(out, settings, chunk) for chunk in chunks]):
            yield from written


def _write_chunk(task: tuple[Path, Settings, list[int]]) -> list[int]:
    out, settings, indices = task
    return [_write_study(out, settings, index) for index in indices]


# One study


def _write_study(out: Path, settings: Settings, index: int) -> int:
    plan = plan_study(settings.seed, index, settings.profile)
    name = volume_name(index, settings)
    drawn = _stored(render(plan, settings.size), _axes(plan))
    patient = name.rsplit("_", 2)[0]
    folder = out / "volumes" / patient / f"{patient}a"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.nii.gz", nifti(drawn.hu, drawn.affine))
    _write_masks(out / "masks", name, drawn, plan, settings.masks)
    # The plan comes last: where it lies, the study is whole.
    _write(out / "plans" / f"{name}.json", json.dumps(plan.to_json(), indent=1).encode())
    return index


def _write_masks(folder: Path, name: str, drawn: Rendered, plan: Plan, kind: str) -> None:
    if kind == "bits":
        _write(folder / f"seg_{name}.nii.gz", nifti(drawn.bits, drawn.affine))
        return
    (folder / f"seg_{name}").mkdir(exist_ok=True)
    for i, region in enumerate(REGIONS):
        if region in regions_in_view(plan):
            mask = ((drawn.bits >> i) & 1).astype(np.uint8)
            _write(folder / f"seg_{name}" / f"{region}.nii.gz", nifti(mask, drawn.affine))


def _axes(plan: Plan) -> str:
    """The orientation in which a study is stored: mostly RAS, every eighth LPS, in the strict profile more kinds."""
    if plan.profile == "demo":
        return "LPS" if plan.index % 8 == 3 else "RAS"
    return {1: "LPS", 3: "LPS", 5: "LAS", 6: "PSR", 7: "SAL"}.get(plan.index % 8, "RAS")


def _stored(drawn: Rendered, axes: str) -> Rendered:
    """The same anatomy with its axes turned, and the affine to match."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    hu, bits = (apply_orientation(array, turn) for array in (drawn.hu, drawn.bits))
    return Rendered(hu, bits, drawn.affine @ inv_ornt_aff(turn, drawn.hu.shape))


def nifti(array: np.ndarray, affine: np.ndarray) -> bytes:
    """A gzipped NIfTI-1 file: the same bytes for the same voxels (no time stamp, no file name).

    Packed with isal where it is installed, which is several times faster; the bytes depend on that, the voxels don't.
    """
    import nibabel

    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    pack = _packer()
    return pack.compress(image.to_bytes()) + pack.flush()


def _packer() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


# Tables


def _write_tables(out: Path, settings: Settings) -> None:
    plans = [plan_study(settings.seed, i, settings.profile) for i in range(settings.studies)]
    names = [f"{volume_name(i, settings)}.nii.gz" for i in range(settings.studies)]
    rows: list[tuple[str, str, str]] = []
    for plan, name in zip(plans, names, strict=True):
        texts = sentences(plan)
        rows += [(name, region, text) for region, text in texts.items()]
        rows.append((name, "", report(texts)))
    _write_csv(out / "region_report.csv", ("Volumename", "Anatomy", "Sentence"), rows)
    _write_csv(
        out / "labels.csv", ("VolumeName", *FINDINGS), ((n, *p.labels.values()) for p, n in zip(plans, names, strict=True))
    )
    splits = [split_of(i, settings) for i in range(settings.studies)]
    _write_csv(out / "split.csv", ("Volumename", "Split"), zip(names, splits, strict=True))
    counts = {
        "splits": {s: splits.count(s) for s in ("train", "valid", "test")},
        "findings": {f: sum(p.labels[f] for p in plans) for f in FINDINGS},
    }
    told = {**settings.to_json(), "counts": counts, "leaks": dict(LOOKS[settings.profile].leaks)}
    _write(out / "phantom.json", json.dumps(told, indent=2, ensure_ascii=False).encode())


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write(path, text.getvalue().encode())
