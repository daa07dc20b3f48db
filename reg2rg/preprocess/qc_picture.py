"""One small picture of a study: a coronal and an axial slice, regions tinted and outlined, seen from the front and the feet.

In: `Volume`, `RegionMask`, `Facts`. Out: the bytes of a paletted PNG of 5 to 15 kB, the same for the same study. As
radiologists look at it: the patient's right is at the left of the picture, marked R; front and head are up; both slices have
one scale, and pixels are square millimetres.
"""

from __future__ import annotations

import io

import numpy as np

from ..anatomy import PALETTE, REGIONS
from ..contracts import RegionMask, Volume
from ..data.boxes import Box, Facts, around, extent, whole

WIDTH, HEIGHT, GAP = 372, 200, 4  # pixels: the two slices side by side fit into them
WIDEST = 2.0  # pixels a millimetre at most: a tiny crop isn't blown up
GREYS = 12
MARGIN_MM = 15.0
HU_TO_GREY = ((-1024, 0.0), (-160, 0.42), (240, 0.85), (1300, 1.0))  # lung, soft tissue and bone in one window
ORDER = (  # painted in this order: small regions lie over large ones
    "abdomen", "bone", "breast", "lung", "pleura", "mediastinum", "heart", "esophagus", "thyroid", "trachea and bronchie",
)  # fmt: skip
TINT = 0.28
_MARK = GREYS * (len(ORDER) + 1) + len(ORDER)  # the last colour of the palette
_LETTERS = {"R": ("1110", "1001", "1001", "1110", "1010", "1001", "1001"), "L": ("1000",) * 6 + ("1111",)}


def draw(volume: Volume, mask: RegionMask, facts: Facts) -> bytes:
    """The picture of a study, as a PNG.

    It shows the box of all regions with a margin. The coronal slice is where the lungs (or all regions) are centred, the axial
    one where the heart (or the lungs) is.
    """
    box = _view(facts, volume.spacing)
    mm = [n * s for n, s in zip(extent(box), volume.spacing, strict=True)]
    scale = min(WIDEST, (WIDTH - GAP) / (2 * mm[0]), HEIGHT / max(mm[1], mm[2]))
    size = [max(1, round(length * scale)) for length in mm]
    coronal = _slice(volume, mask, box, 1, _middle(facts, 1, ("lung", "heart")), (size[0], size[2]))
    axial = _slice(volume, mask, box, 2, _middle(facts, 2, ("heart", "lung")), (size[0], size[1]))
    page = np.zeros((max(len(coronal), len(axial)), 2 * size[0] + GAP), dtype=np.uint8)
    for place, picture in ((0, coronal), (size[0] + GAP, axial)):
        top = (len(page) - len(picture)) // 2
        page[top : top + len(picture), place : place + size[0]] = picture
        _mark(page, "R", place + 3)
        _mark(page, "L", place + size[0] - 11)
    return _png(page)


def _view(facts: Facts, spacing: tuple[float, ...]) -> Box:
    """The box of all regions with a margin, or the whole volume."""
    if not facts.boxes:
        return whole(facts.shape)
    x, y, z = (
        slice(max(0, p.start - round(MARGIN_MM / s)), min(n, p.stop + round(MARGIN_MM / s)))
        for p, s, n in zip(around(facts.boxes.values()), spacing, facts.shape, strict=True)
    )
    return x, y, z


def _middle(facts: Facts, axis: int, wanted: tuple[str, ...]) -> int:
    """The middle plane of the first of the `wanted` regions that has a voxel, or of all regions, or of the volume."""
    boxes = [facts.boxes[r] for r in wanted if r in facts.boxes][:1] or list(facts.boxes.values()) or [whole(facts.shape)]
    part = around(boxes)[axis]
    return (part.start + part.stop) // 2


def _slice(volume: Volume, mask: RegionMask, box: Box, axis: int, index: int, size: tuple[int, int]) -> np.ndarray:
    """One slice as palette indices (rows, columns), the patient's right at the left, front or head up."""
    cut = tuple(index if i == axis else part for i, part in enumerate(box))
    out, bits = _greys(volume.hu[cut], size), _nearest(mask.bits[cut], size)
    masks = [bits & np.uint16(1 << REGIONS.index(region)) != 0 for region in ORDER]
    for i, inside in enumerate(masks):
        out[inside] = out[inside] % GREYS + GREYS * (i + 1)
    for i, inside in enumerate(masks):
        out[_rim(inside)] = GREYS * (len(ORDER) + 1) + i
    return out.T[::-1, ::-1]


def _greys(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """HU → grey levels, averaged over each pixel."""
    from PIL import Image

    places, greys = zip(*HU_TO_GREY, strict=True)
    light = Image.fromarray(np.interp(plane, places, greys).astype(np.float32))
    mean = np.asarray(light.resize(size[::-1], Image.Resampling.BOX))
    return np.rint(mean * (GREYS - 1)).astype(np.uint8)


def _nearest(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The voxel at each pixel's centre."""
    picks = [((np.arange(n) + 0.5) * have / n).astype(int) for n, have in zip(size, plane.shape, strict=True)]
    return plane[np.ix_(*picks)]


def _rim(inside: np.ndarray) -> np.ndarray:
    """The True pixels that have a False neighbour; the picture's own border is no rim."""
    padded = np.pad(inside, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(inside & ~core)


def _mark(page: np.ndarray, letter: str, left: int) -> None:
    """Writes a letter on a dark ground at the top, where there is room."""
    glyph = np.array([[int(c) for c in row] for row in _LETTERS[letter]], dtype=bool).repeat(2, axis=0).repeat(2, axis=1)
    height, width = glyph.shape
    spot = page[1 : height + 3, max(0, left - 1) : left + width + 1]
    if spot.shape == (height + 2, width + 2):
        spot[:] = 0
        spot[1:-1, 1:-1][glyph] = _MARK


def _palette() -> bytes:
    """Greys, then greys tinted by each region, then each region's own colour, then the marks' yellow."""
    grey = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    colours = np.array([[int(PALETTE[r][i : i + 2], 16) for i in (1, 3, 5)] for r in ORDER], dtype=float)
    tinted = [(1 - TINT) * grey + TINT * colour for colour in colours]
    rows = np.concatenate([grey, *tinted, colours, [[255.0, 224.0, 138.0]]])
    return np.rint(rows).astype(np.uint8).tobytes()


def _png(page: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(page).convert("P")
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
