"""Key tables of published weights as data: which official key is which of ours, and how a file is recognised.

A kind (`reg2rg convert KIND`) has one or more layouts, one for each form of file that its authors publish. A new kind is one
more entry of `LAYOUTS` and `KINDS`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Literal

WHOLE_FILES = ("pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json", "model.safetensors.index.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """One form of official file.

    `renames`: official prefix → ours, the first that fits. `twins`: a key that repeats another one, whose name is made from
    a third (pattern, replacement). `aside`: a pattern of keys that our model has no place for → their names in
    `rest.safetensors`, kept for the way back. `left_out`: prefixes of groups that we don't take, with what they are. `mark`:
    a pattern of a key that this layout alone has. `parts`: our modules in it → the plugins with these parameters. `nested`:
    the file is a mapping of these groups, not of tensors. `peft`: adapted layers may lack `.base_layer`.
    """

    name: str
    title: str
    files: tuple[str, ...]
    mark: str
    renames: tuple[tuple[str, str], ...]
    parts: Mapping[str, str]
    twins: tuple[tuple[str, str, str], ...] = ()
    aside: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    nested: tuple[str, ...] = ()
    peft: bool = False

    def ours(self, key: str) -> str | None:
        """Our name of an official key; None where the table has no place for it."""
        return next((new + key.removeprefix(old) for old, new in self.renames if key.startswith(old)), None)

    def official(self, key: str) -> str | None:
        """The official name of one of our keys; None where the layout has no place for it."""
        return next((old + key.removeprefix(new) for old, new in self.renames if key.startswith(new)), None)

    def rest(self, key: str) -> str | None:
        """The name in `rest.safetensors` of an official key that is kept aside; None for any other."""
        return next((re.sub(old, new, key, count=1) for old, new in self.aside if re.match(old, key)), None)

    def original(self, key: str, keys: Iterable[str]) -> str | None:
        """The official key that `key` repeats in a file that holds `keys`; None for a key that repeats none."""
        for twin, third, name in self.twins:
            if key == twin:
                return next((re.sub(third, name, k) for k in keys if re.fullmatch(third, k)), None)
        return None

    def group(self, key: str) -> str | None:
        """What group a key belongs to that we don't take; None for any other."""
        return next((what for prefix, what in self.left_out if key.startswith(prefix)), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What `reg2rg convert NAME` takes and makes: a `run`, an `encoder` folder for `train --init`, or a `labeler`'s folder."""

    name: str
    summary: str
    makes: Literal["run", "encoder", "labeler"]
    layouts: tuple[str, ...]


_RADFM_GROUPS = (
    ("lang_model.", "the language model"),
    ("embedding_layer.weight", "the word table"),
    ("embedding_layer.figure_token_weight", "the image tags"),
    ("embedding_layer.bert_model.", "unused heads"),
    ("embedding_layer.bert_projection_fc.", "unused heads"),
    ("embedding_layer.output_upscaling.", "unused heads"),
    ("embedding_layer.transformer_decoder.", "unused heads"),
    ("embedding_layer.transformer_decoder_mlp.", "unused heads"),
    ("embedding_layer.cls_head.", "unused heads"),
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="reg2rg",
            title="Reg2RG's whole model",
            files=WHOLE_FILES,
            mark=r"embedding_layer\.(region_token_weight$|mask_encoder\.|mask_fc\.)",
            renames=(
                ("embedding_layer.vision_encoder.", "visual.volume_encoder."),
                ("embedding_layer.mask_encoder.", "visual.geometry_encoder."),
                ("embedding_layer.perceiver.", "visual.adapter."),
                ("embedding_layer.fc.", "visual.projection."),
                ("embedding_layer.mask_fc.", "visual.geometry_projection."),
                ("embedding_layer.image_token_weight", "visual.image_tags"),
                ("embedding_layer.region_token_weight", "visual.region_tags"),
                ("lang_model.", "decoder."),
            ),
            parts={"volume_encoder": "vit3d", "adapter": "perceiver", "geometry_encoder": "mask-vit"},
            # the table that the official embedding layer looks words up in is the language model's own, stored twice
            twins=(
                ("embedding_layer.weight", r"(lang_model\..*)layers\.0\.input_layernorm\.weight", r"\1embed_tokens.weight"),
            ),
            # constants of the rotary positions, which older transformers stored
            aside=((r"(lang_model\..*rotary_emb\.inv_freq)$", r"\1"),),
            peft=True,
        ),
        Layout(
            name="radfm",
            title="RadFM's whole model",
            files=WHOLE_FILES,
            mark=r"embedding_layer\.(figure_token_weight$|bert_model\.|cls_head\.|vision_encoder\.)",
            renames=(
                ("embedding_layer.vision_encoder.", "volume_encoder."),
                ("embedding_layer.perceiver.", "adapter."),
            ),
            parts={"volume_encoder": "vit3d", "adapter": "perceiver"},
            aside=((r"embedding_layer\.fc\.", "fc."),),
            left_out=_RADFM_GROUPS,
        ),
        Layout(
            name="radfm-vit3d",
            title="RadFM's ViT3D",
            files=("RadFM_vit3d.pth",),
            mark=r"(to_patch_embedding|pos_embedding)\.",
            renames=(("", "volume_encoder."),),
            parts={"volume_encoder": "vit3d"},
        ),
        Layout(
            name="radfm-perceiver",
            title="RadFM's Perceiver",
            files=("RadFM_perceiver_fc.pth",),
            mark=r"perceiver\.(latents$|layers\.)",
            renames=(("perceiver.", "adapter."),),
            parts={"adapter": "perceiver"},
            aside=((r"fc\.", "fc."),),
            nested=("perceiver", "fc"),
        ),
        Layout(
            name="radbert",
            title="RadBERT's classifier",
            files=("RadBertClassifier.pth", "RadBertClassifier_best.pth", "model.safetensors"),
            mark=r"classifier\.(weight|bias)$",
            renames=(("model.", "model."), ("classifier.", "classifier.")),
            parts={},
            # constant numbers of the embeddings, which older transformers stored
            aside=((r"(model\.embeddings\.(position_ids|token_type_ids))$", r"\1"),),
        ),
    )
}

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
        Kind("radbert", "CT-RATE's text classifier (RadBertClassifier.pth) → the labeler's weights", "labeler", ("radbert",)),
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
    return next((layout for layout in LAYOUTS.values() if any(re.match(layout.mark, key) for key in keys)), None)


def kind_of(layout: Layout) -> Kind:
    """The kind that takes a layout."""
    return next(kind for kind in KINDS.values() if layout.name in kind.layouts)
