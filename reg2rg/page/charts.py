"""Bars with intervals as inline SVG: small, sharp in print, readable by a screen reader, no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 120, 14


def number(value: Any, digits: int = 3) -> str:
    """A number for a table cell; a dash where there is none."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return "–"
    # the paper's percentages need no third digit
    return f"{value:.{digits if abs(value) < 10 else min(digits, 2)}f}".replace("-", "−")


def bar(
    value: float | None, low: float | None = None, high: float | None = None, *, top: float = 1.0, kind: str = ""
) -> Markup:
    """A bar from 0 to `value` on a track of length `top`, with a whisker from `low` to `high` where both are given.

    `kind` is a CSS class (model, floor, ceiling, published) or a colour (#rrggbb).
    """
    if value is None or not math.isfinite(value):
        return Markup("")
    x = _place(value, 0.0, top)
    style, css = (f' style="fill:{kind}"', "") if kind.startswith("#") else ("", f" {kind}")
    label = number(value)
    parts = [f'<rect class="track" width="{WIDTH}" height="6" y="4" rx="3"/>']
    parts.append(f'<rect class="bar{css}"{style} width="{x}" height="6" y="4" rx="3"/>')
    if low is not None and high is not None:
        parts.append(_whisker(_place(low, 0.0, top), _place(high, 0.0, top)))
        label += f" ({number(low)} to {number(high)})"
    return _svg(parts, label)


def difference_bar(value: float | None, low: float | None, high: float | None, *, reach: float) -> Markup:
    """A dot with its interval about a middle line at zero; the picture spans −`reach` to `reach`."""
    if value is None or not math.isfinite(value) or reach <= 0:
        return Markup("")
    x, middle = _place(value, -reach, reach), WIDTH / 2
    clear = low is not None and high is not None and (low > 0 or high < 0)
    parts = [f'<path class="zero" d="M{middle} 0V{HEIGHT}"/>']
    if low is not None and high is not None:
        parts.append(_whisker(_place(low, -reach, reach), _place(high, -reach, reach)))
    parts.append(f'<circle class="dot{" clear" if clear else ""}" cx="{x}" cy="7" r="3.5"/>')
    return _svg(parts, f"difference {number(value)}")


def place(value: float, start: float, stop: float, width: int) -> float:
    """Where `value` stands on an axis of `width` from `start` to `stop`, or at its end."""
    return round(width * min(1.0, max(0.0, (value - start) / (stop - start))), 1)


def whisker(low: float, high: float, middle: float, half: float) -> str:
    """An interval at the height `middle`, its ends `half` above and below."""
    top, bottom = middle - half, middle + half
    return f'<path class="whisker" d="M{low} {middle}H{high}M{low} {top}V{bottom}M{high} {top}V{bottom}"/>'


def svg(parts: Sequence[str], label: str, kind: str, size: tuple[int, int], margin: int) -> Markup:
    """A picture of CSS class `kind`, `margin` wider than `size` on either side, named for a screen reader."""
    # the parts hold nothing but numbers and our own class names
    box = f"-{margin} 0 {size[0] + 2 * margin} {size[1]}"
    opening = f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(label)}">'
    return Markup(opening + "".join(parts) + "</svg>")


def _place(value: float, start: float, stop: float) -> float:
    return place(value, start, stop, WIDTH)


def _whisker(low: float, high: float) -> str:
    return whisker(low, high, 7, 3.5)


def _svg(parts: Sequence[str], label: str) -> Markup:
    return svg(parts, label, "chart", (WIDTH, HEIGHT), 1)
