"""reg2rg: chest CT to grounded report, with every step a plugin.

The public names are loaded when they are used: importing the package imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "Reg2RG": "reg2rg.pipeline",
    "Volume": "reg2rg.contracts",
    "RegionMask": "reg2rg.contracts",
    "Study": "reg2rg.contracts",
    "GroundedReport": "reg2rg.contracts",
    "RegionSection": "reg2rg.contracts",
    "UserError": "reg2rg.errors",
    "REGIONS": "reg2rg.anatomy",
    "FINDINGS": "reg2rg.anatomy",
    "hookimpl": "reg2rg.hookspecs",
}
__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from .anatomy import FINDINGS, REGIONS
    from .contracts import GroundedReport, RegionMask, RegionSection, Study, Volume
    from .errors import UserError
    from .hookspecs import hookimpl
    from .pipeline import Reg2RG


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'reg2rg' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
