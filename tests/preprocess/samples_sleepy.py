"""A third party's segmenter that takes its time, so that a run can be disturbed before it ends."""

from __future__ import annotations

from pathlib import Path

CODE = '''
import os
import time

from reg2rg.hookspecs import hookimpl
from reg2rg_plugins.segmenters.precomputed import Precomputed


@hookimpl
def register_segmenters(register):
    register("sleepy", "tested_sleepy:Sleepy")


class Sleepy(Precomputed):
    """Reads masks after a nap."""

    def for_study(self, masks):
        bound = super().for_study(masks)
        bound.__class__ = Sleepy
        return bound

    def segment(self, volume):
        time.sleep(float(os.environ["NAP"]))
        return super().segment(volume)
'''


def install(folder: Path) -> Path:
    """Writes the package and its metadata into `folder`, for PYTHONPATH."""
    info = folder / "tested_sleepy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tested-sleepy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reg2rg]\nsleepy = tested_sleepy\n")
    (folder / "tested_sleepy.py").write_text(CODE)
    return folder
