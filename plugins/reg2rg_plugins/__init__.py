"""The default plugins, offered through the same entry point as anyone's: registration only."""

from __future__ import annotations

from reg2rg.hookspecs import Register, hookimpl


@hookimpl
def register_segmenters(register: Register) -> None:
    """Segmenters: see `segmenters/`."""
    at = "reg2rg_plugins.segmenters"
    register("precomputed", f"{at}.precomputed:Precomputed", summary="masks from a folder or a label map")
    register("threshold", f"{at}.threshold:Threshold", summary="classical rules on HU, no weights, rough")
    register("sat", f"{at}.sat:SAT", summary="SAT, text-prompted, Nano or Pro, from a local folder of weights")
    what = "TotalSegmentator by its own package, in this Python or in another"
    register("totalsegmentator", f"{at}.totalsegmentator:TotalSegmentator", summary=what)


@hookimpl
def register_volume_encoders(register: Register) -> None:
    """Volume encoders f_V."""
    at = "reg2rg_plugins.volume_encoders"
    register("vit3d", f"{at}.vit3d:ViT3D", summary="3-D vision transformer of the paper (Eqs. 3, 7)")
    register("m3d-vit", f"{at}.m3d_vit:M3DViT", summary="M3D's 3-D ViT with a class token")
    register("ct-vit", f"{at}.ct_vit:CTViT", summary="CT2Rep's CT-ViT: slabs, then depth, then words of a codebook")
    register("pmc-clip", f"{at}.pmc_clip:PmcClip", summary="MedVInT's cut ResNet-50, slices as channels")
    register("swin", f"{at}.swin:Swin", summary="R2GenGPT's Swin transformer, slices as channels")
    register("conv3d", f"{at}.conv3d:Conv3D", summary="three strided convolutions, for small volumes and the demo")


@hookimpl
def register_adapters(register: Register) -> None:
    """Adapters f_A."""
    at = "reg2rg_plugins.adapters"
    register("perceiver", f"{at}.perceiver:Perceiver", summary="Perceiver resampler (Eqs. 3, 7)")
    register("pool", f"{at}.pool:Pool", summary="average pooling of a grid of tokens")
    register("query-decoder", f"{at}.query_decoder:QueryDecoder", summary="MedVInT's learned queries, a DETR decoder")


@hookimpl
def register_geometry_encoders(register: Register) -> None:
    """Geometry encoders f_M."""
    at = "reg2rg_plugins.geometry_encoders"
    register("mask-vit", f"{at}.mask_vit:MaskViT", summary="three-layer ViT on the uncropped mask (Eq. 4)")
    register("mask-conv", f"{at}.mask_conv:MaskConv", summary="two strided convolutions on the uncropped mask")


@hookimpl
def register_decoders(register: Register) -> None:
    """Decoders."""
    at = "reg2rg_plugins.decoders"
    register("tiny", f"{at}.tiny:Tiny", summary="small causal LM from scratch, tokenizer trained on the corpus")
    register("hf", f"{at}.hf:HuggingFace", summary="any Hugging Face causal LM, by hub name or folder")
    register("gpt2", f"{at}.hf:GPT2", summary="GPT-2, the paper's small decoder (Table VI)")
    register("r2gen", f"{at}.r2gen:R2Gen", summary="CT2Rep's memory-driven decoder from scratch, words of the corpus")
    register("llama2-7b", f"{at}.hf:Llama2", summary="Llama-2-7b-chat, the paper's decoder")


@hookimpl
def register_metrics(register: Register) -> None:
    """Metrics of text."""
    at = "reg2rg_plugins.metrics"
    register("bleu", f"{at}.bleu:Bleu", summary="BLEU-1..4, mean of smoothed sentence scores")
    register("meteor", f"{at}.meteor:Meteor", summary="METEOR with WordNet")
    register("cider", f"{at}.cider:Cider", summary="CIDEr (0 to 10), document frequency over the references")
    register("rouge", f"{at}.rouge:Rouge", summary="ROUGE-1, 2 and L, F1 without stemming")
    register("bertscore", f"{at}.bertscore:BertScore", summary="BERTScore, by its package in another Python")
    register("radgraph", f"{at}.radgraph:RadGraph", summary="RadGraph-F1, by its package in another Python")
    register("ratescore", f"{at}.ratescore:RateScore", summary="RaTEScore, by its package in another Python")


@hookimpl
def register_labelers(register: Register) -> None:
    """Labelers of the eighteen findings."""
    at = "reg2rg_plugins.labelers"
    register("rules", f"{at}.rules:Rules", summary="offline rules with negation and uncertainty")
    register("radbert", f"{at}.radbert:RadBert", summary="CT-RATE's text classifier, from a local folder of weights")


@hookimpl
def register_splitters(register: Register) -> None:
    """Splitters of free reports."""
    at = "reg2rg_plugins.splitters"
    register("rules", f"{at}.rules:Rules", summary="sentence to region by anatomy words")
    register("llm", f"{at}.llm:LLM", summary="sentence to region by a chat model that can write nothing else")
