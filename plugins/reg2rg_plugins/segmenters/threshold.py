"""Segmenter `threshold`: classical rules on Hounsfield units, no weights. Rough, and plain about what it can't tell.

Air inside the body gives lungs and airway (`_air`, `_airway`, `_lungs`), brightness and the spine's place the bones
(`_bone`), the space between the lungs heart and mediastinum (`_heart`), distance to them pleura, abdomen and breasts
(`_wall`). Shapes are found on a grid of about 3 mm (`_grid`) and refined to the volume's own.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

from ._air import split_air
from ._airway import find_airway, find_carina
from ._bone import find_skeleton
from ._grid import Grid, Mask, coarse, dilate, erode, refine
from ._heart import Chest, between_lungs, chest_hull, dome_tops, find_heart, find_mediastinum, heart_floor
from ._lungs import part_lungs, set_apart
from ._wall import find_abdomen, find_breasts, find_pleura

VERSION = 2
AIRWAY = "trachea and bronchie"
ABOVE_BASES = ("breast", "esophagus", "heart", "mediastinum", "thyroid", AIRWAY)
CUT_MM2 = 100.0  # a lung that the volume's end cuts shows at least this there
BASES_MM, BASES_ML = 95.0, 900.0  # lung bases on top of an abdominal CT are lower and smaller than this


@dataclasses.dataclass(slots=True, eq=False)
class Result:
    """Coarse masks by region (an empty one: not in the field of view) and remarks; what is in neither isn't told."""

    masks: dict[str, Mask]
    notes: list[str]

    def take(self, region: str, mask: Mask, otherwise: str) -> None:
        """Takes a mask that holds something; else remarks why the region isn't told."""
        if mask.any():
            self.masks[region] = mask
        else:
            self.notes.append(f"{region}: {otherwise}")


class Threshold:
    """Classical segmenter of the ten regions.

    Oesophagus and thyroid are only ever told to be out of view; where they could be in view they aren't given.
    `grid_mm` is the blocks' size on which shapes are found, `lung_hu` the lung's edge. Deterministic.
    """

    regions: frozenset[str] = frozenset(REGIONS)

    def __init__(self, grid_mm: float = 3.0, lung_hu: int = -450) -> None:
        if not 1.0 <= grid_mm <= 6.0:
            raise UserError(f"grid_mm is {grid_mm}", fix="Choose 1 to 6 mm; 3 is tried and tested.")
        self.grid_mm, self.lung_hu = float(grid_mm), int(lung_hu)
        self.fingerprint = f"threshold-{VERSION} grid_mm={self.grid_mm:g} lung_hu={self.lung_hu}"

    def segment(self, volume: Volume) -> RegionMask:
        """Region masks on the volume's grid; raises UserError where no lung is found."""
        grid = coarse(volume.hu, volume.spacing, self.grid_mm)
        body, air = split_air(grid)
        airway = find_airway(volume.hu, volume.spacing, grid, body, air) if air.any() and not is_low(air, grid) else None
        chest = assemble(volume.hu, grid, body, air, airway) if air.any() else None
        if chest is None:
            raise UserError(
                "no lungs found: not a chest CT, or the lungs are not in view",
                volume.source,
                "Give a chest CT, or masks with --segmenter precomputed --masks DIR.",
            )
        result = Result({"lung": chest.lungs, "pleura": find_pleura(chest)}, [])
        result.take("bone", chest.bone, "no bone was found")
        if only_bases(chest):
            name_out_of_view(result, chest)
        else:
            find_chest(result, chest, airway is not None)
        return self._pack(volume, chest, result, airway)

    def _pack(self, volume: Volume, chest: Chest, result: Result, airway: Mask | None) -> RegionMask:
        """Refines each mask to the volume's voxels and packs them into bits."""
        grid = chest.grid
        bits = np.zeros(volume.shape, dtype=np.uint16)
        tissue = volume.hu > -150  # heart and vessels end where the lung begins
        for region, mask in result.masks.items():
            full = refine(mask, grid)
            if region == "lung":
                full = self._lung_edge(volume.hu, mask, grid, airway)
                set_apart(full, chest.right, chest.left, grid)
            elif region in ("heart", "mediastinum"):
                full &= tissue
            bits |= full.astype(np.uint16) << np.uint16(REGIONS.index(region))
        if airway is not None:
            bits |= airway.astype(np.uint16) << np.uint16(REGIONS.index(AIRWAY))
        given = set(result.masks) | ({AIRWAY} if airway is not None else set())
        return RegionMask(bits, frozenset(given), tuple(result.notes))

    def _lung_edge(self, hu: np.ndarray, lungs: Mask, grid: Grid, airway: Mask | None) -> Mask:
        """The lungs at full resolution: their inside with all vessels, and at the edge what is dark."""
        inside = refine(erode(lungs, 5.0, grid.spacing), grid)
        around = refine(lungs if grid.shape == lungs.shape else dilate(lungs, max(grid.spacing), grid.spacing), grid)
        around &= hu < self.lung_hu
        around |= inside
        if airway is not None:
            around &= ~airway
        return around


def is_low(lungs: Mask, grid: Grid) -> bool:
    """Whether little more than the lungs' lower ends is in view: cut above, not below, and low."""
    z = np.flatnonzero(lungs.any(axis=(0, 1)))
    cut_above, cut_below = z[-1] == lungs.shape[2] - 1, z[0] == 0
    return bool(cut_above and not cut_below and z.size * grid.spacing[2] < BASES_MM and lungs.sum() * grid.ml < BASES_ML)


def only_bases(chest: Chest) -> bool:
    """Whether the volume ends above at the diaphragm's domes, so that no heart is in view."""
    if not is_low(chest.lungs, chest.grid):
        return False
    tops = [z for _, z in dome_tops(chest).values()]
    return not tops or (chest.body.shape[2] - min(tops)) * chest.grid.spacing[2] < 15.0


def assemble(hu: np.ndarray, grid: Grid, body: Mask, air: Mask, airway: Mask | None) -> Chest | None:
    """Lungs, bones and spine on the coarse grid; None where no lung is left without the airway."""
    trunk = np.zeros_like(body) if airway is None else coarse(airway.view(np.int8), grid.voxel, blocks=grid.step).hu >= 0.4
    right, left = part_lungs(air, trunk, body, grid)
    lungs = right | left
    if not lungs.any():
        return None
    hull = chest_hull(right, left, grid.spacing)
    between = between_lungs(right, left, grid) & hull & ~lungs & ~trunk
    bone, spine = find_skeleton(hu, grid, body, lungs, hull, between)
    return Chest(grid, body, right, left, trunk, bone, hull, spine)


def name_out_of_view(result: Result, chest: Chest) -> None:
    """Lung bases on top of an abdominal CT: what lies above them is out of view."""
    result.notes.append("only the lung bases are in view: an abdominal CT")
    for region in ABOVE_BASES:
        result.masks[region] = np.zeros_like(chest.body)
    floor = np.full(chest.body.shape[0], chest.body.shape[2])  # the domes may be cut: all that isn't lung is abdomen
    result.take("abdomen", find_abdomen(chest, floor, result.masks["heart"]), "no soft tissue was found under the lungs")


def find_chest(result: Result, chest: Chest, airway: bool) -> None:
    """Heart, mediastinum, abdomen, breasts and what can be said of the others."""
    empty, pixel = np.zeros_like(chest.body), chest.grid.spacing[0] * chest.grid.spacing[1]
    cut_above, cut_below = (chest.lungs[:, :, end].sum() * pixel > CUT_MM2 for end in (-1, 0))
    floor, carina = heart_floor(chest), find_carina(chest.airway)
    heart = find_heart(chest, floor, carina)
    mediastinum = find_mediastinum(chest, floor, heart)
    result.take("heart", heart, "no bulk of soft tissue was found between the lungs")
    result.take("mediastinum", mediastinum, "no soft tissue was found between the lungs")
    if floor is None and cut_below:
        result.masks["abdomen"] = empty
    else:
        plane = floor if floor is not None else np.full(empty.shape[0], np.flatnonzero(chest.lungs.any(axis=(0, 1)))[0])
        result.take("abdomen", find_abdomen(chest, plane, heart | mediastinum), "no soft tissue was found under the lungs")
    breasts = find_breasts(chest, floor, carina) if heart.any() or floor is not None else empty
    result.take("breast", breasts, "too little soft tissue lies before the ribs to call it breast")
    low = is_low(chest.lungs, chest.grid)
    for region, out_of_view, reason in (
        (AIRWAY, low, "no trachea was found by region growing"),
        ("thyroid", cut_above, "these rules can't tell it from muscle and vessels"),
        ("esophagus", False, "these rules can't tell it from the tissue around it"),
    ):
        if out_of_view:
            result.masks[region] = empty
        elif region != AIRWAY or not airway:
            result.notes.append(f"{region}: {reason}")
