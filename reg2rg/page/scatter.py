"""Cost against quality as inline SVG: one dot with its interval a method, names beside the dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from .charts import number

SIZE = (370, 250)
_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 14, 12, 40


class Point(NamedTuple):
    """A method: its name, what it costs, and its score with the interval."""

    name: str
    cost: float
    value: float
    low: float
    high: float


def scatter(points: Sequence[Point], cost: str, score: str) -> Markup:
    """The picture of `score` (0–1) over a `cost`, on a logarithmic axis where the costs span a factor of 20; "" for none."""
    points = [p for p in points if p.cost > 0 and math.isfinite(p.value)]
    if not points:
        return Markup("")
    lowest, highest = min(p.cost for p in points), max(p.cost for p in points)
    scale = math.log10 if highest > 20 * lowest else float
    start, stop = scale(lowest), scale(highest)
    margin = 0.08 * (stop - start) or 0.05 * abs(stop) or 1.0
    start, stop = start - margin, stop + margin
    top = min(1.0, 1.15 * max(p.high for p in points)) or 1.0
    right, bottom = SIZE[0] - _RIGHT, SIZE[1] - _BOTTOM

    def x(value: float) -> float:
        return round(_LEFT + (right - _LEFT) * (scale(value) - start) / (stop - start), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - _TOP) * min(1.0, max(0.0, value / top)), 1)

    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for i in range(5):
        value = top * i / 4
        parts.append(f'<path class="rule" d="M{_LEFT} {y(value)}H{right}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{y(value) + 4}" text-anchor="end">{number(value, 2)}</text>')
    for value in (lowest, highest) if highest > lowest else (lowest,):
        parts.append(f'<text class="tick" x="{x(value)}" y="{bottom + 15}" text-anchor="middle">{_short(value)}</text>')
    parts.append(f'<text class="tick" x="{(_LEFT + right) / 2}" y="{bottom + 33}" text-anchor="middle">{escape(cost)}</text>')
    for place, p in enumerate(points, start=1):
        parts.append(f'<path class="whisker" d="M{x(p.cost)} {y(p.low)}V{y(p.high)}"/>')
        parts.append(
            f'<circle class="dot clear" cx="{x(p.cost)}" cy="{y(p.value)}" r="4"><title>{escape(p.name)}</title></circle>'
        )
        parts.append(f'<text class="tick" x="{x(p.cost) + 6}" y="{y(p.value) - 5}">{place}</text>')
    label = f"{score} over {cost}"
    return Markup(
        f'<svg class="scatter" viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def _short(value: float) -> str:
    """A number as an axis has it: 599k, 6.7G, 142."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
