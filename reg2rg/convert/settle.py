"""From shapes to a recipe: the changes that make a recipe's modules have the checkpoint's shapes, and a view that fits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import plugins
from ..errors import UserError
from ..recipe import Recipe
from .layouts import Layout
from .shapes import Shapes, options


def plugin_kind(section: str) -> str:
    """The kind of plugin of a recipe's section."""
    return section.replace("_", "-")


def module_changes(layout: Layout, ours: Mapping[str, Tensor], recipe: Recipe, prefix: str = "") -> dict[str, Any]:
    """Plugin and options of each visual module of the layout that the recipe has, as a change of it.

    Raises UserError where shapes contradict what the recipe says.
    """
    changes = {}
    for section, plugin in layout.parts.items():
        component = getattr(recipe, section)
        if component is None:
            continue
        given = component.options if component.name == plugin else {}
        shapes = Shapes(ours, f"{prefix}{section}.")
        changes[section] = {"name": plugin, "options": options(plugin, plugin_kind(section), shapes, given, section)}
    return changes


def _fits(size: tuple[int, ...], given: Mapping[str, Any]) -> bool:
    """Whether a view of `size` voxels is whole patches, no more than the positions are built for."""
    known = zip(size, given["patch"], given["capacity"], strict=True)
    return all(n % p == 0 and n <= limit for n, p, limit in known)


def _demands(recipe: Recipe) -> list[tuple[str, tuple[int, ...], dict[str, Any]]]:
    """Module, the size of its view and its options, for those that cut a view into patches."""
    views, geometry = recipe.views, recipe.geometry_encoder
    out = [("volume encoder", views.size, recipe.volume_encoder.options)]
    if geometry is not None:
        out.append(("geometry encoder", views.geometry_size or views.size, geometry.options))
    return [(name, size, given) for name, size, given in out if {"patch", "capacity"} <= set(given)]


def view_size(recipe: Recipe) -> list[int] | None:
    """A size for `views.size` where the recipe's doesn't fit: what the geometry encoder is built for, which is the view."""
    demands = _demands(recipe)
    if not demands or all(_fits(size, given) for _, size, given in demands):
        return None
    own = [given["capacity"] for _, _, given in reversed(demands)]
    return next((list(size) for size in own if all(_fits(size, given) for *_, given in demands)), None)


def check_views(recipe: Recipe) -> None:
    """Raises UserError where the recipe's view isn't whole patches of the checkpoint's encoders, or too large for them."""
    for name, size, given in _demands(recipe):
        if not _fits(size, given):
            what = f"views of {tuple(size)} voxels don't fit the {name}: patches of {tuple(given['patch'])}, at most "
            raise UserError(f"{what}{tuple(given['capacity'])}", fix="Set a size: --set views.size=[H,W,D]")


def unusual(changes: Mapping[str, Any]) -> list[str]:
    """The options of `changes` that aren't the plugins' defaults, which are the published sizes, as KEY=VALUE."""
    out = []
    for section, change in changes.items():
        known = plugins.parameters(plugins.target_of(plugin_kind(section), change["name"]))
        for key, value in change["options"].items():
            default = known[key].default
            if value != (list(default) if isinstance(default, tuple) else default):
                out.append(f"{section}.options.{key}={value}".replace(" ", ""))
    return out
