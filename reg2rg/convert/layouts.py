"""Key tables of published weights as data: which official key is which of ours, and how a file is recognised.

A kind (`reg2rg convert KIND`) has one or more layouts, one for each form of file that its authors publish. A new kind is one
more entry of `LAYOUTS` and `KINDS`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Literal

DEFAULT = "reg2rg"  # the recipe where nobody chooses one
WHOLE_FILES = ("pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json", "model.safetensors.index.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """One form of official file.

    `wrappers`: prefixes that a key may begin with, which no table below names. `renames`: official prefix → ours, the first
    that fits. `twins`: a key that repeats another one, whose name is made from a third (pattern, replacement). `repeats`:
    patterns of keys that repeat another one → that one's name. `aside`: a pattern of keys that our model has no place for →
    their names in `rest.safetensors`, kept for the way back. `left_out`: prefixes of groups that we don't take, with what they
    are. `mark`: a pattern of a key that this layout alone has. `parts`: our modules in it → the plugins with these parameters.
    `nested`: the file is a mapping of these groups, not of tensors (what a segmenter's holds beside them isn't read). `peft`:
    adapted layers may lack `.base_layer`. `within`: parts of official names → ours, the first that a key holds, inside a
    renamed key.
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
    wrappers: tuple[str, ...] = ()
    repeats: tuple[tuple[str, str], ...] = ()
    within: tuple[tuple[str, str], ...] = ()

    def bare(self, key: str) -> str:
        """An official key without its wrappers."""
        for wrapper in self.wrappers:
            key = key.removeprefix(wrapper)
        return key

    def ours(self, key: str) -> str | None:
        """Our name of an official key; None where the table has no place for it."""
        key = self.bare(key)
        found = next((new + key.removeprefix(old) for old, new in self.renames if key.startswith(old)), None)
        return found and next((found.replace(old, new) for old, new in self.within if old in found), found)

    def official(self, key: str) -> str | None:
        """The official name of one of our keys; None where the layout has no place for it."""
        found = next((old + key.removeprefix(new) for old, new in self.renames if key.startswith(new)), None)
        return found and next((found.replace(new, old) for old, new in self.within if new in found), found)

    def rest(self, key: str) -> str | None:
        """The name in `rest.safetensors` of an official key that is kept aside; None for any other."""
        key = self.bare(key)
        return next((re.sub(old, new, key, count=1) for old, new in self.aside if re.match(old, key)), None)

    def original(self, key: str, keys: Iterable[str]) -> str | None:
        """The official key that `key` repeats in a file that holds `keys`; None for a key that repeats none."""
        for twin, third, name in self.twins:
            if key == twin:
                return next((re.sub(third, name, k) for k in keys if re.fullmatch(third, k)), None)
        first = bare = self.bare(key)
        for pattern, name in self.repeats:
            first = re.sub(pattern, name, first)
        return None if first == bare else key.removesuffix(bare) + first

    def group(self, key: str) -> str | None:
        """What group a key belongs to that we don't take; None for any other."""
        key = self.bare(key)
        return next((what for prefix, what in self.left_out if key.startswith(prefix)), None)


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

_MEDVINT = (
    ("vision_model.", "volume_encoder."),
    ("query_embed.", "adapter.query_embed."),
    ("decoder.", "adapter.decoder."),
)

# CT-ViT beside its encoder: the half that draws volumes, and its training's parts
_CT_VIT_REST = "dec_|to_pixels|to_patch_emb_first_frame|vgg\\.|discr\\."
_CT_VIT_COUNTS = r"vq\._codebook\.(?:initted|cluster_size|embed_avg)$"

# Swin's names in transformers before 5 → in transformers 5
_SWIN_WITHIN = (
    (".attention.self.query.", ".attention.q_proj."),
    (".attention.self.key.", ".attention.k_proj."),
    (".attention.self.value.", ".attention.v_proj."),
    (".attention.self.relative_position_bias_table", ".attention.relative_position_bias.relative_position_bias_table"),
    (".attention.output.dense.", ".attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
# constant numbers of its windows
_SWIN_INDEX = r"(?:encoder\.layers\.\d+\.blocks\.\d+\.attention\.)(?:self|relative_position_bias)\.relative_position_index$"

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
            name="m3d",
            title="M3D-LaMed's whole model",
            files=WHOLE_FILES,
            mark=r"model\.vision_tower\.",
            renames=(("model.vision_tower.vision_tower.", "volume_encoder."),),
            parts={"volume_encoder": "m3d-vit"},
            aside=((r"model\.mm_projector\.", "mm_projector."),),
            left_out=(
                ("model.seg_module.", "the segmentation heads"),
                ("model.seg_projector.", "the segmentation heads"),
                *((part, "the language model") for part in ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")),
            ),
        ),
        Layout(
            name="m3d-vit",
            title="M3D-CLIP's ViT",
            files=("pretrained_ViT.bin",),
            mark=r"patch_embedding\.(position_embeddings$|patch_embeddings\.)",
            renames=(("", "volume_encoder."),),
            parts={"volume_encoder": "m3d-vit"},
        ),
        Layout(
            name="ct2rep",
            title="CT2Rep's whole model",
            files=("model_best.pth", "current_checkpoint.pth"),
            mark=r"visual_extractor\.model\.",
            renames=(("visual_extractor.model.", "volume_encoder."),),
            parts={"volume_encoder": "ct-vit"},
            nested=("state_dict",),
            wrappers=("state_dict.",),
            aside=((rf"visual_extractor\.model\.({_CT_VIT_COUNTS})", r"\1"),),
            left_out=(
                ("encoder_decoder.", "the report decoder"),
                ("visual_extractor.model.dec_", "the volume decoder"),
                ("visual_extractor.model.to_pixels", "the volume decoder"),
                ("visual_extractor.model.to_patch_emb_first_frame", "the volume decoder"),
                ("visual_extractor.model.vgg.", "its training's parts"),
                ("visual_extractor.model.discr.", "its training's parts"),
            ),
        ),
        Layout(
            name="ct-vit",
            title="CT-ViT",
            files=("CTVIT.pt", "ctvit.pt"),
            mark=r"enc_spatial_transformer\.",
            renames=(("", "volume_encoder."),),
            parts={"volume_encoder": "ct-vit"},
            aside=((rf"({_CT_VIT_REST}|{_CT_VIT_COUNTS})", r"\1"),),
        ),
        Layout(
            name="medvint",
            title="MedVInT's whole model",
            files=WHOLE_FILES,
            mark=r"llamacasual\.",
            renames=_MEDVINT,
            parts={"volume_encoder": "pmc-clip", "adapter": "query-decoder"},
            aside=((r"(fc_l[12]\.)", r"\1"),),
            left_out=(("llamacasual.", "the language model"),),
        ),
        Layout(
            name="medvint-visual",
            title="MedVInT's visual modules",
            files=("medvint_visual.bin",),
            mark=r"(vision_model\.\d+|decoder\.layers\.0\.multihead_attn)\.",
            renames=_MEDVINT,
            parts={"volume_encoder": "pmc-clip", "adapter": "query-decoder"},
            aside=((r"(fc_l[12]\.)", r"\1"),),
        ),
        Layout(
            name="r2gengpt",
            title="R2GenGPT's checkpoint",
            files=("checkpoint.pth",),
            mark=r"(visual_encoder|llama_proj)\.",
            renames=(("visual_encoder.", "volume_encoder.swin."),),
            parts={"volume_encoder": "swin"},
            nested=("model",),
            wrappers=("model.",),
            aside=((rf"visual_encoder\.({_SWIN_INDEX})", r"\1"), (r"(llama_proj|layer_norm)\.", r"\1.")),
            left_out=(("llama_model.", "the language model"),),
            within=_SWIN_WITHIN,
        ),
        Layout(
            name="swin",
            title="a Swin transformer",
            files=("model.safetensors", "pytorch_model.bin"),
            mark=r"embeddings\.patch_embeddings\.projection\.",
            renames=(("", "volume_encoder.swin."),),
            parts={"volume_encoder": "swin"},
            wrappers=("swin.",),
            aside=((rf"({_SWIN_INDEX}|classifier\.)", r"\1"),),
            within=_SWIN_WITHIN,
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
        Layout(
            name="sat",
            title="SAT's network",
            files=("SAT_Pro.pth", "SAT_Nano.pth"),
            mark=r"backbone\.(decoder\.)?encoder\.",
            renames=(
                ("backbone.", "backbone."),
                ("projection_layer.", "projection_layer."),
                ("transformer_decoder.", "transformer_decoder."),
                ("mask_embed_proj.", "mask_embed_proj."),
            ),
            parts={"segmenter": "sat"},
            nested=("model_state_dict",),
            wrappers=("model_state_dict.", "module."),  # the training's record, and the name that its parallel form adds
            # the decoder holds the encoder once more, and each block its convolution and norm
            repeats=(
                (r"^backbone\.decoder\.encoder\.", "backbone.encoder."),
                (r"\.all_modules\.0\.", ".conv."),
                (r"\.all_modules\.1\.", ".norm."),
            ),
            # heads of the coarser maps, which only training uses
            aside=((r"(mid_mask_embed_proj\.)", r"\1"),),
        ),
        Layout(
            name="sat-text",
            title="SAT's text encoder",
            files=("text_encoder.pth",),
            mark=r"(text_tower|modality_embed)\.",
            renames=(
                ("text_tower.", "text_tower."),
                ("projection_layer.", "projection_layer."),
                ("modality_embed.", "modality_embed."),
            ),
            parts={"segmenter": "sat"},
            nested=("model_state_dict",),
            wrappers=("model_state_dict.", "module."),
            aside=((r"(text_tower\.\w+\.embeddings\.(position_ids|token_type_ids))$", r"\1"),),
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
