"""Segmentation and storing at data-set scale: a folder of scans → a store.

`run` plans, skips, sums up; `study` does one study; `qc` measures its quality, `qc_rules` says what is odd, `qc_table` keeps
it; `pool` spreads studies over processes and survives their deaths.
"""

from .qc_rules import explain
from .qc_table import read_table
from .run import Summary, locked, preprocess
from .study import Outcome, Settings

__all__ = ["Outcome", "Settings", "Summary", "explain", "locked", "preprocess", "read_table"]
