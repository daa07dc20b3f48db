"""Templates, style and script into one self-contained HTML file that asks the network for nothing.

A content security policy in the page forbids every load and every script but its own (named by hash), so that a page
stays offline whatever text it holds. Same input, same bytes: no date and no random number goes in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from . import charts, plots

# one script, in this order
SCRIPTS = ("voxels.js", "paint.js", "viewer.js", "page.js")
STYLES = ("style.css",)


def asset(name: str) -> str:
    """The text of a file in `reg2rg/page/assets`."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reg2rg.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "area": lambda region: region[:1].upper() + region[1:],
        "number": charts.number,
        "percent": lambda value: f"{100 * value:.0f} %",
        "ml": lambda value: f"{value:,.0f} ml" if value >= 10 else f"{value:.1f} ml",
    }
    environment.globals |= {"bar": charts.bar, "difference_bar": charts.difference_bar}
    environment.globals |= {"wide_bar": plots.wide_bar, "wide_difference": plots.wide_difference}
    return environment


def render(template: str, *, styles: Sequence[str] = STYLES, scripts: Sequence[str] = SCRIPTS, **context: Any) -> str:
    """The page of a template, with styles and scripts inside."""
    script = "\n".join(asset(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup("\n".join(asset(name) for name in styles)),
            script=Markup(script),
            script_hash=digest,
            version=__version__,
            **context,
        )
    )
