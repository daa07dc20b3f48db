"""A third party's package of segmenters for tests of `preprocess`, installed by putting its folder on the path."""

from __future__ import annotations

from pathlib import Path

CODE = '''
import os
import time
from pathlib import Path

import numpy as np

from reg2rg.contracts import RegionMask
from reg2rg.hookspecs import hookimpl


@hookimpl
def register_segmenters(register):
    for name in ("Dense", "Empty", "Shape", "Crash", "Killer", "Slow", "Reader", "Given"):
        register(name.lower(), f"tested_segmenters:{name}")


class Dense:
    """Soft tissue is the heart, the rest the lung."""

    regions = frozenset({"heart", "lung"})
    fingerprint = "dense-1"

    def __init__(self, limit: int = -400):
        self.limit = limit

    def segment(self, volume):
        inside = volume.hu > self.limit
        return RegionMask.from_masks({"heart": inside, "lung": ~inside}, ("rough",))


class Empty(Dense):
    def segment(self, volume):
        return RegionMask(np.zeros(volume.shape, np.uint16), self.regions)


class Shape(Dense):
    def segment(self, volume):
        return RegionMask(np.ones((2, 2, 2), np.uint16), frozenset({"abdomen"}))


class Crash(Dense):
    """A plugin with a fault."""

    def segment(self, volume):
        if "bad" in volume.source:
            raise ValueError("index 7 is out of bounds")
        return super().segment(volume)


class Killer(Dense):
    """Dies by signal 9: each time on a "bad" study, once on a "weak" one, as an out-of-memory killer would."""

    def segment(self, volume):
        mark = Path(os.environ["MARKS"]) / volume.source
        if "bad" in volume.source or ("weak" in volume.source and not mark.exists()):
            with mark.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), 9)
        return super().segment(volume)


class Slow(Dense):
    def segment(self, volume):
        time.sleep(float(os.environ.get("SLOW", "0.3")))
        return super().segment(volume)


class Given(Dense):
    """Bit masks of a file, as a segmenter that reads masks does."""

    def __init__(self, masks: Path | None = None):
        self.masks = masks

    def for_study(self, masks):
        return Given(masks)

    def segment(self, volume):
        import nibabel as nib

        return RegionMask(np.asarray(nib.load(self.masks).dataobj).astype(np.uint16), frozenset({"abdomen", "bone"}))


class Reader(Dense):
    """Says how many threads its process may use."""

    def segment(self, volume):
        mask = super().segment(volume)
        return RegionMask(mask.bits, mask.given, (os.environ.get("OMP_NUM_THREADS", "unset"),))
'''


def install(folder: Path) -> Path:
    """Writes the package and its metadata into `folder`, for PYTHONPATH."""
    info = folder / "tested_segmenters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tested-segmenters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reg2rg]\ntested = tested_segmenters\n")
    (folder / "tested_segmenters.py").write_text(CODE)
    return folder
