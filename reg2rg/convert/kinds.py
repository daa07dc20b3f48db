"""Kinds of published weights (`reg2rg convert KIND`): which layouts each takes and what it makes; which kind a file looks like.

A kind has one or more layouts, one for each form of file that its authors publish. A new kind is one more entry of `KINDS`, and
of `LAYOUTS` in `tables.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Literal

from .layouts import Layout
from .tables import LAYOUTS

DEFAULT = "reg2rg"  # the recipe where nobody chooses one


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What `reg2rg convert NAME` takes and makes: a `run`, an `encoder` folder for `train --init`, a plugin's folder.

    A `segmenter`'s layouts are two: its network, and the text encoder that its prompts go through. `recipe` is the one that an
    encoder is for.
    """

    name: str
    summary: str
    makes: Literal["run", "encoder", "labeler", "segmenter"]
    layouts: tuple[str, ...]
    recipe: str = DEFAULT


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("reg2rg", "Reg2RG's published model (pytorch_model.bin) → a run", "run", ("reg2rg",)),
        Kind(
            "radfm",
            "RadFM's ViT3D and Perceiver (RadFM_vit3d.pth, RadFM_perceiver_fc.pth, or the whole model) → an encoder",
            "encoder",
            ("radfm-vit3d", "radfm-perceiver", "radfm"),
        ),
        Kind("m3d", "M3D-CLIP's ViT, or M3D-LaMed's whole model → an encoder", "encoder", ("m3d-vit", "m3d"), "m3d"),
        Kind("ct2rep", "CT-ViT, or CT2Rep's whole model → an encoder", "encoder", ("ct-vit", "ct2rep"), "ct2rep"),
        Kind(
            "medvint",
            "MedVInT's cut ResNet and query decoder, or its whole model → an encoder",
            "encoder",
            ("medvint-visual", "medvint"),
            "medvint",
        ),
        Kind(
            "r2gengpt",
            "a Swin transformer, or R2GenGPT's checkpoint with one → an encoder",
            "encoder",
            ("swin", "r2gengpt"),
            "r2gengpt",
        ),
        Kind("radbert", "CT-RATE's text classifier (RadBertClassifier.pth) → the labeler's weights", "labeler", ("radbert",)),
        Kind(
            "sat",
            "SAT's network and text encoder (SAT_Pro.pth, text_encoder.pth) → the segmenter's weights",
            "segmenter",
            ("sat", "sat-text"),
        ),
    )
}

# files that users take for one of the above: a pattern of their keys → what they are, and what to do
OTHERS: tuple[tuple[str, str, str], ...] = (
    (r"visual\.", "a run of reg2rg already", "Use it as it is, or turn it back with --back."),
    (r"(volume_encoder|adapter)\.", "an encoder of reg2rg already", "Use it with: reg2rg train --init FOLDER"),
    (r"base_model\.model\..*lora_", "an adapter of a language model alone", "Give the whole published file."),
    (r"(model\.)?(layers\.0|embed_tokens)\.", "a language model alone", "Pass it as --decoder FOLDER."),
    (r"(module\.)?bert(_model)?\.", "a BERT", "Give the published model's file."),
    (
        r"roberta\.",
        "a RoBERTa without its classifier",
        "Give RadBertClassifier.pth; a folder with the encoder's tokenizer goes to --tokenizer.",
    ),
)


def recognise(keys: Iterable[str]) -> Layout | None:
    """The layout that a file's keys belong to, or None."""
    keys = list(keys)
    return next((layout for layout in LAYOUTS.values() if any(re.match(layout.mark, layout.bare(key)) for key in keys)), None)


def kind_of(layout: Layout) -> Kind:
    """The kind that takes a layout."""
    return next(kind for kind in KINDS.values() if layout.name in kind.layouts)
