"""Plots of an evaluation as inline SVG: wide bars with floors, differences, and the two curves of report length.

As in `charts`, every plot is small, sharp in print, named for a screen reader, and coloured by the page's style alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from .charts import number, place, svg, whisker

WIDTH, HEIGHT = 300, 18
_PLOT = (760, 300)  # the length plot
_MARGIN = (46, 16, 16, 44)  # left, top, right, bottom


def wide_bar(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    top: float = 1.0,
    marks: Sequence[tuple[str, float]] = (),
    color: str = "",
) -> Markup:
    """A bar from 0 to `value` on an axis to `top`, quarters ruled, with its interval and a tick for each of `marks`.

    A mark is (CSS class, value), such as a floor's.
    """
    if value is None or not math.isfinite(value):
        return Markup("")
    style = f' style="fill:{color}"' if color.startswith("#") else ""
    rules = "".join(f"M{WIDTH * i / 4:g} 2V{HEIGHT - 2}" for i in range(5))
    parts = [f'<path class="rule" d="{rules}"/>', f'<rect class="bar"{style} width="{_x(value, 0, top)}" height="8" y="5"/>']
    label = number(value)
    if low is not None and high is not None:
        parts.append(_whisker(_x(low, 0, top), _x(high, 0, top)))
        label += f" ({number(low)} to {number(high)})"
    parts += [f'<path class="mark {name}" d="M{_x(at, 0, top)} 1V{HEIGHT - 1}"/>' for name, at in marks if math.isfinite(at)]
    return _svg(parts, label)


def wide_difference(
    value: float | None, low: float | None = None, high: float | None = None, *, reach: float, better: str = ""
) -> Markup:
    """A dot with its interval about zero on an axis from −`reach` to `reach`; `better` is "this", "other" or ""."""
    if value is None or not math.isfinite(value) or reach <= 0:
        return Markup("")
    parts = [
        f'<path class="rule" d="M0 2V{HEIGHT - 2}M{WIDTH} 2V{HEIGHT - 2}"/>',
        f'<path class="zero" d="M{WIDTH / 2:g} 0V{HEIGHT}"/>',
    ]
    label = f"difference {number(value)}"
    if low is not None and high is not None:
        parts.append(_whisker(_x(low, -reach, reach), _x(high, -reach, reach)))
        label += f" ({number(low)} to {number(high)})"
    parts.append(f'<circle class="dot {better}" cx="{_x(value, -reach, reach)}" cy="9" r="4.5"/>')
    return _svg(parts, label)


def _x(value: float, start: float, stop: float) -> float:
    return place(value, start, stop, WIDTH)


def _whisker(low: float, high: float) -> str:
    return whisker(low, high, 9, 4)


def _svg(parts: Sequence[str], label: str) -> Markup:
    return svg(parts, label, "wide", (WIDTH, HEIGHT), 5)


def density_plot(length: Mapping[str, Any], attributes: str = 'class="density"') -> Markup:
    """The distributions of report length (the part `length` of an evaluation): reference dashed, written filled."""
    found = length.get("density") or {}
    grid = [float(x) for x in found.get("words", ())]
    curves = {side: [float(y) for y in found.get(side, ())] for side in ("reference", "prediction")}
    if len(grid) < 2 or any(len(curve) != len(grid) for curve in curves.values()) or grid[-1] <= 0:
        return Markup("")
    (width, height), (left, above, right, below) = _PLOT, _MARGIN
    peak = 1.08 * max(max(curve) for curve in curves.values()) or 1.0
    last = _shown_until(grid, list(curves.values()))
    place = lambda x, y: (  # noqa: E731
        left + (width - left - right) * x / last,
        height - below - (height - above - below) * y / peak,
    )
    lines = {side: _path(place, grid, curve, last) for side, curve in curves.items()}
    floor = f"L{place(last, 0)[0]:.1f} {height - below}L{left} {height - below}Z"
    means = {side: float(length[side]["mean"]) for side in curves if isinstance(length.get(side), Mapping)}
    parts = [
        *_axes(place, last),
        f'<path class="area" d="{lines["prediction"]}{floor}"/>',
        *(f'<path class="line {side}" d="{line}"/>' for side, line in lines.items()),
        *(f'<path class="mean {side}" d="M{place(m, 0)[0]:.1f} {above}V{height - below}"/>' for side, m in means.items()),
        *_legend(width - right - 270, above + 6, means, length),
    ]
    label = f"Report length in words: KL {number(length.get('kl'))} nats"
    return Markup(
        f'<svg {attributes} viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">' + "".join(parts) + "</svg>"
    )


def _shown_until(grid: Sequence[float], curves: Sequence[Sequence[float]]) -> float:
    """Where the picture ends: behind 99.8 % of both distributions, so that one endless report doesn't squeeze the rest."""
    ends = []
    for curve in curves:
        total, so_far = sum(curve) or 1.0, 0.0
        for x, y in zip(grid, curve, strict=True):
            so_far += y
            if so_far >= 0.998 * total:
                ends.append(x)
                break
    return max([*ends, grid[1]])


def _path(place: Any, grid: Sequence[float], curve: Sequence[float], last: float) -> str:
    points = [place(x, y) for x, y in zip(grid, curve, strict=True) if x <= last]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _axes(place: Any, last: float) -> list[str]:
    left, bottom = place(0, 0)
    step = _step(last)
    parts = [f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{place(last, 0)[0]:.1f}"/>']
    for i in range(int(last / step) + 1):
        x = place(i * step, 0)[0]
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom:.1f}v5"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{i * step:g}</text>')
    middle = (left + place(last, 0)[0]) / 2
    parts.append(f'<text class="tick" x="{middle:.1f}" y="{bottom + 36:.1f}" text-anchor="middle">words in a report</text>')
    top = place(0, 0)[1] / 2
    parts.append(f'<text class="tick" transform="translate(16 {top:.1f}) rotate(-90)" text-anchor="middle">density</text>')
    return parts


def _step(last: float) -> float:
    """A round step that gives five to ten ticks."""
    rough = 10 ** math.floor(math.log10(max(last, 1.0)))
    return next(rough * f for f in (0.1, 0.2, 0.5, 1.0, 2.0) if last / (rough * f) <= 10)


def _legend(x: float, y: float, means: Mapping[str, float], length: Mapping[str, Any]) -> list[str]:
    names = {"reference": "references", "prediction": "written reports"}
    parts = []
    for i, (side, mean) in enumerate(means.items()):
        row = y + 8 + 20 * i
        parts.append(f'<path class="line {side}" d="M{x} {row}h26"/>')
        parts.append(f'<text x="{x + 34}" y="{row + 4}">{names[side]}, mean {number(mean, 1)} words</text>')
    interval = length.get("kl_interval")
    within = f" ({number(interval[0], 2)} to {number(interval[1], 2)})" if interval else ""
    return [*parts, f'<text x="{x}" y="{y + 52}">KL {number(length.get("kl"))} nats{within}</text>']


# A file has no page around it: its colours are its own, and white paper behind it.
_FILE_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#17212b}.tick{fill:#586673}.axis{stroke:#586673;fill:none}"
    ".line{fill:none;stroke-width:2}.line.prediction,.mean.prediction{stroke:#0a5fb4}"
    ".line.reference,.mean.reference{stroke:#b3541e;stroke-dasharray:6 4}.mean{stroke-width:1;opacity:.6;fill:none}"
    ".area{fill:#0a5fb4;opacity:.14}"
)


def length_figure(length: Mapping[str, Any]) -> str:
    """The length plot as an SVG file of its own, for a paper; "" where the evaluation holds no distributions."""
    plot = density_plot(length, f'xmlns="http://www.w3.org/2000/svg" width="{_PLOT[0]}" height="{_PLOT[1]}"')
    if not plot:
        return ""
    head, _, body = str(plot).partition(">")
    back = f'<rect width="{_PLOT[0]}" height="{_PLOT[1]}" fill="#fff"/>'
    return f"{head}><style>{_FILE_STYLE}</style>{back}{body}\n"
