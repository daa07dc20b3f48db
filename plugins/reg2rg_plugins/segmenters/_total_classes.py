"""TotalSegmentator's classes → the ten regions, as data; class names of all its releases (v1, v2, v3 and renamed tasks).

Two classes need more than a name. The aorta lies in two regions and is parted at vertebra T12 (`_total_regions`), so both have
bits of their own while a mask is in the making. No class is the pleura, which is derived there from the lungs.
"""

from __future__ import annotations

import functools

from reg2rg.anatomy import REGIONS, region_name

AORTA, T12 = 1 << len(REGIONS), 1 << (len(REGIONS) + 1)  # bits above the regions', removed at the end


def _sides(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for name in names for side in ("left", "right"))


LOBES = (*_sides("lung_upper_lobe", "lung_lower_lobe"), "lung_middle_lobe_right")
VESSELS = (
    "aorta",
    "superior_vena_cava",
    "pulmonary_vein",
    "pulmonary_artery",
    "brachiocephalic_trunk",
    *_sides("brachiocephalic_vein", "subclavian_artery", "common_carotid_artery"),
)

# Region → classes, joined. Tasks: total (total_v1, total_v3, and its crops), else the one that is named.
REGION_CLASSES: dict[str, tuple[str, ...]] = {
    "abdomen": (
        *("liver", "spleen", "gallbladder", "stomach", "pancreas", "small_bowel", "duodenum", "colon"),
        *("urinary_bladder", "prostate", "portal_vein_and_splenic_vein", "inferior_vena_cava"),
        *_sides("kidney", "adrenal_gland", "kidney_cyst"),
        "abdominal_cavity",  # trunk_cavities
    ),
    "bone": (
        *("sternum", "costal_cartilages", "sacrum", "skull"),
        *_sides("clavicula", "scapula", "humerus", "hip", "femur"),
        *(f"rib_{side}_{i}" for side in ("left", "right") for i in range(1, 13)),
        *(f"vertebrae_{name}{i}" for name, last in (("C", 7), ("T", 12), ("L", 6), ("S", 1)) for i in range(1, last + 1)),
    ),
    "breast": ("breast",),  # breasts
    "esophagus": ("esophagus",),
    "heart": (
        *("heart", "atrial_appendage_left", "heart_myocardium"),
        *_sides("heart_atrium", "heart_ventricle"),
        "pericardium",  # trunk_cavities
        "pericardial_effusion",  # pleural_pericard_effusion
    ),
    "lung": LOBES,
    "mediastinum": (*VESSELS, "mediastinum"),  # trunk_cavities: the space itself
    "pleura": ("pleural_effusion",),  # pleural_pericard_effusion
    "thyroid": ("thyroid_gland",),
    "trachea and bronchie": (
        "trachea",
        "lung_airways",  # lung_vessels
        "lung_trachea_bronchia",  # lung_vessels_LEGACY, and lung_vessels before it was renamed
    ),
}

# Classes of the same tasks that lie in none of the ten regions, or in one that another class tells better.
OTHER_CLASSES: frozenset[str] = frozenset(
    (
        *("brain", "face", "spinal_cord", "thoracic_cavity", "lung_pleural"),
        *("lung_vessels", "lung_airways_wall", "lung_arteries", "lung_veins"),
        *_sides(
            "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas", "iliac_artery", "iliac_vena"
        ),
    )
)


@functools.cache
def _words() -> dict[str, int]:
    """Class → bits."""
    words = dict.fromkeys(OTHER_CLASSES, 0)
    for region, names in REGION_CLASSES.items():
        for name in names:
            words[name] = words.get(name, 0) | 1 << REGIONS.index(region)
    words["aorta"] = AORTA
    words["vertebrae_T12"] |= T12
    return words


def is_class(name: str) -> bool:
    """Whether `name` is a class of the table."""
    return name in _words()


def word(name: str) -> int | None:
    """The bits of a class or a region by its name (0: in none of the ten regions), or None where it is neither."""
    if (bits := _words().get(name)) is not None:
        return bits
    region = region_name(name)
    return None if region is None else 1 << REGIONS.index(region)


def regions_of(names: frozenset[str]) -> frozenset[str]:
    """The regions that classes and regions of these names tell, the pleura with the lungs."""
    known = {r for r in REGIONS if names & set(REGION_CLASSES[r])} | {r for n in names if (r := region_name(n))}
    return frozenset(known | ({"pleura"} if names & set(LOBES) else set()))
