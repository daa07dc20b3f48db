"""Segmentation and storing at data-set scale: a folder of scans → a store.

`run` plans, skips, sums up; `study` does one study; `pool` spreads studies over processes and survives their deaths.
"""

from .run import Summary, preprocess
from .study import Outcome, Settings

__all__ = ["Outcome", "Settings", "Summary", "preprocess"]
