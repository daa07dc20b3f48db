"""The families `prompt` and `preprocess` of the golden fixtures: from tables, masks and volumes to what a model gets."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from golden_case import Case, Score, tolerance_of

from reg2rg import recipe
from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Study, StudyViews, Volume
from reg2rg.data.tables import region_texts, study_id
from reg2rg.data.views import FOREGROUND, bounding_box, make_views
from reg2rg.errors import UserError
from reg2rg.model.alignment import make_target
from reg2rg.model.batch import collate
from reg2rg.model.prompt import VISUAL, PromptBuilder
from reg2rg.model.samples import Samples
from reg2rg.recipe import Recipe, Views

_TAGS = re.compile(r"\{<(?:image|region)[^{}]*\}")


@functools.cache
def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder, loaded as a decoder plugin loads it."""
    from reg2rg_plugins.decoders.hf import load_tokenizer

    return load_tokenizer(str(folder))


def prompt_recipe(case: Case, max_length: int = 0) -> Recipe:
    """The recipe `reg2rg` with the case's wording and length; regions keep the order that they are given in."""
    template = case.data["template"]
    text = {
        "lead_in": template["lead_in"],
        "image": _TAGS.sub("{visual}", template["image_block"]),
        "region": _TAGS.sub("{visual}", template["region_block"]),
        "instruction": template["instruction"],
        "prefix": template["target_block"].removesuffix("{region report} "),
        "max_length": max_length or case.data["max_seq"],
    }
    return recipe.load("reg2rg", {"prompt": text, "alignment": {"shuffle": False}, "views": {"size": [4, 4, 4]}})


def token_counts(case: Case) -> tuple[int, int]:
    """Tokens of the image and of a region, as the template counts them: `<image31>` is the 32nd, `<region33i+32>` the 33rd."""
    template = case.data["template"]
    image = re.findall(r"<image(\d+)>", template["image_block"])
    region = re.findall(r"<region(\d+)i(?:\+\d+)?>", template["region_block"])
    return int(image[-1]) - int(image[0]) + 1, int(region[0])


def study_of(case: Case) -> Study:
    """The study that the case's table describes."""
    inputs = case.data["inputs"]
    rows = [
        dict(zip(inputs["csv_columns"], ["" if c is None else str(c) for c in row], strict=True)) for row in inputs["csv_rows"]
    ]
    if not rows:
        return Study("study")
    texts = region_texts(case.folder / "case.json", rows)
    name = study_id(rows[0]["Volumename"])
    return Study(name, region_reports=texts.regions.get(name, {}), report=texts.reports.get(name, ""))


class OneStudy:
    """The views of a study whose masks the case lists: a voxel each, or none where the mask is empty."""

    def __init__(self, case: Case, views: Views) -> None:
        inputs, shape = case.data["inputs"], (4, 4, 4)
        masks = {r: np.full(shape, r not in inputs["empty_masks"]) for r in inputs["mask_files_present"]}
        self.ids: Sequence[str] = ["study"]
        self.volume, self.mask = Volume(np.zeros(shape, np.int16), np.eye(4)), RegionMask.from_masks(masks)
        shuffled = inputs["train_shuffled_order"] or []
        self.views, self.order = views, [*shuffled, *(r for r in REGIONS if r not in shuffled)]

    def __getitem__(self, index: int) -> StudyViews:
        return make_views(self.volume, self.mask, self.views, self.order)


def spelled(prompts: PromptBuilder, slots: int) -> str:
    """The prompt with its visual tokens written out as the official code writes them."""
    text = prompts.prompt_text(slots).split(VISUAL)
    tags = ["".join(f"<image{i}>" for i in range(prompts.image_tokens))]
    k = prompts.region_tokens
    tags += ["".join(f"<region{i}>" for i in range(slot * k, slot * k + k)) for slot in range(slots)]
    return text[0] + "".join(tag + part for tag, part in zip(tags, text[1:], strict=True))


def prompt(case: Case, score: Score, tokenizer: Path | None) -> None:
    """README 4.5: table, masks and the shuffled order → ids, labels, attention and texts, through `Samples`."""
    if tokenizer is None:
        raise ValueError("no tokenizer is at hand (--tokenizer DIR)")
    settings, words, counts = prompt_recipe(case), tokenizer_of(tokenizer), token_counts(case)
    model: Any = SimpleNamespace(prompts=PromptBuilder(settings, words, *counts), recipe=settings)
    study = study_of(case)
    studies = Samples(model, [study], OneStudy(case, settings.views))
    sample = studies.training(0) if case.data["mode"] == "train" else studies.asking(0, shuffle=False, seed=0)
    order = list(sample.prompt.regions)
    target = make_target(order, study.region_reports, settings)
    asked = spelled(model.prompts, len(order))
    _same(score, case, {"region_order": order, "prompt": asked, "question": asked})
    _same(score, case, {"target": target.text, "gt_combined_report": target.text})
    batch = collate([sample], pad=0)
    ids, labels, attention = (x[0].tolist() for x in (batch.ids, batch.labels, batch.attention))
    if case.data["mode"] != "train":
        score.seen.add("input_ids")
        score.exact("ids", ids, case.arrays["input_ids"].tolist())
        _same(score, case, {"n_attended": sum(attention)})
        return
    _training_ids(case, score, ids, labels, attention)
    whole = PromptBuilder(prompt_recipe(case, max_length=1 << 20), words, *counts).build(order, target)
    _same(score, case, {"prompt_length": sample.prompt.prompt_length, "n_tokens_untruncated": len(whole.ids) - 1})


def _training_ids(case: Case, score: Score, ids: list[int], labels: list[int], attention: list[int]) -> None:
    """A training sample, padded here as the official code pads. The end token is attended in ours (no label sees it)."""
    length, end = case.data["max_seq"], len(ids)
    pad = [0] * (length - end)
    if "official_raises" in case.data["expected"]:  # no room for an end token there; ours cuts the text at its end
        score.seen.add("input_ids_before_eos")
        score.exact("ids of the cut text", ids + pad, case.arrays["input_ids_before_eos"].tolist())
        return
    score.seen |= {"input_ids", "label", "attention_mask"}
    score.exact("ids", ids + pad, case.arrays["input_ids"].tolist())
    score.exact("labels", labels + [-100] * len(pad), case.arrays["label"].tolist())
    before = attention[: end - 1]
    score.exact("attention", [*before, 0, *pad], case.arrays["attention_mask"].tolist())
    counts = {"n_attended": sum(before), "eos_position": end - 1, "n_label_tokens": sum(i != -100 for i in labels)}
    _same(score, case, counts)


def _same(score: Score, case: Case, found: dict[str, Any]) -> None:
    """What the case expects of `found`, where it says so."""
    for name, want in case.data["expected"].items():
        if name in found:
            score.exact(name, found[name], want)


def preprocess(case: Case, score: Score) -> None:
    """README 4.6: volume and masks → views, through `make_views`; what the official code stops at is left out with a reason."""
    hu, masks = case.volume()
    outputs = case.data.get("outputs", {})
    has_content = {r for r, m in masks.items() if (m & (hu > FOREGROUND)).any()}
    try:
        views = make_views(Volume(hu, np.eye(4)), RegionMask.from_masks(masks), _sizes(outputs), REGIONS)
    except UserError as error:
        score.fact(f"the reason '{error}'", not (hu > FOREGROUND).any() and not outputs)
        return
    score.exact("the regions kept", set(views.regions), has_content)
    if case.data.get("official_raises"):
        parts = [p for p in (views.image, views.textures, views.masks) if p is not None]
        score.fact("that all views are finite", all(bool(p.isfinite().all()) for p in parts))
    for name in outputs:
        value = _view(views, masks, name, outputs[name]["shape"])
        if value is None:
            score.faults.append(f"there is nothing of ours to compare '{name}' with")
        else:
            score.tensor(case, name, value, tolerance_of(case, "tolerance_abs", name), relative=False)
    _boxes(case, score, hu, masks)


def _sizes(outputs: dict[str, Any]) -> Views:
    """The view settings: the defaults, with the sizes of the case's outputs."""
    sizes = {kind: entry["shape"] for name, entry in outputs.items() for kind in [name.split(":")[0]]}
    image, mask = (sizes.get(kind, Views().size) for kind in ("image", "mask"))
    return Views(size=image, geometry_size=mask)


def _view(views: StudyViews, masks: dict[str, np.ndarray], name: str, shape: Sequence[int]) -> np.ndarray | None:
    """Our view called `image:image`, `image:REGION` or `mask:REGION`; a region left out has the zeros of its empty mask."""
    kind, _, region = name.partition(":")
    if name == "image:image":
        return None if views.image is None else views.image[0].numpy()
    if region in views.regions:
        part = views.textures if kind == "image" else views.masks
        return part[views.regions.index(region), 0].numpy()
    return np.zeros(shape, np.float32) if kind == "mask" and region in masks and not masks[region].any() else None


def _boxes(case: Case, score: Score, hu: np.ndarray, masks: dict[str, np.ndarray]) -> None:
    for region, want in case.data.get("crop_boxes", {}).get("boxes", {}).items():
        inside = hu > FOREGROUND if region == "image" else masks[region] & (hu > FOREGROUND)
        box = bounding_box(inside)
        got = None if box is None else [[s.start for s in box], [s.stop for s in box]]
        score.exact(f"the box of {region}", got, want)
