"""SAT's prompts and the region that each belongs to: a table, and what can't be said by a table (pleura, aorta).

SAT has no class "pleura": a shell around the lungs' surface stands for it, joined with SAT's "lung effusion". One class, the
aorta, lies in two regions: below the lungs' lower end it is the abdomen's, above it the mediastinum's. How the data set's own
masks were merged from SAT's classes is not published.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from reg2rg.anatomy import REGIONS, region_name
from reg2rg.errors import UserError, suggest

from ._pleura import shell

Table = Mapping[str, tuple[str, ...]]
SHARED = ("abdomen", "mediastinum")  # a prompt of both is parted at the lungs' lower end
SHARED_BIT = np.uint16(1 << len(REGIONS))


def _sides(*names: str) -> tuple[str, ...]:
    return tuple(f"{side} {name}" for name in names for side in ("left", "right"))


# The prompts seen under each region in RadGenome-ChestCT's location file, lower case. Single ribs and vertebrae are left out:
# "rib" and the three "… vertebrae" hold them, and every prompt costs memory.
TABLE: Table = {
    "abdomen": (
        *("abdominal tissue", "liver", "caudate lobe", "liver vessel", "spleen", "pancreas", "gallbladder", "stomach"),
        *("colon", "intestine", "small bowel", "duodenum", *_sides("kidney", "adrenal gland")),
        *("aorta", "celiac trunk", "renal artery", "portal vein and splenic vein"),
    ),
    "bone": (
        *("bone", "rib", "sternum", "manubrium of sternum", *_sides("clavicle", "scapula", "humerus")),
        *("cervical vertebrae", "thoracic vertebrae", "lumbar vertebrae", "spinal canal"),
    ),
    "breast": ("breast", *_sides("breast")),
    "esophagus": ("esophagus",),
    "heart": ("heart", "heart tissue", *_sides("heart atrium", "heart ventricle"), "heart ascending aorta"),
    "lung": ("lung", *_sides("lung", "lung upper lobe", "lung lower lobe"), "right lung middle lobe"),
    "mediastinum": (
        *("mediastinal tissue", "aorta", "pulmonary artery", "pulmonary vein", "superior vena cava"),
        *(*_sides("subclavian artery"), "thymus"),
    ),
    "pleura": ("lung effusion",),
    "thyroid": ("thyroid", "thyroid gland", *_sides("thyroid")),
    "trachea and bronchie": ("trachea", "bronchie", "trachea and bronchie"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to ask: `prompts` and the `bits` (uint16) of each; `regions` that come out of it."""

    prompts: tuple[str, ...]
    bits: np.ndarray
    regions: frozenset[str]


def plan(table: Table, regions: Collection[str]) -> Plan:
    """The prompts of `regions`, and the lungs' where pleura or a shared prompt needs them. A region without any is left out."""
    bits: dict[str, int] = {}
    for region, prompts in table.items():
        for prompt in prompts:
            bits[prompt] = bits.get(prompt, 0) | _bit(region)
    both = _bit(SHARED[0]) | _bit(SHARED[1])
    shared = {prompt for prompt, of in bits.items() if of & both == both}
    bits |= {prompt: bits[prompt] & ~both | int(SHARED_BIT) for prompt in shared}
    given = {region for region in regions if table.get(region) or (region == "pleura" and table.get("lung"))}
    wanted = sum(_bit(region) for region in given) | (int(SHARED_BIT) if given & set(SHARED) else 0)
    if "pleura" in given or any(bits[prompt] & wanted for prompt in shared):
        wanted |= _bit("lung")
    asked = {prompt: of & wanted for prompt, of in bits.items() if of & wanted}
    return Plan(tuple(asked), np.array(list(asked.values()), dtype=np.uint16), frozenset(given))


def finish(bits: np.ndarray, regions: Collection[str], spacing: tuple[float, float, float]) -> np.ndarray:
    """Merged prompts → the regions, both uint16 (X, Y, Z): shared prompts parted, pleura added, what wasn't asked removed.

    Where no lung is found, as in an abdominal CT, what is shared belongs to the abdomen.
    """
    lungs = bits & _bit("lung") != 0
    out = bits & np.uint16((1 << len(REGIONS)) - 1)
    slices = np.flatnonzero(lungs.any(axis=(0, 1)))
    floor = int(slices[0]) if slices.size else bits.shape[2]
    shared = bits & SHARED_BIT != 0
    for region, part in zip(SHARED, (slice(0, floor), slice(floor, None)), strict=True):
        out[..., part] |= shared[..., part].astype(np.uint16) * np.uint16(_bit(region))
    if "pleura" in regions and slices.size:
        pleura = shell(lungs, spacing)
        pleura &= out & np.uint16(_bit("bone") | _bit("trachea and bronchie")) == 0
        out |= pleura.astype(np.uint16) * np.uint16(_bit("pleura"))
    return out & np.uint16(sum(_bit(region) for region in regions))


def _bit(region: str) -> int:
    return 1 << REGIONS.index(region)


def read_table(path: Path) -> Table:
    """A table of one's own: region → prompts, YAML or JSON. Raises UserError where it can't be read or a region is unknown."""
    import yaml

    fix = "Write one line a region, such as `lung: [left lung, right lung]`."
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError("the table of prompts can't be read", path, fix) from error
    if not isinstance(data, dict) or not data:
        raise UserError("the table of prompts isn't a mapping", path, fix)
    table: dict[str, tuple[str, ...]] = {}
    for name, value in data.items():
        prompts = value if isinstance(value, list) else [value]
        region = region_name(str(name))
        if region is None:
            raise UserError(f"the table of prompts has the unknown region '{name}'", path, suggest(str(name), REGIONS))
        if not prompts or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
            raise UserError(f"the prompts of '{name}' aren't texts", path, fix)
        told = (*table.get(region, ()), *(" ".join(prompt.lower().split()) for prompt in prompts))
        table[region] = tuple(dict.fromkeys(told))
    return table
