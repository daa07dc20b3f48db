"""Templates, style and script into one self-contained HTML file that asks the network for nothing.

A content security policy in the page forbids every load and every script but its own (named by hash), so that a page
stays offline whatever text it holds. Same input, same bytes: no date and no random number goes in.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from . import charts

# one script, in this order
SCRIPTS = ("voxels.js", "paint.js", "viewer.js", "page.js")


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
    return environment


def render(template: str, **context: Any) -> str:
    """The page of a template, with style and script inside."""
    script = "\n".join(asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(asset("style.css")),
            script=Markup(script),
            script_hash=digest,
            version=__version__,
            **context,
        )
    )
