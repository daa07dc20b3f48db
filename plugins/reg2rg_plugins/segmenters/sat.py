"""Segmenter `sat`: SAT (Segment Anything by Text, Zhao et al.), a U-Net asked by text prompts, merged into the ten regions.

A volume goes to SAT's grid (`_sat_grid`), windows slide over it (`_sat_windows`) through the network (`_sat_queries`,
`_sat_unet`), the classes of a table of prompts (`_sat_classes`) are merged into regions, and these come back to the volume's
voxels. Weights are a folder of this machine, written by `reg2rg convert sat`; nothing is fetched and nothing unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reg2rg.anatomy import REGIONS, region_name
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError, suggest

from ..devices import device_of
from . import _sat_folder as folders
from ._sat_classes import TABLE, finish, plan, read_table
from ._sat_config import Sizes, check_window
from ._sat_grid import to_model, to_volume
from ._sat_windows import slide

VERSION = 1
ON_CPU = (192, 192, 64)  # a window of 288 × 288 × 96 voxels takes 3.4 times as much memory


class SAT:
    """The text-prompted segmenter; Nano or Pro is told from the weights.

    `weights`: the folder that `reg2rg convert sat` wrote; default: the variable REG2RG_SAT. `device`: cpu, cuda, cuda:1; auto
    is a GPU where there is one. `window`: voxels of the model's grid, multiples of 32; default: the trained one
    (288, 288, 96), on a CPU at most (192, 192, 64). `batch`: windows at a time. `regions`: only these; default: all that the
    table has. `classes`: a table of one's own, region → prompts (YAML or JSON). Raises UserError that says which files are
    missing or don't fit.
    """

    published = folders.Published

    def __init__(
        self,
        weights: str | None = None,
        device: str = "auto",
        window: tuple[int, int, int] | None = None,
        batch: int = 1,
        regions: tuple[str, ...] = (),
        classes: Path | None = None,
    ) -> None:
        if batch < 1:
            raise UserError(f"batch is {batch}", "sat", "One window at a time is the least: batch=1.")
        table = TABLE if classes is None else read_table(classes)
        self.plan = plan(table, _names(regions))
        self.regions = self.plan.regions
        if not self.regions:
            raise UserError("the table of prompts has none of the regions asked for", "sat", "See: reg2rg plugins show sat")
        self.folder = folders.find(weights)
        config, self.sizes = folders.read_config(self.folder)
        folders.check(self.folder, self.sizes)
        self.device, self.batch = device_of(device), batch
        self.window = _window(window, self.sizes, self.device)
        self.queries = folders.queries(self.folder, self.plan.prompts, self.sizes.width)
        facts = [self.plan.prompts, self.plan.bits.tolist(), sorted(self.regions), self.sizes.to_json(), self.window]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        self.fingerprint = f"sat-{VERSION} {self.sizes.name} weights={config.get('digest')} settings={digest}"

    def segment(self, volume: Volume) -> RegionMask:
        """The regions on the volume's grid; all that were asked for are given, an empty one is not in the field of view."""
        image, frame = to_model(volume.hu, volume.spacing, self.sizes.spacing, self.sizes.clip)
        try:
            classes = slide(torch.from_numpy(image).to(self.device), self.plan.bits, self._run, self.window, self.batch)
        except RuntimeError as error:  # torch's own for memory, a plain one on a CPU
            if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
                raise
            what = f"the memory of '{self.device}' doesn't hold windows of {'×'.join(map(str, self.window))} voxels"
            fix = "Take smaller ones, such as --set window=[192,192,64], batch 1, fewer regions, or another device."
            raise UserError(what, volume.source, fix) from error
        bits = to_volume(finish(classes, self.regions, self.sizes.spacing), frame)
        notes = ["pleura: a shell around the lungs' surface, with SAT's 'lung effusion'; SAT has no class for it"]
        return RegionMask(bits, self.regions, tuple(notes) if "pleura" in self.regions else ())

    def _run(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The network's voxel and query vectors; on a GPU in half precision, as published."""
        stamp = (self.folder / folders.WEIGHTS).stat().st_mtime_ns
        network = folders.load(self.folder, self.sizes, self.device, stamp)
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            found: tuple[Tensor, Tensor] = network(windows, self.queries.to(self.device))
        return found


def _names(regions: Sequence[str]) -> frozenset[str]:
    """The regions asked for by any of their names; all where none is. Raises UserError for an unknown one."""
    known = {text: region_name(text) for text in regions}
    for text, name in known.items():
        if name is None:
            raise UserError(f"no region is called '{text}'", "sat", suggest(text, REGIONS))
    return frozenset(name for name in known.values() if name) or frozenset(REGIONS)


def _window(given: tuple[int, int, int] | None, sizes: Sizes, device: torch.device) -> tuple[int, int, int]:
    """The window, or a default for the device. Raises UserError where the network can't take it."""
    if given is None:
        x, y, z = sizes.window
        return (min(x, ON_CPU[0]), min(y, ON_CPU[1]), min(z, ON_CPU[2])) if device.type == "cpu" else (x, y, z)
    try:
        check_window(given)
    except ValueError as error:
        raise UserError(
            f"this isn't a window that SAT can take: {error}", "sat", "For example: --set window=[192,192,64]"
        ) from error
    return given
