"""One scan through all the steps: the `Reg2RG` object that engineers use, behind `reg2rg report`.

In: a scan (a file, a DICOM folder, or a `Volume`). Out: `ReportResult`: text, sections that point at regions, the page.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import plugins
from .anatomy import REGIONS
from .contracts import GroundedReport, RegionMask, RegionSection, Study, Volume
from .ct import bare_name, find_scans, read_volume
from .data.views import make_views
from .errors import UserError
from .files import write_text
from .generate.decoding import grounded, write
from .model import base as bases
from .model import weights
from .model.composite import Reg2RGModel
from .model.hub import run_folder
from .model.samples import Samples
from .page import write_study_page

PHANTOM_WARNING = (
    "This model was trained on procedural phantoms, not on patients: its sentences say nothing about a real scan. "
    "Not for clinical use."
)
RESEARCH_WARNING = "Research software, not a medical device: not for clinical use without a physician's review."


@dataclasses.dataclass(frozen=True, slots=True)
class ReportResult:
    """A grounded report with what it was made from."""

    grounded: GroundedReport
    volume: Volume
    mask: RegionMask

    @property
    def report(self) -> str:
        """The whole text without prefixes."""
        return self.grounded.report

    @property
    def regions(self) -> tuple[RegionSection, ...]:
        """The sections, in the order in which the model wrote them."""
        return self.grounded.sections

    @property
    def missing(self) -> dict[str, str]:
        """The regions without a mask, each with the reason."""
        return self.mask.missing()

    def to_json(self) -> dict[str, Any]:
        """The document of report.json."""
        return {
            **self.grounded.to_json(),
            "missing_regions": self.missing,
            "notes": [*self.volume.notes, *self.mask.notes],
            "volume": {"shape": list(self.volume.shape), "spacing_mm": [round(s, 4) for s in self.volume.spacing]},
        }

    def to_text(self) -> str:
        """The document of report.txt: warnings first, then a paragraph for each region."""
        lines = [f"! {w}" for w in self.grounded.settings.get("warnings", ())]
        for section in self.regions:
            doubt = "" if section.named == section.region else f" (the model named it '{section.named or 'nothing'}')"
            lines.append(f"{section.region.capitalize()}{doubt}: {section.report or '(nothing written)'}")
        lines += [f"{region.capitalize()}: no mask, {reason}." for region, reason in self.missing.items()]
        return "\n\n".join(lines) + "\n"

    def save(self, out: Path | str) -> Path:
        """Writes report.txt, report.json and page.html into the folder `out`; gives the page's path."""
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "report.txt", self.to_text())
        write_text(folder / "report.json", json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        # what matters most stands first
        notes = (*self.grounded.settings.get("warnings", ()), *self.volume.notes, *self.mask.notes)
        write_study_page(folder / "page.html", volume=self.volume, mask=self.mask, report=self.grounded, notes=notes)
        return folder / "page.html"


class Reg2RG:
    """A trained model ready for scans.

    >>> model = Reg2RG.from_pretrained("runs/demo/run")
    >>> result = model.report("scan.nii.gz")
    >>> result.save("out/")
    """

    def __init__(self, model: Reg2RGModel, config: Mapping[str, Any], source: str = "") -> None:
        self.model, self.config, self.source = model, dict(config), source
        self._doubt = bases.doubt(config, model.decoder) if model.recipe.decoder.lora is not None else None

    @classmethod
    def from_pretrained(
        cls, run: Path | str, device: str | None = None, decoder: str | None = None, revision: str | None = None
    ) -> Reg2RG:
        """Loads a run folder, or a run by its name on the hub (`owner/name`) at `revision`.

        `decoder` says where its base language model lies now, `device` as torch writes it. Raises UserError where the run or
        its base is missing, or where another language model lies in the base's place.
        """
        folder = run_folder(run, revision)
        config = weights.read_config(folder)
        if decoder and config.get("base"):
            config["base"] = decoder
        return cls(place(weights.load(folder, decoder), device), config, str(run))

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes the model as a run folder; a base language model is named, not written."""
        written = ("format", "architectures", "model_type", "decoder", *bases.KEYS)
        facts = {k: v for k, v in self.config.items() if k not in written}
        weights.save(self.model, Path(folder), self.config.get("base"), facts)

    def provenance(self, data: str) -> dict[str, Any]:
        """What a file of reports says of the model that wrote them, and of the store by its fingerprint."""
        return {
            "warnings": self.warnings,
            "run": self.source,
            "recipe": self.model.recipe.name,
            "weights": self.config.get("recipe_fingerprint", ""),
            "data": data,
        }

    @property
    def warnings(self) -> list[str]:
        """What must stand above every report of this model."""
        first = PHANTOM_WARNING if self.config.get("trained_on_phantoms") else RESEARCH_WARNING
        return [first, self._doubt] if self._doubt else [first]

    def report(
        self,
        scan: Path | str | Volume,
        *,
        segmenter: str = "threshold",
        masks: Path | str | None = None,
        options: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> ReportResult:
        """Segments one scan and writes its grounded report.

        `masks` (a folder or label map) implies the segmenter `precomputed`; `name` is the study's id instead of the scan's.
        Raises UserError where the scan can't be read, is no chest CT, or shows none of the ten regions.
        """
        volume = scan if isinstance(scan, Volume) else read_volume(Path(scan))
        mask = segment(volume, segmenter, masks, options)
        study = Study(name or (bare_name(volume.source) or "scan" if isinstance(scan, Volume) else study_id(Path(scan))))
        views = make_views(volume, mask, self.model.recipe.views, REGIONS, self.model.recipe.geometry_encoder is not None)
        if not views.regions:
            raise UserError("none of the ten regions is in the field of view", volume.source, "Is it a chest CT?")
        spec = self.model.recipe.generation
        sample = Samples(self.model, [study], _One(study.id, views)).asking(0, shuffle=False, seed=spec.seed)
        written = write(self.model, [sample], spec)[0]
        settings = {
            "warnings": self.warnings,
            "run": self.source,
            "recipe": self.model.recipe.name,
            "segmenter": "precomputed" if masks else segmenter,
            "decoding": "sampled" if spec.sample else "greedy",
        }
        return ReportResult(grounded(self.model, study, sample.prompt, written, settings), volume, mask)


class _One:
    """The views of a single study, as a source."""

    def __init__(self, name: str, views: Any) -> None:
        self.ids: Sequence[str] = [name]
        self._views = views

    def __getitem__(self, index: int) -> Any:
        return self._views


def place(model: Reg2RGModel, device: str | None) -> Reg2RGModel:
    """The model on a device: the one named, else a GPU where there is one. Raises UserError for one that isn't there."""
    import torch

    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return model.to(torch.device(name))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"the device '{name}' can't be used ({reason})", "--device", "Try: --device cpu", 2) from error


def segment(volume: Volume, segmenter: str, masks: Path | str | None, options: Mapping[str, Any] | None = None) -> RegionMask:
    """The region masks of one volume. Raises UserError where no region has a voxel."""
    if masks is not None:
        segmenter, options = "precomputed", {**(options or {}), "masks": Path(masks)}
        if not Path(masks).exists():
            raise UserError("there are no such masks", masks, "Give a folder of REGION.nii.gz files, or one label map.")
    mask: RegionMask = plugins.resolve("segmenter", segmenter, options).segment(volume)
    if not mask.present():
        raise UserError(
            "no region was found in the scan", volume.source, "Is it a chest CT? Look at it with: reg2rg inspect SCAN"
        )
    return mask


def study_id(scan: Path) -> str:
    """A file's name without its ending, or the salted hash of a DICOM series (the largest): never a patient's data."""
    found = find_scans(scan)
    return max(found, key=lambda s: max(len(s.files), len(s.members))).id if found else bare_name(scan.name)
