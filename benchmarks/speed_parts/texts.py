"""Report pairs of realistic length from a seeded grammar: 150–250 words, about half of the sentences unlike any other."""

from __future__ import annotations

import random

from reg2rg.contracts import GroundedReport

PLACES = (
    "right upper lobe", "left upper lobe", "right lower lobe", "left lower lobe", "middle lobe", "lingula", "right hilum",
    "left hilum", "aortic arch", "descending aorta", "left ventricle", "right atrium", "carina", "main bronchi",
    "prevascular space", "paratracheal station", "axilla", "thyroid gland", "sternum", "thoracic spine", "eighth rib",
    "left scapula", "liver dome", "spleen", "left adrenal gland", "right kidney", "gallbladder fossa", "gastric fundus",
    "distal esophagus", "pleural base", "costophrenic recess", "minor fissure", "breast parenchyma", "chest wall",
)  # fmt: skip
THINGS = (
    "nodule", "consolidation", "ground-glass opacity", "atelectasis", "fibrotic band", "bronchiectasis", "calcification",
    "effusion", "thickening", "lymph node", "cyst", "hemangioma", "emphysematous change", "mosaic pattern",
    "tree-in-bud opacity", "mass", "stent", "catheter", "fracture", "osteophyte", "hernia", "lesion", "reticulation",
    "honeycombing", "air trapping", "pneumatocele", "scar", "granuloma", "nodularity", "aneurysm",
)  # fmt: skip
KINDS = (
    "small", "large", "mild", "moderate", "severe", "subpleural", "peripheral", "central", "calcified", "noncalcified",
    "spiculated", "lobulated", "well-defined", "ill-defined", "stable", "new", "residual", "chronic", "patchy", "linear",
    "focal", "diffuse", "bilateral", "unilateral", "millimetric", "cavitary", "cystic", "hypodense", "hyperdense",
    "nonspecific", "partially calcified", "slightly enlarged", "postoperative", "degenerative", "pleural-based", "fissural",
)  # fmt: skip
OPENINGS = (
    "There is a {kind} {thing} in the {place}", "A {kind} {thing} was observed at the level of the {place}",
    "In the {place}, a {kind} {thing} is seen", "{kind} {thing} is noted adjacent to the {place}",
    "The {place} shows a {kind} {thing}", "Evaluation of the {place} reveals a {kind} {thing}",
)  # fmt: skip
TAILS = (
    ", measuring {a}.{b} mm in diameter", ", approximately {a}x{c} mm in size", ", without significant change",
    ", which may represent sequelae", ", in favour of ({thing}?)", " (series {b}, image {a})",
    ", and follow-up is recommended", ", stable when compared with the previous examination of {c}/{b}/2021", "", "",
)  # fmt: skip
NORMAL = (
    "No pathologically enlarged lymph nodes are detected in the {place}.",
    "The {place} appears normal in size and configuration.", "No {thing} was detected in the {place}.",
    "The {place} is unremarkable within the limits of this non-contrast examination.", "There is no evidence of {thing}.",
    "Heart contour and size are normal.", "Trachea and both main bronchi are open.",
    "Mediastinal structures cannot be evaluated optimally without contrast material.",
    "No lytic or destructive lesion is observed.",
    "Aeration of both lung parenchyma is normal, and no nodular or infiltrative lesion is detected.",
    "Calibration of the mediastinal major vascular structures is natural.",
    "Pericardial and pleural effusion were not observed.",
)  # fmt: skip


def _sentence(rng: random.Random) -> str:
    words = {
        "place": rng.choice(PLACES),
        "thing": rng.choice(THINGS),
        "kind": rng.choice(KINDS),
        "a": rng.randint(2, 38),
        "b": rng.randint(1, 9),
        "c": rng.randint(1, 28),
    }
    text = rng.choice(NORMAL) if rng.random() < 0.45 else rng.choice(OPENINGS) + rng.choice(TAILS) + "."
    text = text.format(**words)
    return text[0].upper() + text[1:]


def pairs(count: int, seed: int) -> list[GroundedReport]:
    """Reports of 12–22 sentences, each with a prediction that keeps about a third of them and words the others anew."""
    rng = random.Random(seed)
    out = []
    for number in range(count):
        reference = [_sentence(rng) for _ in range(rng.randint(12, 22))]
        written = [s if rng.random() < 0.35 else _sentence(rng) for s in reference]
        if rng.random() < 0.5:
            rng.shuffle(written)
        out.append(GroundedReport(str(number), (), " ".join(written), " ".join(reference)))
    return out
