"""Key tables of published weights as data: which official key is which of ours, and how a file is recognised.

One entry of `LAYOUTS` for each form of file that authors publish; what a user asks for by name takes one or more of them, in
`kinds.py`. A file is recognised by the first whose mark fits: their order counts.
"""

from __future__ import annotations

from .layouts import Layout

WHOLE_FILES = ("pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json", "model.safetensors.index.json")

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
