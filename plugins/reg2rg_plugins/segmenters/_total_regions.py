"""What TotalSegmentator's classes don't tell by themselves: the aorta's two parts, and the pleura.

In: bits with the classes' own ones set (`_total_classes`). Out: bits of the ten regions alone, and remarks.
"""

from __future__ import annotations

import numpy as np

from reg2rg.anatomy import REGIONS

from ._grid import coarse, refine
from ._pleura import PLEURA_MM, shell
from ._total_classes import AORTA, LOBES, T12, regions_of

_BIT = {region: np.uint16(1 << i) for i, region in enumerate(REGIONS)}
_ALL = np.uint16((1 << len(REGIONS)) - 1)
SHORT = 0.99  # voxels: unlike `_wall`'s, this shell doesn't reach sideways into voxels that are wider than itself


def part_aorta(bits: np.ndarray, abdomen: bool) -> None:
    """The aorta above vertebra T12's lower end is mediastinum, below it abdomen (if that is given); in place (X, Y, Z).

    T12's is where it passes the diaphragm. Without T12 in view all of it is mediastinum where there are lungs, else abdomen.
    """
    slices = range(bits.shape[2])
    seen = [int(np.bitwise_or.reduce(bits[..., z], axis=None)) for z in slices]
    t12 = [z for z in slices if seen[z] & T12]
    lungs = any(word & int(_BIT["lung"]) for word in seen)
    border = t12[0] if t12 else 0 if lungs else bits.shape[2]
    below = _BIT["abdomen"] if abdomen else np.uint16(0)
    for z in slices:
        if seen[z] & AORTA:
            plane = bits[..., z]
            region = _BIT["mediastinum"] if z >= border else below
            np.bitwise_or(plane, region, out=plane, where=plane & np.uint16(AORTA) != 0)
    bits &= _ALL


def add_pleura(bits: np.ndarray, spacing: tuple[float, float, float]) -> bool:
    """Adds a shell around the lungs' surface to the pleura, without bone and airway; in place (X, Y, Z).

    It is found on a grid of about 3 mm. Effusions that a class tells are there already. Returns whether there are lungs.
    """
    lungs = (bits & _BIT["lung"] != 0).view(np.int8)
    if not lungs.any():
        return False
    grid = coarse(lungs, spacing)
    pleura = refine(shell(grid.hu >= 0.5, grid.spacing, SHORT), grid)
    hard = _BIT["bone"] | _BIT["trachea and bronchie"]
    for z in range(bits.shape[2]):
        plane = bits[..., z]
        np.bitwise_or(plane, _BIT["pleura"], out=plane, where=pleura[..., z] & (plane & hard == 0))
    return True


def derive(bits: np.ndarray, spacing: tuple[float, float, float], names: frozenset[str]) -> tuple[str, ...]:
    """Both, in place, for masks of the classes `names`; returns remarks on what these tell only in part."""
    part_aorta(bits, "abdomen" in regions_of(names))
    derived = bool(names & set(LOBES)) and "pleura" not in names and add_pleura(bits, spacing)
    notes = []
    if derived:
        rest = "" if "pleural_effusion" in names else "; effusions aren't followed (task pleural_pericard_effusion)"
        outside, inside = PLEURA_MM
        notes.append(f"pleura: derived, a shell of {outside:g} mm outside and {inside:g} mm inside of the lungs{rest}")
    if "pleural_effusion" in names and not names & {*LOBES, "pleura"}:
        notes.append("pleura: its effusions only, since no lung is given")
    if "aorta" in names and "mediastinum" not in names:
        notes.append("mediastinum: its great vessels only, without nodes, thymus and fat (task trunk_cavities)")
    if "trachea" in names and not names & {"lung_airways", "lung_trachea_bronchia"}:
        notes.append("trachea and bronchie: the trachea only (task lung_vessels)")
    return tuple(notes)
