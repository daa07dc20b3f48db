"""The ten regions, the eighteen findings, their aliases and colours: pure data.

Regions are RadGenome-ChestCT's, findings CT-RATE's; both in the order that files and bit masks use.
"""

from __future__ import annotations

# Bit i of a region bitmask is REGIONS[i]; "bronchie" is the written name of the data set and of published prompts.
REGIONS: tuple[str, ...] = (
    "abdomen",
    "bone",
    "breast",
    "esophagus",
    "heart",
    "lung",
    "mediastinum",
    "pleura",
    "thyroid",
    "trachea and bronchie",
)

# Read in data files (mask names, CSV cells), never when scoring what a model wrote.
REGION_ALIASES: dict[str, str] = {
    "trachea and bronchi": "trachea and bronchie",
    "trachea": "trachea and bronchie",
    "lungs": "lung",
    "bones": "bone",
    "breasts": "breast",
    "oesophagus": "esophagus",
    "pleurae": "pleura",
}

FINDINGS: tuple[str, ...] = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

# The region whose section of a report states the finding (used by `pretrain` and by the loss weight on findings).
FINDING_REGION: dict[str, str] = {
    "Medical material": "mediastinum",
    "Arterial wall calcification": "mediastinum",
    "Cardiomegaly": "heart",
    "Pericardial effusion": "heart",
    "Coronary artery wall calcification": "heart",
    "Hiatal hernia": "esophagus",
    "Lymphadenopathy": "mediastinum",
    "Emphysema": "lung",
    "Atelectasis": "lung",
    "Lung nodule": "lung",
    "Lung opacity": "lung",
    "Pulmonary fibrotic sequela": "lung",
    "Pleural effusion": "pleura",
    "Mosaic attenuation pattern": "lung",
    "Peribronchial thickening": "trachea and bronchie",
    "Consolidation": "lung",
    "Bronchiectasis": "trachea and bronchie",
    "Interlobular septal thickening": "lung",
}

# One colour a region (sRGB hex): distinct from each other on grey slices, and readable as a text background.
PALETTE: dict[str, str] = {
    "abdomen": "#e69f00",
    "bone": "#f0e442",
    "breast": "#ff8fc7",
    "esophagus": "#b07aff",
    "heart": "#ff4d4d",
    "lung": "#56b4e9",
    "mediastinum": "#2fbf71",
    "pleura": "#00c2c7",
    "thyroid": "#c49a6c",
    "trachea and bronchie": "#8fd14f",
}


def region_name(text: str) -> str | None:
    """The region that `text` (a mask's file name, a CSV cell) names, or None. Case, blanks and underscores are free."""
    key = " ".join(text.strip().lower().replace("_", " ").split())
    key = REGION_ALIASES.get(key, key)
    return key if key in REGIONS else None
