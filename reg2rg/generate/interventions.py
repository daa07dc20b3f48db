"""Grounding by intervention: one region's tokens replaced by those of another study's same region, the report written again.

In: a model, a store, which regions and kinds. Out: a line for each (study, region, kind), a `GroundedReport` whose settings say
what was done to it. Prompt, slot order, global view and all other regions stay; only rows of `Sample.textures` and
`Sample.masks` are exchanged, so that no model code knows of it. Definitions: docs/metrics.md.

A batch holds the same studies in the same rows in every pass: a sample that nothing was done to is then written bit for bit
as before, and the control (each region replaced by its own, read again) must change nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contracts import GroundedReport, Study
from ..data.dataset import open_views
from ..data.store import Store
from ..errors import UserError
from ..files import write_text
from ..model.batch import Sample
from ..model.composite import Reg2RGModel
from ..model.samples import Samples
from ..progress import Progress, silent
from ..recipe import Generation
from .decoding import grounded, write
from .donors import CONTROL, UNSWAPPED, Experiment

Key = tuple[str, str, str]  # study, region ("" for all), kind


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """What one region's tokens are made of, or None: `texture` (T, f) by the volume encoder, `mask` (1, h, w, d)."""

    texture: Tensor | None
    mask: Tensor | None


def intervene(sample: Sample, slot: int, donor: Tokens, kind: str) -> Sample:
    """The sample with the region in `slot` as the donor has it: its texture, its geometry or both."""
    textures, masks = sample.textures, sample.masks
    if kind != "geometry" and textures is not None and donor.texture is not None:
        textures = _replaced(textures, slot, donor.texture)
    if kind != "texture" and masks is not None and donor.mask is not None:
        masks = _replaced(masks, slot, donor.mask)
    return dataclasses.replace(sample, textures=textures, masks=masks)


def _replaced(rows: Tensor, slot: int, row: Tensor) -> Tensor:
    out = rows.clone()
    out[slot] = row
    return out


class Encoded:
    """Samples and single regions of some studies, by id, with the volume encoder's features in place of volumes.

    Volumes are encoded one by one: a region's features are then the same bits whoever asks for them.
    """

    def __init__(self, model: Reg2RGModel, samples: Samples, spec: Generation) -> None:
        self.model, self.samples, self.spec = model, samples, spec
        self.places = {study.id: i for i, study in enumerate(samples.studies)}

    def sample(self, study: str) -> Sample:
        """The sample of one study as `generate` asks for it, encoded."""
        raw = self.samples.asking(self.places[study], self.spec.shuffle_regions, self.spec.seed)
        textures = None if raw.textures is None else torch.stack([self._encode(t) for t in raw.textures])
        image = None if raw.image is None else self._encode(raw.image)
        return dataclasses.replace(raw, image=image, textures=textures, encoded=True)

    def regions(self, study: str, wanted: Sequence[str]) -> dict[str, Tokens]:
        """The tokens of some regions of one study, read anew."""
        views, found = self.samples.source[self.places[study]], {}
        for region in wanted:
            place = views.regions.index(region)
            texture = self._encode(views.textures[place]) if len(views.textures) else None
            found[region] = Tokens(texture, views.masks[place] if len(views.masks) else None)
        return found

    @torch.inference_mode()
    def _encode(self, volume: Tensor) -> Tensor:
        weight = self.model.visual.image_tags
        return self.model.visual.encode(volume[None].to(weight.device, weight.dtype))[0].cpu()


def interventions(
    model: Reg2RGModel, store: Store, experiment: Experiment, out: Path, spec: Generation, settings: Mapping[str, Any],
    progress: Progress = silent,
) -> list[GroundedReport]:  # fmt: skip
    """Writes all lines of an experiment into the file `out`, going on with what an interrupted run left; decoding is greedy.

    Lines that are there and were made in the same way, in a batch of the same studies, are kept.
    """
    spec = spec.model_copy(update={"sample": False})
    expected = _expected(experiment, spec, settings)
    lines = _Lines(out, expected)
    steps, ids = experiment.steps(), [s.id for s in experiment.studies]
    batches = [ids[i : i + spec.batch_size] for i in range(0, len(ids), spec.batch_size)]
    total = len(batches) * len(steps)
    encoded: Encoded | None = None
    for number, batch in enumerate(batches):
        todo = [s for s in steps if any((i, s[1], s[0]) in expected and (i, s[1], s[0]) not in lines.done for i in batch)]
        if todo and encoded is None:
            encoded = _open(model, store, experiment, spec)
        if encoded is not None and todo:
            work = _Batch(encoded, experiment, batch, todo)
            for i, (kind, region) in enumerate(todo):
                lines.add(work.write(kind, region, expected))
                progress("Intervene", number * len(steps) + len(steps) - len(todo) + i + 1, total)
    return lines.finish()


def _open(model: Reg2RGModel, store: Store, experiment: Experiment, spec: Generation) -> Encoded:
    ids = {s.id for s in experiment.studies} | {swap.donor for swap in experiment.swaps.values()}
    needed = [s for s in experiment.pool if s.id in ids]
    recipe = model.recipe
    views = open_views(store, [s.id for s in needed], recipe.views, geometry=recipe.geometry_encoder is not None)
    return Encoded(model, Samples(model, needed, views), spec)


def _expected(experiment: Experiment, spec: Generation, settings: Mapping[str, Any]) -> dict[Key, dict[str, Any]]:
    """The settings of every line, in the file's order: what was done, to whom, how, and beside which studies in a batch."""
    common = json.loads(json.dumps({**settings, "decoding": spec.model_dump(mode="json")}, default=str))
    ids, steps, expected = [s.id for s in experiment.studies], experiment.steps(), {}
    for start in range(0, len(ids), spec.batch_size):
        batch = ids[start : start + spec.batch_size]
        mark = hashlib.sha256("\n".join(batch).encode()).hexdigest()[:12]
        for study in batch:
            for kind, region in steps:
                if (done := experiment.done_to(study, kind, region)) is not None:
                    expected[study, region, kind] = {**common, "batch": mark, "intervention": done}
    return expected


class _Batch:
    """Some studies side by side, their samples and their donors' tokens read once, written again after each intervention."""

    def __init__(self, encoded: Encoded, experiment: Experiment, ids: Sequence[str], todo: Sequence[tuple[str, str]]) -> None:
        self.encoded, self.ids = encoded, ids
        self.studies = {s.id: s for s in experiment.studies}
        self.swaps = {key: swap for key, swap in experiment.swaps.items() if key[0] in set(ids)}
        self.samples = {study: encoded.sample(study) for study in ids}
        regions = {region for _, region in todo}
        wanted: dict[str, set[str]] = {}
        for (_, region), swap in self.swaps.items():
            if region in regions:
                wanted.setdefault(swap.donor, set()).add(region)
        self.tokens = {donor: encoded.regions(donor, sorted(names)) for donor, names in sorted(wanted.items())}

    def write(self, kind: str, region: str, expected: Mapping[Key, Mapping[str, Any]]) -> list[GroundedReport]:
        """The lines of one pass. Studies that it doesn't concern take their places in the batch, and have no line."""
        samples = [self._done_to(study, kind, region) for study in self.ids]
        texts = write(self.encoded.model, samples, self.encoded.spec)
        lines = []
        for study, sample, text in zip(self.ids, samples, texts, strict=True):
            if (settings := expected.get((study, region, kind))) is not None:
                source = self.studies[study] if kind == UNSWAPPED else Study(study)  # references stand in one line a study
                lines.append(grounded(self.encoded.model, source, sample.prompt, text, settings))
        return lines

    def _done_to(self, study: str, kind: str, region: str) -> Sample:
        sample = self.samples[study]
        if kind == CONTROL:
            for name, tokens in self.encoded.regions(study, sample.prompt.regions).items():
                sample = intervene(sample, sample.prompt.regions.index(name), tokens, "both")
        elif swap := self.swaps.get((study, region)):
            sample = intervene(sample, sample.prompt.regions.index(region), self.tokens[swap.donor][region], kind)
        return sample


def key_of(line: GroundedReport) -> Key | None:
    """Study, region and kind of a line; None where it isn't one of an intervention."""
    done = line.settings.get("intervention")
    return (line.study, str(done.get("region", "")), str(done.get("kind", ""))) if isinstance(done, Mapping) else None


class _Lines:
    """The file of lines: collected in `OUT.partial`, renamed when complete. What fits in either is kept."""

    def __init__(self, path: Path, expected: Mapping[Key, Mapping[str, Any]]) -> None:
        self.path, self.partial, self.expected = path, path.with_name(path.name + ".partial"), expected
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done: dict[Key, GroundedReport] = {}
        for file in (path, self.partial):
            self._read(file)
        self._started = False

    def _read(self, file: Path) -> None:
        for text in file.read_text(encoding="utf-8").split("\n") if file.is_file() else []:
            try:
                line = GroundedReport.from_json(json.loads(text))
            except (ValueError, UserError):
                return  # the line that was being written when the run was killed
            key = key_of(line)
            if key is not None and self.expected.get(key) == line.settings:
                self.done[key] = line

    def add(self, lines: Sequence[GroundedReport]) -> None:
        """Appends the lines of a pass; before the first, what was kept is written out."""
        with self.partial.open("a" if self._started else "w", encoding="utf-8") as file:
            for line in [*(() if self._started else self.done.values()), *lines]:
                file.write(_text(line))
        self._started = True
        self.done |= {key: line for line in lines if (key := key_of(line)) is not None}

    def finish(self) -> list[GroundedReport]:
        """Writes the file in order and sweeps the partial one."""
        lines = [self.done[key] for key in self.expected]
        write_text(self.path, "".join(map(_text, lines)))
        self.partial.unlink(missing_ok=True)
        return lines


def _text(line: GroundedReport) -> str:
    return json.dumps(line.to_json(), ensure_ascii=False) + "\n"
