"""The eighteen CT-RATE findings as patterns: what names one, what must stand with it, and what makes it another thing.

Patterns meet lower-case clauses. `mention`: names the finding. `needs`: must also stand in the clause. `unless`: voids the
clause (another organ, another disease). `blank`: taken out of the clause before the others look at it. A finding may have
several rules; one that holds is enough. The words are those that CT-RATE's labels go by: "subcutaneous emphysema" counts as
emphysema there, a lymph node of normal size as lymphadenopathy, fibro-atelectasis as a sequela and not as atelectasis.
"""

from __future__ import annotations

import dataclasses
import re

Words = tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One way to state a finding; see the module."""

    finding: str
    mention: re.Pattern[str]
    needs: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    blank: re.Pattern[str] | None = None


def _rule(finding: str, mention: Words, needs: Words = (), unless: Words = (), blank: Words = ()) -> Rule:
    def compiled(words: Words) -> re.Pattern[str] | None:
        return re.compile("|".join(words)) if words else None

    return Rule(finding, re.compile("|".join(mention)), compiled(needs), compiled(unless), compiled(blank))


_CALCIUM = (r"calcif\w*", r"atherom\w*", r"atheroscl\w*", r"aterom\w*", r"plaques?\b")
_CORONARY = (r"coronar\w*", r"\blad\b", r"\brca\b", r"\blmca\b", "circumflex", r"\bcx\b", r"\blcx\b", "anterior descending")
_NOT_ARTERIAL = (
    rf"(?:(?:left|right|main) )*(?:{'|'.join(_CORONARY)})(?: coronary)?(?: arter\w*| vascular structures?| vessels?)?",
    r"(?:aortic|mitral) (?:valve|annul)\w*",
    r"aort\w*[- ]?pulmon\w*",
    r"(?<!and )(?:abdominal|infrarenal) aorta",
    r"iliac arter\w*",
    r"paraaort\w*",
)
_OTHER_ORGAN = (
    "thyroid", "isthmus", "gland", "parotid", "breast", "axill", "skin", "subcutan", "muscle", "anterior mediastinum",
    "esophag",
    "liver", "hepat", "spleen", "splen", "kidney", "renal", "adrenal", "surrenal", "pancrea", "mesenter", "perito", "omental",
    "gallbladder", "abdom", "stomach", "gastric", "colon", "vertebra", "schmorl", "bone", r"rib\b", "costa", "hypodense",
    "lymph node",
)  # fmt: skip
_LUNG = ("lung", "lobe", "lobar", "segment", "parenchym", "pulmon", "basal", "subpleural", "apic", "apex", "lingul")
_NOT_LUNG = ("liver", "hepat", "bone", r"\bfat\b", "fatty", "kidney", "adrenal", "skin", "breast", r"\brib", "vertebra")

RULES: tuple[Rule, ...] = (
    _rule(
        "Medical material",
        (
            "catheter", r"pace ?-?maker", r"\bicd\b", "electrode", r"\bstents?\b", "suture", r"\bport\b", "cannula",
            r"\btubes?\b",
            "nasogastric", "endotracheal", "intubat", "tracheostom", "prosthe", r"\bclips?\b", "cerclage", "fixator",
            "valve replacement", "metallic", r"\bcoils?\b", r"sternal wires?", "surgical material",
        ),
        unless=(r"\bremoved\b",),
    ),
    _rule(
        "Arterial wall calcification",
        _CALCIUM,
        ("aort", "arter", "vascular", "vessel", "carotid", "subclavian", "brachiocephalic", "arcus", "supraaort"),
        ("lymph node", "valve"),
        _NOT_ARTERIAL,
    ),
    _rule(
        "Cardiomegaly",
        (
            r"cardiomegal\w*",
            r"heart (?:is|was|are) (?:\w+ )?(?:larger|enlarged|big)",
            r"enlarge\w* (?:of the )?heart",
            r"(?:heart|cardiac) (?:size|dimension)s?\b.{0,30}(?:increas|larg)",
            r"increas\w* (?:in )?(?:the )?(?:heart|cardiac) (?:size|dimension)s?",
            r"(?:cardio-?thoracic (?:index|ratio|rate)|\bctr\b|\bcti\b).{0,40}increas",
            r"increas\w* (?:in )?(?:the )?(?:cardio-?thoracic|ctr\b)",
        ),
    ),
    _rule("Pericardial effusion", ("effusion", "fluid"), ("pericard",)),
    _rule("Coronary artery wall calcification", _CALCIUM, _CORONARY),
    _rule("Hiatal hernia", (r"hiat\w* herni\w*", r"herni\w*"), ("hiat", "sliding", "esophag", "diaphragm", "gastric",
    "stomach")),
    _rule(
        "Lymphadenopathy",
        (r"lymph ?nodes?", r"\blaps?\b", r"adenopath\w*", r"\blymphadenomegal\w*"),
        unless=("intrapulmonary", "abdom", "inguinal", "subpleural", "fissure"),
    ),
    _rule("Emphysema", (r"emphysem\w*", r"\bbulla\w*", r"\bbleb\w*")),
    _rule("Atelectasis", (r"(?<!fibro)(?<!fibro )(?<!fibro-)\bate?lect\w*",)),
    _rule("Atelectasis", (r"collapse\w*",), _LUNG, ("vertebra", "bowel", "bladder")),
    _rule("Lung nodule", (r"\bnodules?\b", "nodular lesions?"), unless=_OTHER_ORGAN),
    _rule("Lung opacity", ("ground glass(?! nodul)", r"opacit\w*", "depend[ae]nt densit\\w*")),
    _rule(
        "Lung opacity",
        (r"densit(?:y|ies) increas\w*", r"increas\w* (?:in |of )?(?:\w+ )?densit\w*", "densities"),
        _LUNG,
        (
            "pleura?o?[- ]?parenchymal", "pleural parenchymal", r"sequelae? (?:\w+ )?(?:density|increas)", "fibrotic",
            "reticulonodular", "atelectasis densit", "calcific densit", *_NOT_LUNG,
        ),
    ),
    _rule(
        "Pulmonary fibrotic sequela",
        (
            r"sequela\w*", r"fibro\w*", r"(?:parenchymal|subpleural) (?:\w+ )?bands?", r"\bscar\w*",
            r"pleuro-?parenchymal (?:\w+ )?densit\w*",
        ),
        unless=(
            "kidney", "renal", "adrenal", "liver", "hepat", "spleen", "lymph", "mediastin", "vertebra", r"rib\b", "bone",
            "fractur",
            "calcific nodule",
        ),
    ),
    _rule("Pleural effusion", (r"effusion\w*", "hydro(?:pneumo)?thorax", "pleural fluid"), unless=("pericard", "perito",
    "joint")),
    _rule("Pleural effusion", ("pleural effusion", r"effusion\w* in (?:both|the) (?:pleura|hemithora)\w*")),
    _rule("Mosaic attenuation pattern", ("mosaic", "air trapping")),
    _rule("Peribronchial thickening", (r"thick\w*",), ("peribronch", "bronchovascular")),
    _rule("Consolidation", (r"(?<!glass )consolid\w*",)),
    _rule("Bronchiectasis", (r"bronch?i?o?ectas\w*", r"bronchiectat\w*")),
    _rule(
        "Bronchiectasis",
        (r"\bectas\w*", r"\bectatic\b", r"dilat\w* (?:of |in )?(?:the )?bronch\w*", r"bronch\w* dilat\w*"),
        ("bronch",),
    ),
    _rule(
        "Interlobular septal thickening",
        (
            r"sept\w+ (?:\w+ )?thick\w*",
            r"interlob\w*(?:-intralob\w*)? sept\w*",
            r"thicken\w* of (?:the )?(?:\w+ )?sept\w*",
            r"interstitial thick\w*",
        ),
    ),
)  # fmt: skip
