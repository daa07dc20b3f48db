"""Studies → `Sample`s: which regions enter, in which order, with which target; views or, for a frozen encoder, its features.

Training takes the regions that have a reference sentence; generation takes those that the recipe's `report` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ..anatomy import REGIONS
from ..contracts import Prompt, Study, StudyViews
from ..data.dataset import ViewSource
from .alignment import finding_weights, make_target, slot_order
from .batch import Sample
from .composite import Reg2RGModel


class Features(Protocol):
    """The frozen volume encoder's features of some studies, by position."""

    def image(self, index: int) -> Tensor | None:
        """(T, f) of the global view, or None where the recipe has none."""

    def textures(self, index: int, places: Sequence[int]) -> Tensor | None:
        """(n, T, f) of the regions at `places` in `REGIONS`, or None where the recipe has no textures."""


class Samples:
    """Samples by position, for training or generation. `features` stand in for the views of a frozen encoder.

    Holds no model, so that it can be sent to the processes that prepare batches.
    """

    def __init__(
        self, model: Reg2RGModel, studies: Sequence[Study], source: ViewSource, features: Features | None = None
    ) -> None:
        self.prompts, self.recipe, self.studies = model.prompts, model.recipe, studies
        self.source, self.features = source, features

    def __len__(self) -> int:
        return len(self.studies)

    def training(self, index: int, *key: object) -> Sample:
        """One training sample, its regions shuffled by `key` where the recipe says so (Eq. 8)."""
        study, views = self.studies[index], self.source[index]
        regions = slot_order(
            [r for r in views.regions if r in study.region_reports], self.recipe.alignment.shuffle, *key, study.id
        )
        weights = finding_weights(regions, study.labels, self.recipe.training.finding_weight)
        prompt = self.prompts.build(regions, make_target(regions, study.region_reports, self.recipe), weights)
        return self._sample(index, views, prompt)

    def asking(self, index: int, shuffle: bool, seed: int) -> Sample:
        """A sample without target, for generation: regions in fixed order or shuffled by `seed`."""
        study, views = self.studies[index], self.source[index]
        reported = self.recipe.report == "reported" and study.region_reports
        regions = [r for r in views.regions if not reported or r in study.region_reports]
        return self._sample(index, views, self.prompts.build(slot_order(regions, shuffle, seed, study.id)))

    def _sample(self, index: int, views: StudyViews, prompt: Prompt) -> Sample:
        order = [views.regions.index(r) for r in prompt.regions]
        masks = views.masks[order] if len(views.masks) else None
        if self.features is None:
            return Sample(prompt, views.image, views.textures[order] if len(views.textures) else None, masks)
        places = [REGIONS.index(r) for r in prompt.regions]
        return Sample(prompt, self.features.image(index), self.features.textures(index, places), masks, encoded=True)
