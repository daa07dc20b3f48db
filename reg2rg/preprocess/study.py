"""One study, from files to its HDF5: read, segment, check, measure, write. What a worker process runs.

Whatever is wrong with a study ends here as an `Outcome` with a reason; only what concerns the whole run (a full disk) is
raised.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import traceback
from pathlib import Path
from typing import Any

from ..contracts import RegionMask, Volume
from ..ct import READING, read_scan
from ..data.boxes import measure
from ..data.layouts import Source
from ..data.store import FORMAT, write_study
from ..errors import UserError
from ..plugins import resolve
from .qc_table import Row, inspect, inspect_stored

_FULL_DISK = {28, 30, 122}  # ENOSPC, EROFS, EDQUOT


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How studies are made: the segmenter's name, its options as JSON, the mask folder that the user named ("": none)."""

    segmenter: str
    options: str = "{}"
    masks: str = ""
    keep_ids: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One study to be made, where it goes, and how.

    `stored_as`: its voxels are there already, and only what quality control wants of them isn't; the status it ends with.
    """

    source: Source
    path: Path
    settings: Settings
    stored_as: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a study ended: `status` "done", "skipped" (it was there) or "refused"; for the latter the stage, the reason and how
    to mend it, for the others the row of qc.csv."""

    id: str
    status: str
    stage: str = ""
    error: str = ""
    hint: str = ""
    trace: str = ""
    row: Row = dataclasses.field(default_factory=dict)


@functools.lru_cache(maxsize=1)
def segmenter(settings: Settings) -> Any:
    """The segmenter of `settings`, built once a process."""
    return resolve("segmenter", settings.segmenter, json.loads(settings.options))


def fingerprint(settings: Settings) -> str:
    """By which code and settings voxels are made: a stored study of the same fingerprint needn't be made again."""
    tool = [settings.segmenter, json.loads(settings.options), settings.masks, str(segmenter(settings).fingerprint)]
    return hashlib.sha256(json.dumps([FORMAT, READING, *tool], sort_keys=True).encode()).hexdigest()[:16]


def run_job(job: Job) -> Outcome:
    """Makes one study; never raises for a fault of the study itself."""
    stages = _Stages(job)
    try:
        row = inspect_stored(job.source.id, job.path) if job.stored_as else stages.run()
    except UserError as error:
        return stages.refused(_said(error, job.source), error.fix)
    except MemoryError:
        return stages.refused("there is not enough memory for it", "Use fewer --workers, or a machine with more memory.")
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise UserError(f"nothing more can be written ({error.strerror})", job.path.parent, "Free some space.") from error
        return stages.refused(_unexpected(error, job), "Check that its files can be read.")
    except Exception as error:
        hint = "This may be a fault of reg2rg or of a plugin: REG2RG_DEBUG=1 shows its traceback."
        return stages.refused(_unexpected(error, job), hint, traceback.format_exc() if os.environ.get("REG2RG_DEBUG") else "")
    return Outcome(job.source.id, job.stored_as or "done", row=row)


class _Stages:
    """The steps of one study; `stage` tells which one was under way when something failed."""

    def __init__(self, job: Job) -> None:
        self.job, self.stage = job, "read"

    def run(self) -> Row:
        """Makes the study; its row of qc.csv."""
        source, settings = self.job.source, self.job.settings
        volume = read_scan(source.scan)
        self.stage = "segment"
        tool = _for_study(segmenter(settings), source)
        mask = tool.segment(volume)
        self.stage = "check"
        _check(mask, volume)
        facts = measure(volume.hu, mask.bits)
        inspection, row = inspect(source.id, volume, mask, facts)
        self.stage = "write"
        study = source.study(_provenance(self.job, volume, mask))
        print_ = fingerprint(settings)
        write_study(self.job.path, volume, mask, study, fingerprint=print_, facts=facts, inspection=inspection)
        return row

    def refused(self, error: str, hint: str, trace: str = "") -> Outcome:
        return Outcome(self.job.source.id, "refused", self.stage, error, hint, trace)


def _for_study(tool: Any, source: Source) -> Any:
    """A segmenter that reads masks gets those of this study, unless an option of its own names one file for all."""
    if not hasattr(tool, "for_study"):
        return tool
    if source.masks is None and getattr(tool, "masks", None):
        return tool
    if source.masks is None:
        raise UserError(
            "no masks were found for it",
            fix=f"Masks are folders or files called seg_{source.id} or {source.id} in the data set's masks/ or in --masks DIR.",
        )
    return tool.for_study(source.masks)


def _check(mask: RegionMask, volume: Volume) -> None:
    if mask.bits.shape != volume.shape:
        raise UserError(
            f"the mask's shape {mask.bits.shape} isn't the volume's {volume.shape}", fix="Give masks on the volume's own grid."
        )
    if not mask.bits.any():
        raise UserError(
            "all its masks are empty: no region has a voxel",
            fix="Check that the scan shows a chest, or choose another segmenter.",
        )


def _provenance(job: Job, volume: Volume, mask: RegionMask) -> dict[str, Any]:
    return {
        "source": volume.source.encode("utf-8", "replace").decode(),
        "segmenter": job.settings.segmenter,
        "notes": [*job.source.notes, *volume.notes, *mask.notes],
    }


def _said(error: UserError, source: Source) -> str:
    """The fact, with the bare name of the mask file it concerns; the scan's own name is the id, or must not be said."""
    of_masks = source.masks is not None and error.where.startswith(str(source.masks))
    return f"{Path(error.where).name}: {error.what}" if of_masks else error.what


def _unexpected(error: Exception, job: Job) -> str:
    """An unforeseen error in words; of DICOM only its kind, since messages of libraries quote header values."""
    kind = type(error).__name__
    if job.source.scan.kind == "dicom":
        return kind
    # the whole message of a system error names a path, and its folders may be called after patients
    text = (error.strerror or "") if isinstance(error, OSError) else str(error).strip()
    return f"{kind}: {text.splitlines()[0][:300] if text else 'no message'}"
