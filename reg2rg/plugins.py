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
import operator
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

import pluggy

from . import hookspecs
from .errors import UserError, suggest

GROUP = hookspecs.PROJECT

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

# What a third party's import can throw at us; SystemExit is a script that was written to be run, not imported.
_FAILURES = (Exception, SystemExit)


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

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' of package '{self.package}'"

    def missing(self) -> list[str]:
        """The modules of `requires` that are not installed."""
        return [name for name in self.requires if not _installed(name)]


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

    def named(self, name: str) -> tuple[Offer, ...]:
        """The offers of any kind called `name` or `package:name`."""
        package, _, bare = name.rpartition(":")
        return tuple(o for o in self.offers if o.name == bare and _normal(package) in ("", _normal(o.package)))

    def find(self, kind: str, name: str) -> Offer:
        """The offer called `name` or `package:name`.

        Raises UserError where there is none (with near names) or more than one (with their packages).
        """
        found = [o for o in self.named(name) if o.kind == kind]
        bare = name.rpartition(":")[2]
        if len(found) > 1:
            owners = sorted({o.package for o in found})
            listed = " and ".join(f"'{owner}'" for owner in owners)
            pick = " or ".join(f"'{owner}:{bare}'" for owner in owners)
            fix = f"Write {pick} to pick one." if len(owners) > 1 else "That package offers it twice: update or remove it."
            raise UserError(f"{kind} '{name}' is offered by {listed}", fix=fix)
        if not found:
            broken = "".join(f" Package '{b.package}' could not be loaded: {b.reason}." for b in self.broken)
            raise UserError(f"no {kind} is called '{name}'", fix=suggest(bare, (o.name for o in self.of(kind))) + broken)
        return found[0]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the parent of a dotted name is missing, or a stand-in lies in sys.modules
        return False


def _normal(package: str) -> str:
    return package.lower().replace("_", "-").replace(".", "-")


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")


def _package(point: EntryPoint) -> tuple[str, str]:
    fallback = point.value.split(":")[0].split(".")[0]
    return (point.dist.name or fallback, point.dist.version) if point.dist else (fallback, "")


def collect(points: Iterable[EntryPoint]) -> Registry:
    """Loads each entry point in isolation and asks its hooks for offers."""
    offers: list[Offer] = []
    broken: list[Broken] = []
    for point in points:
        package, version = point.value, ""
        try:
            package, version = _package(point)
            if not point.pattern.match(point.value):
                raise TypeError(f"its entry point '{point.value}' is neither 'module' nor 'module:object'")
            offers += _offers(point.load(), package, version)
        except _FAILURES as error:
            broken.append(Broken(package, _reason(error)))
    return Registry(tuple(offers), tuple(broken))


def _offers(plugin: Any, package: str, version: str) -> list[Offer]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    _check_hooks(plugin)
    manager.register(plugin, package)
    manager.check_pending()
    offers: list[Offer] = []
    for kind, hook in KINDS.items():

        def register(name: str, target: str, *, summary: str = "", requires: tuple[str, ...] = (), kind: str = kind) -> None:
            if not isinstance(name, str) or not name or ":" in name or not isinstance(target, str) or target.count(":") != 1:
                raise TypeError(f"{kind} {name!r} must register a plain name and a 'module:Object' string, not {target!r}")
            if any(o.kind == kind and o.name == name for o in offers):
                raise TypeError(f"{kind} '{name}' is registered twice")
            needs = (requires,) if isinstance(requires, str) else tuple(requires)
            offers.append(Offer(kind, name, target, summary, needs, package, version))

        getattr(manager.hook, hook)(register=register)
    return offers


def _check_hooks(plugin: Any) -> None:
    """Refuses a misspelt hook and one without its mark: pluggy would pass over both in silence."""
    for name in dir(plugin):
        marked = hasattr(getattr(plugin, name, None), f"{GROUP}_impl")
        if name in KINDS.values() and not marked:
            raise TypeError(f"hook '{name}' isn't marked with @reg2rg.hookimpl")
        if marked and name not in KINDS.values():
            raise TypeError(f"unknown hook '{name}'. {suggest(name, KINDS.values())}")


def _read_metadata() -> tuple[list[EntryPoint], list[Broken]]:
    """The group's entry points; a package whose metadata can't be read is broken and hides none of the others."""
    try:
        return list(entry_points(group=GROUP)), []
    except Exception:
        points: dict[str, EntryPoint] = {}
        broken: list[Broken] = []
        for dist in distributions():
            try:
                points |= {f"{dist.name}:{p.name}": p for p in dist.entry_points if p.group == GROUP}
            except Exception as error:
                broken.append(Broken(str(getattr(dist, "_path", dist)), f"its metadata can't be read ({_reason(error)})"))
        return list(points.values()), broken


@functools.cache
def registry() -> Registry:
    """Every installed plugin, read once a process."""
    points, broken = _read_metadata()
    found = collect(points)
    return Registry(found.offers, (*found.broken, *broken))


def target_of(kind: str, name: str) -> Any:
    """Imports the object behind an offer; a failure names the plugin and its package."""
    offer = registry().find(kind, name)
    if missing := offer.missing():
        raise UserError(
            f"{offer} needs the module {' and '.join(missing)}, which is not installed",
            fix=f"Install it, for example: pip install {' '.join(missing)}",
        )
    module, _, attribute = offer.target.partition(":")
    try:
        target = operator.attrgetter(attribute)(importlib.import_module(module))
    except _FAILURES as error:
        raise UserError(
            f"{offer} could not be imported ({_reason(error)})", fix="Update or remove that package, or choose another."
        ) from error
    if not callable(target):
        raise UserError(f"{offer} is {reprlib.repr(target)}, not a class or a function", fix="Update that package.")
    return target


def parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    """The options that `factory` takes, by name; `*args` and `**kwargs` take none."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # a built-in without a signature takes no options
        return {}
    return {k: p for k, p in signature.parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def arguments(factory: Any, options: Mapping[str, Any], filled: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What to call `factory` with, coerced to its declared types, and every fault of `options` in words."""
    known = parameters(factory)
    given = {**{k: v for k, v in filled.items() if k in known}, **options}
    faults = [f"unknown option '{k}' ({suggest(str(k), known).rstrip('.')})" for k in given if k not in known]
    for key, hint in _hints(factory, known).items():
        if key in given:
            given[key], fault = _coerce(key, given[key], hint)
            faults += [fault] if fault else []
    faults += [f"option '{k}' is missing" for k, p in known.items() if p.default is inspect.Parameter.empty and k not in given]
    return given, faults


def resolve(kind: str, name: str, options: Mapping[str, Any] | None = None, **filled: Any) -> Any:
    """Builds the plugin `name`: imports its target and calls it with `options`, checked against its signature.

    `filled` holds values that the toolkit knows (a view size, an encoder's width); each is passed only where the
    signature has such a parameter and `options` doesn't set it. All faulty options are named at once.
    """
    factory, offer = target_of(kind, name), registry().find(kind, name)
    given, faults = arguments(factory, options or {}, filled)
    if faults:
        raise UserError(f"{offer}: " + "; ".join(faults), fix=f"See: reg2rg plugins show {offer.name}")
    try:
        return factory(**given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{offer} could not be built ({_reason(error)})", fix="REG2RG_DEBUG=1 shows where.") from error


def _hints(factory: Any, known: Iterable[str]) -> dict[str, Any]:
    """The declared types of the options; one that can't be evaluated (imported for type checkers only) is left out."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    function = getattr(function, "__func__", inspect.unwrap(function))
    names = getattr(function, "__globals__", {})
    hints: dict[str, Any] = {}
    for key, annotation in getattr(function, "__annotations__", {}).items():
        if key in known:
            try:
                hints |= typing.get_type_hints(types.SimpleNamespace(__annotations__={key: annotation}), names)
            except Exception:
                continue
    return hints


def _coerce(key: str, value: Any, hint: Any) -> tuple[Any, str]:
    """The value as its declared type, or a fault in words (YAML and the command line give text for 5e-5)."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True))
    except Exception:  # a type that pydantic can't hold, or one with a configuration of its own
        return value, ""
    try:
        return adapter.validate_python(value), ""
    except ValidationError as error:
        first = error.errors()[0]
        return value, f"option '{key}' is {reprlib.repr(value)}: {first['msg'][0].lower()}{first['msg'][1:]}"
