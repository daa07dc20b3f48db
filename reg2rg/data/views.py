"""Local Feature Decoupling (Sec. III-B, Eqs. 3–5) and the global view (Eq. 7): a segmented CT → what the encoders see.

In: `Volume` and `RegionMask`, or a study's file, and the recipe's `views`. Out: `StudyViews`. A region's *texture* is the
masked volume cropped to its own box and resized, so that its detail keeps the encoder's full resolution; its *geometry* is
the uncropped mask, which keeps the size and place that the crop has lost. By default cropping is by intensity (voxels above
-1000 HU), resizing is area averaging without keeping the aspect, and masks stay soft, all as in the official implementation.

`aspect: keep`: the grid stands for a room of 256×256×192 mm, or one of the same proportions (as 256×256×64 voxels of 1×1×3 mm,
which the published data have, do). What is shown is scaled by one factor in mm so that it just fits in, lies in the middle, and
has background around it. The frame scales the global view and the masks, its crop a region's texture.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..anatomy import REGIONS
from ..contracts import RegionMask, StudyViews, Volume
from ..errors import UserError
from ..recipe import Views
from ..shares import side_by_side
from .area import Rows, area_mean
from .boxes import FOREGROUND, Box, Facts, around, bounding_box, c_order, extent, inside, measure, overlap, whole
from .chunks import Blocks, read_blocks
from .store import open_study, read_facts, read_mask, read_volume

__all__ = ["BACKGROUND", "FOREGROUND", "bounding_box", "make_views", "shown_regions", "stored_views"]

BACKGROUND = -1024  # HU outside a region
ROOM_MM = (256.0, 256.0, 192.0)  # what a view's grid stands for where the aspect is kept


def make_views(volume: Volume, mask: RegionMask, views: Views, regions: Sequence[str], geometry: bool = True) -> StudyViews:
    """The views of one study for those of `regions` that have content, in that order.

    A region without a voxel is left out; so is one over air alone, except where `crop` is `mask`. `geometry` False skips the
    masks. Raises UserError where the volume holds nothing above -1000 HU.
    """
    plan = _plan(measure(volume.hu, mask.bits), views, regions, geometry, volume.source)
    return _Cut(plan, views, volume.spacing, _in_memory(volume.hu, plan.hu), _in_memory(mask.bits, plan.bits)).views()


def stored_views(path: Path, views: Views, regions: Sequence[str], geometry: bool = True) -> StudyViews:
    """`make_views` of a study's file, bit for bit, reading only the boxes that it takes: the frame for the global view alone.

    A file without facts (of an older store) is read whole. Reads in as many threads as torch uses.
    """
    with open_study(path) as file:
        facts, threads = read_facts(file), torch.get_num_threads()
        if facts is not None:
            plan = _plan(facts, views, regions, geometry, str(file.attrs.get("source", "")))
            hu, bits = read_blocks(file["hu"], plan.hu, threads), read_blocks(file["regions"], plan.bits, threads)
            x, y, z = np.linalg.norm(file.attrs["affine"][:3, :3], axis=0).tolist()
    if facts is None:
        return make_views(read_volume(path), read_mask(path), views, regions, geometry)
    return _Cut(plan, views, (x, y, z), hu, bits).views()


def shown_regions(facts: Facts, views: Views) -> tuple[str, ...]:
    """The regions that the views of a study with these facts show, in the order of `REGIONS`; no voxel is read."""
    if facts.frame is None:
        return ()
    return tuple(region for region in REGIONS if _region(region, facts, facts.frame, views, geometry=False))


def _in_memory(array: np.ndarray, boxes: Sequence[Box]) -> Blocks:
    """The part of an array that holds `boxes`; copied to C order where it lies otherwise, as what NIfTI files hold does."""
    if not boxes:
        return Blocks(())
    part = around(boxes)
    return Blocks([(part, array[part] if array.strides[2] == array.itemsize else c_order(array[part]))])


@dataclasses.dataclass(frozen=True, slots=True)
class _Region:
    """One region to be shown: the parts of the study that its texture and its geometry are made of, where it has them."""

    name: str
    texture: Box | None
    geometry: Box | None

    @property
    def bit(self) -> np.uint16:
        return np.uint16(REGIONS.index(self.name))


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be cut from a study, and the boxes in which its HU and its regions' bits are needed for that."""

    frame: Box
    regions: list[_Region]
    geometry: bool
    hu: list[Box]
    bits: list[Box]


def _plan(facts: Facts, views: Views, regions: Sequence[str], geometry: bool, source: str) -> _Plan:
    if facts.frame is None:
        raise UserError("the volume holds nothing but air", source, "Check that its intensities are Hounsfield units.")
    shown = [region for name in regions if (region := _region(name, facts, facts.frame, views, geometry))]
    textures = [region.texture for region in shown if region.texture]
    masks = [region.geometry for region in shown if region.geometry]
    return _Plan(facts.frame, shown, geometry, [facts.frame] * views.image + textures, textures + masks)


def _region(name: str, facts: Facts, frame: Box, views: Views, geometry: bool) -> _Region | None:
    if facts.voxels.get(name, 0) < views.min_voxels:
        return None
    crop = facts.boxes[name] if views.crop == "mask" else facts.contents.get(name)
    if crop is None:
        return None
    framed = overlap(facts.boxes[name], frame)
    texture = {"cropped": crop, "masked": framed, "none": None}[views.texture]
    return _Region(name, texture, framed if geometry else None)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Cuts what the plan says out of a study's HU and bits, and resizes it."""

    plan: _Plan
    settings: Views
    spacing: tuple[float, float, float]
    hu: Blocks
    bits: Blocks

    def views(self) -> StudyViews:
        """All views; to hold less at once, masks are made when the HU aren't needed any more."""
        size, regions, threads = self.settings.size, self.plan.regions, torch.get_num_threads()
        image = self._air(1, *size) if self.settings.image else None
        textures = self._air(len(regions) if self.settings.texture != "none" else 0, *size)
        work = [functools.partial(self._image, image[0])] if image is not None else []
        work += [functools.partial(self._texture, r.bit, r.texture, out) for r, out in zip(regions, textures) if r.texture]  # noqa: B905
        side_by_side(lambda cut: cut(), work, threads)
        self.hu.parts.clear()
        masks = np.zeros((len(regions) if self.plan.geometry else 0, *(self.settings.geometry_size or size)), dtype=np.float32)
        work = [functools.partial(self._mask, r.bit, r.geometry, out) for r, out in zip(regions, masks) if r.geometry]  # noqa: B905
        side_by_side(lambda cut: cut(), work, threads)
        names = tuple(region.name for region in regions)
        whole_view = None if image is None else torch.from_numpy(image)
        return StudyViews(whole_view, torch.from_numpy(textures)[:, None], torch.from_numpy(masks)[:, None], names)

    def _air(self, *shape: int) -> np.ndarray:
        """An array of windowed background."""
        value = np.array(BACKGROUND, dtype=np.float32)
        self._window(value)
        return np.full(shape, value)

    def _image(self, out: np.ndarray) -> None:
        frame = self.plan.frame
        area_mean(_plain(self.hu[frame]), whole(extent(frame)), extent(frame), self._filled(frame, out), self._window)

    def _texture(self, bit: np.uint16, box: Box, out: np.ndarray) -> None:
        hu, bits, frame = self.hu[box], self.bits[box], self.plan.frame
        if self.settings.texture == "cropped":
            area_mean(_masked(hu, bits, bit), whole(extent(box)), extent(box), self._filled(box, out), self._window)
        else:  # without LFD: the masked volume, uncropped
            rows, after = _above_background(hu, bits, bit), self._window_above
            area_mean(rows, inside(box, frame), extent(frame), self._filled(frame, out), after)

    def _mask(self, bit: np.uint16, box: Box, out: np.ndarray) -> None:
        frame = self.plan.frame
        cells, after = self._filled(frame, out), _round if self.settings.masks == "binary" else None
        area_mean(_inside(self.bits[box], bit, cells.shape), inside(box, frame), extent(frame), cells, after)

    def _filled(self, box: Box, out: np.ndarray) -> np.ndarray:
        """The part of the grid `out` that a box fills: all of it, or what keeps the box's proportions."""
        if self.settings.aspect == "stretch":
            return out
        share = np.array(extent(box)) * self.spacing / ROOM_MM
        cells = np.maximum(1, np.rint(share / share.max() * out.shape).astype(int))
        start = (out.shape - cells) // 2
        return out[tuple(slice(a, a + n) for a, n in zip(start, cells, strict=True))]

    def _window(self, hu: np.ndarray) -> None:
        """HU → [-1, 1], clamped to the window; in place."""
        low, high = self.settings.window
        np.clip(hu, low, high, out=hu)
        hu -= (low + high) / 2
        hu /= (high - low) / 2

    def _window_above(self, above: np.ndarray) -> None:
        above += BACKGROUND
        self._window(above)


def _plain(hu: np.ndarray) -> Rows:
    return lambda a, b: hu[a:b].astype(np.float32)


def _masked(hu: np.ndarray, bits: np.ndarray, bit: np.uint16) -> Rows:
    """HU within the region, background elsewhere."""

    def rows(a: int, b: int) -> np.ndarray:
        keep = ((bits[a:b] >> bit) & np.uint16(1)).view(np.int16)
        np.negative(keep, out=keep)  # all ones within
        mixed = hu[a:b] ^ np.int16(BACKGROUND)
        mixed &= keep
        mixed ^= np.int16(BACKGROUND)
        return mixed.astype(np.float32)

    return rows


def _above_background(hu: np.ndarray, bits: np.ndarray, bit: np.uint16) -> Rows:
    """HU less the background within the region, 0 elsewhere."""
    return lambda a, b: (hu[a:b].astype(np.float32) - BACKGROUND) * ((bits[a:b] >> bit) & np.uint16(1))


def _inside(bits: np.ndarray, bit: np.uint16, cells: Sequence[int]) -> Rows:
    """1 within the region, 0 elsewhere, in two bytes where these hold the voxels of a window across X and Y."""
    x, y, _ = (n // size + 2 for n, size in zip(bits.shape, cells, strict=True))
    dtype = np.uint16 if x * y < 1 << 16 else np.float32
    return lambda a, b: ((bits[a:b] >> bit) & np.uint16(1)).astype(dtype, copy=False)


def _round(mask: np.ndarray) -> None:
    np.greater_equal(mask, 0.5, out=mask)
