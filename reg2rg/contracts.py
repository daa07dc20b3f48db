"""The frozen objects that pass between the steps; each validates itself once, where it is made.

Arrays are (X, Y, Z) in RAS+: X grows to the patient's right (R), Y to the front (A), Z to the head
(S). World units are millimetres, intensities Hounsfield units. Inside the toolkit nobody re-checks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .anatomy import FINDINGS, REGIONS
from .errors import UserError

if TYPE_CHECKING:
    import torch


def _refuse(what: str, fix: str = "") -> UserError:
    return UserError(what, fix=fix)


def _readonly(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A CT: `hu` int16 (X, Y, Z) in RAS+, `affine` float64 (4, 4) voxel → mm, `source` where it came from.

    HU are true: slope and intercept were applied exactly once. `notes` holds what the reader put right, in sentences.
    Raises UserError where the array isn't a 3-D int16 volume or the affine isn't RAS+ and invertible.
    """

    hu: np.ndarray
    affine: np.ndarray
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.int16:
            raise _refuse(f"a volume is a 3-D int16 array, this one is {self.hu.ndim}-D {self.hu.dtype}")
        if not self.hu.size:
            raise _refuse(f"a volume of {self.hu.shape} has no voxel")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise _refuse("the affine isn't an invertible 4×4 matrix")
        dominant = np.abs(affine[:3, :3]).argmax(axis=0)
        if tuple(dominant) != (0, 1, 2) or (np.diag(affine)[:3] <= 0).any():
            raise _refuse("the volume isn't in RAS+ orientation", "Turn it with reg2rg.ct.to_ras first.")
        object.__setattr__(self, "hu", _readonly(self.hu))
        object.__setattr__(self, "affine", _readonly(affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (X, Y, Z)."""
        return self.hu.shape  # type: ignore[return-value]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along (X, Y, Z)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RegionMask:
    """Masks of the regions: `bits` uint16 (X, Y, Z), bit i set where `REGIONS[i]` lies; regions may overlap.

    `given` names the regions that the segmenter can tell: one that is not in it is *unknown*, one that is in it without
    a voxel is *not in the field of view*. `notes` holds the segmenter's own remarks.
    """

    bits: np.ndarray
    given: frozenset[str]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bits.ndim != 3 or self.bits.dtype != np.uint16:
            raise _refuse(f"a region mask is a 3-D uint16 array, this one is {self.bits.ndim}-D {self.bits.dtype}")
        if unknown := set(self.given) - set(REGIONS):
            raise _refuse(f"unknown region '{sorted(unknown)[0]}'", f"The ten regions are {', '.join(REGIONS)}.")
        used = int(np.bitwise_or.reduce(self.bits, axis=None))
        if stray := [i for i in range(16) if used >> i & 1 and (i >= len(REGIONS) or REGIONS[i] not in self.given)]:
            name = REGIONS[stray[0]] if stray[0] < len(REGIONS) else "no region"
            raise _refuse(f"bit {stray[0]} ({name}) of the region mask is set, but isn't among the regions given")
        object.__setattr__(self, "bits", _readonly(self.bits))
        object.__setattr__(self, "given", frozenset(self.given))

    @staticmethod
    def from_masks(masks: Mapping[str, np.ndarray], notes: tuple[str, ...] = ()) -> RegionMask:
        """Packs boolean masks (X, Y, Z) by region name into bits."""
        if not masks:
            raise _refuse("no region mask was given")
        shape = next(iter(masks.values())).shape
        bits = np.zeros(shape, dtype=np.uint16)
        for region, mask in masks.items():
            if region not in REGIONS:
                raise _refuse(f"unknown region '{region}'", f"The ten regions are {', '.join(REGIONS)}.")
            if mask.shape != shape:
                raise _refuse(f"the mask of '{region}' is {mask.shape}, the others are {shape}")
            bits[mask.astype(bool)] |= np.uint16(1 << REGIONS.index(region))
        return RegionMask(bits, frozenset(masks), notes)

    def mask(self, region: str) -> np.ndarray:
        """The boolean mask (X, Y, Z) of one region."""
        return (self.bits >> REGIONS.index(region)) & 1 != 0

    def voxels(self) -> dict[str, int]:
        """Voxels of each given region, in the order of `REGIONS`."""
        flat, step = self.bits.ravel(order="K"), 1 << 22  # in pieces: bincount makes int64 of what it counts
        values = np.arange(1 << len(REGIONS))
        counts = sum((np.bincount(flat[i : i + step], minlength=values.size) for i in range(0, flat.size, step)), 0 * values)
        return {r: int(counts[(values >> i) & 1 == 1].sum()) for i, r in enumerate(REGIONS) if r in self.given}

    def present(self) -> tuple[str, ...]:
        """The regions with at least one voxel, in the order of `REGIONS` (alphabetical)."""
        return tuple(region for region, n in self.voxels().items() if n)

    def missing(self) -> dict[str, str]:
        """The regions without a mask, each with the reason in words."""
        seen = self.voxels()
        return {
            r: "not in the field of view" if r in self.given else "this segmenter can't give it"
            for r in REGIONS
            if not seen.get(r)
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Study:
    """Text and facts of one study, no voxels.

    `region_reports` maps a region to its reference sentences; `report` is the whole reference text; `labels` maps CT-RATE
    finding names to 0/1, empty where unknown; `provenance` is free JSON-able data (file, segmenter, settings).
    """

    id: str
    split: str = ""
    region_reports: Mapping[str, str] = dataclasses.field(default_factory=dict)
    report: str = ""
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id or "\\" in self.id or self.id in (".", "..") or not self.id.isprintable():
            raise _refuse(f"'{self.id}' can't be a study's id", "An id is a file name without slashes.")
        for region in self.region_reports:
            if region not in REGIONS:
                raise _refuse(f"study '{self.id}' has a report for the unknown region '{region}'")
        for label, value in self.labels.items():
            if label not in FINDINGS:
                raise _refuse(f"study '{self.id}' has the unknown label '{label}'")
            if value not in (0, 1):
                raise _refuse(f"study '{self.id}' has {value!r} for the label '{label}', which is 0 or 1")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyViews:
    """What the encoders get; the one place where Local Feature Decoupling shows.

    `image` (1, H, W, D) or None and `textures` (n, 1, H, W, D): float32 in [-1, 1]; `masks` (n, 1, h, w, d): float32, soft
    in [0, 1]; `regions`: the n names, slot order. Torch tensors.
    """

    image: torch.Tensor | None
    textures: torch.Tensor
    masks: torch.Tensor
    regions: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VisualTokens:
    """Visual tokens of a batch in the decoder's width w: `image` (B, t, w) or None, `regions` (R, t + g, w) or None.

    R counts the regions of all studies, side by side.
    """

    image: torch.Tensor | None
    regions: torch.Tensor | None

    def __post_init__(self) -> None:
        for name, tokens in (("image", self.image), ("regions", self.regions)):
            if tokens is not None and tokens.ndim != 3:
                raise _refuse(f"visual tokens ({name}) are 3-D, these are {tokens.ndim}-D")


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A run of visual tokens in a prompt: positions `start` to `stop`; `slot` is -1 for the image, else the region's index."""

    start: int
    stop: int
    slot: int


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of prompt and target, made in `model.prompt` alone.

    `ids`: ids below `vocabulary` are words, others are rows of the study's visual table (see `model.prompt`); `labels`:
    -100 where no loss is taken; `weights`: loss weight of each position; `spans`: the visual tokens; `prompt_length`: where
    the target begins; `regions`: the region of each slot.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    spans: tuple[Span, ...]
    prompt_length: int
    vocabulary: int
    regions: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.labels) == len(self.weights):
            raise _refuse("a prompt's ids, labels and weights differ in length")
        if any(not 0 <= s.start < s.stop <= self.prompt_length for s in self.spans):
            raise _refuse("a visual span lies outside the prompt")


@dataclasses.dataclass(frozen=True, slots=True)
class RegionSection:
    """One section of a grounded report.

    `index`: the slot; `region`: the area of the mask; `named`: the area that the model said ("" where it named none);
    `confidence`: probability of that name in 0–1, or None; `report`: the text without prefix; `reference`: the true text.
    """

    index: int
    region: str
    named: str
    confidence: float | None
    report: str
    reference: str = ""

    def to_json(self) -> dict[str, Any]:
        """The section as it stands in a reports file."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class GroundedReport:
    """A report whose sections point at regions: what `generate` writes and `evaluate`, `view` and the exports read.

    `report` is the whole text without prefixes; `settings` says how it was made (decoding, run, warnings).
    """

    study: str
    sections: tuple[RegionSection, ...]
    report: str
    reference: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def by_region(self) -> dict[str, RegionSection]:
        """The sections by the area of their mask (the first one where an area occurs twice)."""
        return {s.region: s for s in reversed(self.sections)}

    def to_json(self) -> dict[str, Any]:
        """One line of a reports file."""
        return {
            "study": self.study,
            "report": self.report,
            "reference": self.reference,
            "regions": [s.to_json() for s in self.sections],
            "settings": dict(self.settings),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> GroundedReport:
        """Reads one line of a reports file; raises UserError naming the field that is missing or of the wrong type."""
        if not isinstance(data, Mapping):
            raise _refuse("a report isn't an object", _REPORTS_FILE)
        for key in ("study", "report"):
            if not isinstance(data.get(key), str):
                raise _refuse(f"a report has no text field '{key}'", _REPORTS_FILE)
        where = f"study '{data['study']}'"
        rows, settings = data.get("regions") or (), data.get("settings") or {}
        if not isinstance(rows, list | tuple) or not isinstance(settings, Mapping):
            raise _refuse(f"'regions' of {where} isn't a list, or 'settings' isn't an object", _REPORTS_FILE)
        return GroundedReport(
            study=data["study"],
            sections=tuple(_section(row, i, f"section {i} of {where}") for i, row in enumerate(rows)),
            report=data["report"],
            reference=_text(data, "reference", where),
            settings=dict(settings),
        )


_REPORTS_FILE = "See docs/formats.md for the reports file."


def _section(row: Any, slot: int, where: str) -> RegionSection:
    if not isinstance(row, Mapping):
        raise _refuse(f"{where} isn't an object", _REPORTS_FILE)
    index, confidence = row.get("index", slot), row.get("confidence")
    if isinstance(index, bool) or not isinstance(index, int):
        raise _refuse(f"'index' in {where} is {index!r}, not a whole number", _REPORTS_FILE)
    if confidence is not None and (not isinstance(confidence, int | float) or not 0 <= confidence <= 1):
        raise _refuse(f"'confidence' in {where} is {confidence!r}, not a number in 0–1", _REPORTS_FILE)
    texts = {key: _text(row, key, where) for key in ("region", "named", "report", "reference")}
    return RegionSection(index=index, confidence=None if confidence is None else float(confidence), **texts)


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    """A text field; absent and null are empty."""
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise _refuse(f"'{key}' in {where} is {value!r}, not a text", _REPORTS_FILE)
    return value or ""
