"""A segmenter: a CT volume to masks of the regions that it can tell (here: bone, by one threshold).

In: `Volume`, int16 HU (X, Y, Z) in RAS+. Out: `RegionMask` on the same grid.
"""

from __future__ import annotations

from reg2rg.contracts import RegionMask, Volume


class BoneThreshold:
    """Everything denser than `threshold` HU is bone."""

    regions = frozenset({"bone"})

    def __init__(self, threshold: int = 200) -> None:
        self.threshold = threshold

    @property
    def fingerprint(self) -> str:
        """Changes whenever the masks would, so that stores know what they hold."""
        return f"bone-threshold-1:{self.threshold}"

    def segment(self, volume: Volume) -> RegionMask:
        """Masks of `regions`; what they can't say goes into `notes`."""
        return RegionMask.from_masks({"bone": volume.hu > self.threshold}, notes=("bone is one threshold on HU",))
