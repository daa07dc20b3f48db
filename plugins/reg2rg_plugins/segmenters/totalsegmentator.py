"""Segmenter `totalsegmentator`: TotalSegmentator (Wasserthal et al. 2023, doi 10.1148/ryai.230024) by its own package.

In: the volume, as a NIfTI file in a folder of its own. Out: its label maps, whose classes are joined into regions by a table
(`_total_classes`); pleura and the aorta's parts are derived (`_total_regions`). The package runs in a process of its own
(`_total_worker`), by this Python where it is installed, else by another.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

from ..elsewhere import OtherPython, other_python
from ._maskcanvas import Canvas
from ._maskfile import read_labels
from ._total_classes import regions_of
from ._total_regions import derive
from ._total_tasks import TASKS, check_weights, chosen, weights_folder

VERSION = 1
VARIABLE = "REG2RG_TOTALSEGMENTATOR_PYTHON"  # the Python that has the package
HOW = (
    "Make one: python -m venv totalseg && totalseg/bin/pip install TotalSegmentator; and name it: "
    f"{VARIABLE}=totalseg/bin/python, or --set python=FILE."
)
_PROBE = """
import importlib.metadata as m, importlib.util as u, sys
if u.find_spec("totalsegmentator"):
    try: sys.stdout.write(m.version("TotalSegmentator"))
    except m.PackageNotFoundError: sys.stdout.write("of an unknown release")
"""
_MEND = (
    "Where memory ran out: --set fast=true or device=cpu, and --workers 1. See what it says by itself: TotalSegmentator -i FILE"
)
_OTHER = "Try another release of it."
_LICENCE = "Apache-2.0, its openly available tasks; please cite doi 10.1148/ryai.230024"


class TotalSegmentator:
    """TotalSegmentator's classes joined into the ten regions.

    `tasks`: `total` (or `total_v3`) gives all regions but breast, mediastinum as its great vessels only, the trachea without
    bronchi. Further tasks, comma-separated, give more: `breasts`, `trunk_cavities` (mediastinum, abdomen and pericardium as
    spaces), `lung_vessels` (bronchi), `pleural_pericard_effusion`. `fast`: total at 3 mm. `weights`: their folder, by default
    $TOTALSEG_WEIGHTS_PATH or where the package keeps them; nothing is fetched unless `download` is true. `device`: auto, cpu,
    cuda, cuda:1 or mps. `python`: a Python that has the package, by default this one, or $REG2RG_TOTALSEGMENTATOR_PYTHON.

    Licence: TotalSegmentator's code and the tasks above are Apache-2.0. Its tasks that want a licence of their authors
    (heartchambers_highres, tissue_types …) are never run. Usage statistics, which the package sends by default, are not sent.
    Not a medical device. Please cite Wasserthal et al. 2023 (doi 10.1148/ryai.230024) and nnU-Net.
    """

    def __init__(
        self,
        tasks: str | tuple[str, ...] = "total",
        fast: bool = False,
        weights: Path | None = None,
        device: str = "auto",
        python: str | None = None,
        download: bool = False,
    ) -> None:
        self.tasks, self.fast = chosen(tasks), fast
        self.regions: frozenset[str] = frozenset().union(*(TASKS[task].regions for task in self.tasks))
        self._python = python or os.environ.get(VARIABLE) or _this_python()
        self.version = _version(self._python)
        folder = weights_folder(weights)
        if not download:
            check_weights(folder, self.tasks, fast)
        self._settings = json.dumps({"weights": str(folder), "device": _device(device), "download": download}, sort_keys=True)
        self.fingerprint = f"totalsegmentator-{VERSION} {self.version} tasks={','.join(self.tasks)} fast={fast}"

    def segment(self, volume: Volume) -> RegionMask:
        """The regions on the volume's grid. Raises UserError where the package fails or gives another grid."""
        canvas, names = Canvas(volume), set[str]()
        with tempfile.TemporaryDirectory(prefix="reg2rg-") as folder:
            scan = Path(folder) / "ct.nii"  # a name that says nothing of the patient
            _write(volume, scan)
            for task in self.tasks:
                output = Path(folder) / f"{task}.nii"
                names |= self._lay(canvas, output, self._run(task, scan, output))
        notes = [*canvas.notes, *derive(canvas.bits, volume.spacing, frozenset(names))]
        given = self.regions & regions_of(frozenset(names))
        canvas.bits &= np.uint16(sum(1 << REGIONS.index(region) for region in given))
        notes += [f"{region}: {self._absent(region)}" for region in REGIONS if region not in given]
        fast = " at 3 mm" if self.fast else ""
        notes.append(f"made by TotalSegmentator {self.version}, {', '.join(self.tasks)}{fast} ({_LICENCE})")
        return RegionMask(canvas.bits, given, tuple(notes))

    def _run(self, task: str, scan: Path, output: Path) -> dict[int, str]:
        """Has the package write a task's label map to `output`; label → class."""
        fast = self.fast and bool(TASKS[task].fast)
        answer = self._worker().ask({"task": task, "fast": fast, "input": str(scan), "output": str(output)})
        return {int(label): name for label, name in answer["labels"].items()}

    def _worker(self) -> OtherPython:
        script = Path(__file__).with_name("_total_worker.py")
        worker = other_python("TotalSegmentator", self._python, script, (self._settings,), HOW, {})
        worker.mend = _MEND
        return worker

    def _lay(self, canvas: Canvas, output: Path, labels: Mapping[int, str]) -> frozenset[str]:
        """Lays a label map on the canvas; returns the classes that are known here."""
        try:
            stored = read_labels(output)
            turned = canvas.turned(stored, output)
        except UserError as error:
            raise UserError(f"TotalSegmentator's label map can't be used: {error.what}", self._python, _OTHER) from error
        if turned is None:
            raise UserError("TotalSegmentator gave a label map on another grid than the scan's", self._python, _OTHER)
        return canvas.add_named(stored, labels, output)

    def _absent(self, region: str) -> str:
        """Why a region isn't given."""
        if region in self.regions:
            return f"TotalSegmentator {self.version} has no class for it"
        giving = [task for task in TASKS if region in TASKS[task].regions]
        return f"not given by {', '.join(self.tasks)} (task {giving[0]})"


def _this_python() -> str:
    if importlib.util.find_spec("totalsegmentator") is None:
        raise UserError("TotalSegmentator isn't installed beside reg2rg, and no Python that has it is named", fix=HOW)
    return sys.executable


def _version(python: str) -> str:
    """The release that a Python has. Raises UserError where it has none."""
    try:
        done = subprocess.run(
            [str(Path(python).expanduser()), "-c", _PROBE], capture_output=True, encoding="utf-8", timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it doesn't answer"
        raise UserError(f"TotalSegmentator's Python can't be started ({reason})", python, HOW) from error
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no such package"])[-1]
        raise UserError(f"this Python doesn't have TotalSegmentator ({last[:200].rstrip('.')})", python, HOW)
    return done.stdout.strip()


def _device(name: str) -> str:
    """A device as the package calls it; its "gpu" is the CPU where there is none."""
    kind, _, number = name.partition(":")
    known = {"auto": "gpu", "gpu": "gpu", "cuda": "gpu", "cpu": "cpu", "mps": "mps"}
    if kind not in known or (number and (known[kind] != "gpu" or not number.isdigit())):
        raise UserError(f"the device '{name}' is unknown", "device", "Choose auto, cpu, cuda, cuda:N or mps.")
    return known[kind] + (f":{number}" if number else "")


def _write(volume: Volume, path: Path) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(volume.hu, volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1, strip_shears=True)
    image.to_filename(path)
