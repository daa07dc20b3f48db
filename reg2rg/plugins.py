"""Discovery, isolation and resolution of plugins: names to objects.

An *offer* is data: listing resolves none of them. One broken package is listed with its reason and takes nothing else
down; a name offered twice is an error only when that name is used.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import typing
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from . import hookspecs
from .errors import UserError, suggest

GROUP = "reg2rg"

# kind → its registration hook; the kind's name is what the command line and the error messages say.
KINDS: dict[str, str] = {
    "segmenter": "register_segmenters",
    "volume-encoder": "register_volume_encoders",
    "adapter": "register_adapters",
    "geometry-encoder": "register_geometry_encoders",
    "decoder": "register_decoders",
    "metric": "register_metrics",
    "labeler": "register_labelers",
    "splitter": "register_splitters",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """One part that a package offers: nothing of it is imported until `resolve`."""

    kind: str
    name: str
    target: str
    summary: str
    requires: tuple[str, ...]
    package: str
    version: str = ""

    def missing(self) -> list[str]:
        """The modules of `requires` that are not installed."""
        return [name for name in self.requires if importlib.util.find_spec(name) is None]


@dataclasses.dataclass(frozen=True, slots=True)
class Broken:
    """A package whose entry point or hook failed, with the reason."""

    package: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Registry:
    """All offers of all packages, and the packages that failed."""

    offers: tuple[Offer, ...]
    broken: tuple[Broken, ...]

    def of(self, kind: str) -> tuple[Offer, ...]:
        """The offers of one kind."""
        return tuple(offer for offer in self.offers if offer.kind == kind)

    def find(self, kind: str, name: str) -> Offer:
        """The offer called `name` or `package:name`.

        Raises UserError where there is none (with near names) or more than one (with their packages).
        """
        package, _, bare = name.rpartition(":")
        found = [o for o in self.of(kind) if o.name == bare and package in ("", o.package)]
        if len(found) > 1:
            owners = " and ".join(f"'{o.package}'" for o in found)
            raise UserError(f"{kind} '{name}' is offered by {owners}", fix=f"Write '{found[0].package}:{bare}' to pick one.")
        if not found:
            broken = "".join(f" Package '{b.package}' could not be loaded: {b.reason}." for b in self.broken)
            raise UserError(f"no {kind} is called '{name}'", fix=suggest(bare, (o.name for o in self.of(kind))) + broken)
        return found[0]


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def _package(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else (point.value.split(":")[0], "")


def collect(points: Iterable[EntryPoint]) -> Registry:
    """Loads each entry point in isolation and asks its hooks for offers."""
    offers: list[Offer] = []
    broken: list[Broken] = []
    for point in points:
        package, version = _package(point)
        try:
            offers += _offers(point.load(), package, version)
        except Exception as error:
            broken.append(Broken(package, _reason(error)))
    return Registry(tuple(offers), tuple(broken))


def _offers(plugin: Any, package: str, version: str) -> list[Offer]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, package)
    unknown = [n for n in dir(plugin) if n.startswith("register_") and n not in KINDS.values()]
    if unknown:
        raise TypeError(f"unknown hook '{unknown[0]}'. {suggest(unknown[0], KINDS.values())}")
    offers: list[Offer] = []
    for kind, hook in KINDS.items():

        def register(name: str, target: str, *, summary: str = "", requires: tuple[str, ...] = (), kind: str = kind) -> None:
            if not name or ":" in name or not isinstance(target, str) or target.count(":") != 1:
                raise TypeError(f"{kind} '{name}' must register a plain name and a 'module:Object' string, not {target!r}")
            offers.append(Offer(kind, name, target, summary, tuple(requires), package, version))

        getattr(manager.hook, hook)(register=register)
    return offers


@functools.cache
def registry() -> Registry:
    """Every installed plugin, read once a process."""
    return collect(entry_points(group=GROUP))


def target_of(kind: str, name: str) -> Any:
    """Imports the object behind an offer; a failure names the plugin and its package."""
    offer = registry().find(kind, name)
    if missing := offer.missing():
        raise UserError(
            f"{kind} '{offer.name}' of package '{offer.package}' needs {', '.join(missing)}, which is not installed",
            fix=f"Run: pip install {' '.join(missing)}",
        )
    module, _, attribute = offer.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise UserError(
            f"{kind} '{offer.name}' of package '{offer.package}' could not be imported ({_reason(error)})",
            fix="Update or remove that package, or choose another.",
        ) from error


def parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    """The options that `factory` takes."""
    return {
        name: p
        for name, p in inspect.signature(factory).parameters.items()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name != "self"
    }


def resolve(kind: str, name: str, options: Mapping[str, Any] | None = None, **filled: Any) -> Any:
    """Builds the plugin `name`: imports its target and calls it with `options`, checked against its signature.

    `filled` holds values that the toolkit knows (a view size, an encoder's width); each is passed only where the
    signature has such a parameter and `options` doesn't set it. All faulty options are named at once.
    """
    factory = target_of(kind, name)
    known = parameters(factory)
    given = {**{k: v for k, v in filled.items() if k in known}, **(options or {})}
    faults = [f"unknown option '{k}' ({suggest(k, known)})" for k in given if k not in known]
    try:
        hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except Exception:
        hints = {}
    for key, value in given.items():
        if key in known and key in hints:
            given[key], fault = _coerce(key, value, hints[key])
            faults += [fault] if fault else []
    faults += [f"option '{k}' is missing" for k, p in known.items() if p.default is inspect.Parameter.empty and k not in given]
    if faults:
        raise UserError(f"{kind} '{name}': " + "; ".join(faults), fix=f"See: reg2rg plugins show {name}")
    return factory(**given)


def _coerce(key: str, value: Any, hint: Any) -> tuple[Any, str]:
    """The value as its declared type, or a fault in words (YAML and the command line give text for 5e-5)."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:
        return value, ""
    try:
        return adapter.validate_python(value), ""
    except ValidationError as error:
        return value, f"option '{key}' is {value!r}: {error.errors()[0]['msg'].lower()}"
