"""Recipes: a method as data. YAML → a typed, frozen `Recipe`, with every fault named at once.

A recipe states only its differences from the one it `extends`; the resolved recipe lies in every run folder.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from . import strict_yaml
from .errors import EXIT_FAILED, EXIT_USAGE, UserError, suggest

Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


def _rising(window: tuple[float, float]) -> tuple[float, float]:
    if window[0] >= window[1]:
        raise ValueError("the lower bound must lie below the upper one")
    return window


def _component(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _component_or_none(value: Any) -> Any:
    return None if value in (None, "none") else _component(value)


class Component(_Section):
    """A plugin by name with its options; a bare name is short for one without options."""

    name: str
    options: dict[str, Any] = {}


class Views(_Section):
    """Local Feature Decoupling (Eqs. 3–5) and the global view (Eq. 7) as data.

    `texture`: `cropped` is LFD, `masked` feeds the uncropped masked volume, `none` leaves region textures out.
    `window` in HU maps to [-1, 1]. Regions with fewer voxels than `min_voxels` count as absent. `crop`, `masks` and `aspect`
    stand where the paper's text and its code differ: published weights were trained with the defaults. `crop` cuts a region to
    its voxels above -1000 HU (`intensity`) or to its whole mask (`mask`); `masks` are area-resampled (`soft`) or rounded
    (`binary`); `aspect` stretches a crop to `size` or keeps its proportions and fills up with background. `cache` keeps views
    on disk as `cache_dtype`: for values in [-1, 1] float16 errs by up to 0.15 HU of the default window, bfloat16, of the same
    size, by 1.2 HU.
    """

    size: Size = (256, 256, 64)
    window: Annotated[tuple[float, float], AfterValidator(_rising)] = (-1000.0, 200.0)
    texture: Literal["cropped", "masked", "none"] = "cropped"
    image: bool = True
    geometry_size: Size | None = None
    cache: bool = False
    cache_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    min_voxels: PositiveInt = 1
    crop: Literal["intensity", "mask"] = "intensity"
    masks: Literal["soft", "binary"] = "soft"
    aspect: Literal["stretch", "keep"] = "stretch"


class Encoder(Component):
    """The volume encoder f_V; `freeze` keeps it in eval mode without gradients.

    `dropout: official` lets a frozen encoder drop out while training, as the official code does; its features then differ each
    time and can't be cached.
    """

    freeze: bool = True
    dropout: Literal["none", "official"] = "none"


class Adapter(Component):
    """The adapter f_A; trained unless `freeze` (only behind a frozen encoder)."""

    freeze: bool = False


# A projection's layers: `linear` maps to the decoder's width, `square` keeps its own, `norm` is LayerNorm.
Layer = Literal["linear", "square", "gelu", "relu", "norm"]


class Alignment(_Section):
    """Region–Report Alignment (Sec. III-D): `identify` puts the prefix P_i into the target, `shuffle` the region order."""

    identify: bool = True
    shuffle: bool = True


class PromptText(_Section):
    """The prompt's wording; `{visual}` stands for the visual tokens, `{i}` for the slot, `{area}` for the region's name."""

    lead_in: str = "The global information is provided as the context: "
    image: str = "<image>{visual}</image>. "
    region: str = "The region {i} is <region>{visual}</region>. "
    instruction: str = (
        "Given the provided global and regional information from this CT scan, please generate a comprehensive medical "
        "report for each region. First, identify the anatomical area corresponding to each region, then provide detailed "
        "information about these anatomical structures and any abnormalities that are essential. You can refer to the "
        "global information as the context and take it as a supplement when generating each region report."
    )
    prefix: str = "The region {i} is {area}: "
    index_embedding: bool = False
    max_length: PositiveInt = 2048


class Lora(_Section):
    """Low-rank adapters on the decoder (peft)."""

    r: PositiveInt = 8
    alpha: PositiveInt = 32
    dropout: Share = 0.1
    target_modules: list[str] | None = None


class Decoder(Component):
    """The language model; `lora: none` trains all of it. `quantization: nf4` keeps its base weights in 4 bits (QLoRA)."""

    lora: Annotated[Lora | None, BeforeValidator(lambda v: None if v == "none" else v)] = Lora()
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    gradient_checkpointing: bool = True
    quantization: Literal["none", "nf4"] = "none"


class Optimizer(_Section):
    """`adamw` on everything, or `muon` on the decoder's matrices (`matrix_lr`) with AdamW on the rest."""

    name: Literal["adamw", "muon"] = "adamw"
    lr: NonNegativeFloat = 5e-5
    matrix_lr: NonNegativeFloat = 0.02
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    clip: NonNegativeFloat = 1.0


class Schedule(_Section):
    """Learning rate over the steps: linear warm-up, then `constant` or `cosine` to zero."""

    name: Literal["constant", "cosine"] = "constant"
    warmup: NonNegativeInt = 20


class Training(_Section):
    """How a recipe is trained; `max_steps` (optimizer steps) wins over `epochs`.

    `distributed` is how several processes share the work: `auto` takes what the launcher started (DDP without more), any other
    must be what runs. `workers` processes prepare batches beside the training. `cache_features` computes the frozen encoder's
    features once, as `feature_dtype`, into `features` (a folder; default: the store's cache).
    """

    epochs: PositiveInt = 6
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 1
    accumulation: PositiveInt = 16
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(lambda v: "no" if v is False else v)] = "bf16"
    finding_weight: NonNegativeFloat = 1.0
    distributed: Literal["auto", "none", "ddp", "fsdp", "deepspeed"] = "auto"
    workers: NonNegativeInt = 0
    cache_features: bool = False
    feature_dtype: Literal["float32", "float16"] = "float32"
    features: str | None = None
    checkpoint_every: PositiveInt = 500
    keep: PositiveInt = 3
    log_every: PositiveInt = 10
    seed: int = 42


class Pretraining(_Section):
    """Training of a volume encoder on finding labels (`reg2rg pretrain`), for an encoder to be frozen afterwards."""

    epochs: PositiveInt = 6
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 8
    lr: NonNegativeFloat = 3e-3
    warmup: NonNegativeInt = 20
    views_per_study: PositiveInt = 8
    global_weight: NonNegativeFloat = 0.3
    name_weight: NonNegativeFloat = 0.2


class Generation(_Section):
    """Decoding: greedy unless `sample`; `grammar` holds the region prefixes to the known names, each used once."""

    max_new_tokens: PositiveInt = 500
    batch_size: PositiveInt = 8
    sample: bool = False
    temperature: NonNegativeFloat = 0.6
    top_p: Share = 0.9
    top_k: NonNegativeInt = 30
    grammar: bool = True
    shuffle_regions: bool = False
    seed: int = 20


# keys of `training` that change how the work is done, not what comes of it: a run is resumed whatever they say
WAYS = {"distributed", "workers", "features", "checkpoint_every", "keep", "log_every"}


class Recipe(_Section):
    """A method: which plugins, how they are fed, trained and decoded.

    `projection` (f_P) takes the adapter's tokens to the decoder's width: layers in order, none where the widths are the same.
    """

    name: str = "reg2rg"
    summary: str = ""
    views: Views = Views()
    volume_encoder: Annotated[Encoder, BeforeValidator(_component)] = Encoder(name="vit3d")
    adapter: Annotated[Adapter, BeforeValidator(_component)] = Adapter(name="perceiver")
    projection: tuple[Layer, ...] = ("linear",)
    geometry_encoder: Annotated[Component | None, BeforeValidator(_component_or_none)] = Component(name="mask-vit")
    alignment: Alignment = Alignment()
    prompt: PromptText = PromptText()
    decoder: Annotated[Decoder, BeforeValidator(_component)]
    training: Training = Training()
    pretraining: Pretraining = Pretraining()
    generation: Generation = Generation()
    report: Literal["available", "reported"] = "available"

    def fingerprint(self) -> str:
        """A short hash of everything in the recipe that changes what comes out: names and ways of working don't."""
        data = self.model_dump(mode="json", exclude={"name": True, "summary": True, "training": WAYS})
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The resolved recipe as YAML."""
        data = self.model_dump(mode="json")
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
        if strict_yaml.parse(text) == data:
            return text
        return yaml.safe_dump(data, sort_keys=False, width=120)  # some line-break characters only survive escaped


def shipped() -> dict[str, Path]:
    """The recipes of the package by name (`paper/table5-a` for those in a folder)."""
    root = Path(str(resources.files(__package__) / "recipes"))
    return {p.relative_to(root).with_suffix("").as_posix(): p for p in sorted(root.rglob("*.yaml"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        data = strict_yaml.parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError("the recipe isn't a UTF-8 text file", path) from error
    except OSError as error:
        raise UserError(f"the recipe can't be read ({error.strerror})", path) from error
    except ValueError as error:
        raise UserError(f"the recipe {error}", path) from error
    if not isinstance(data, dict):
        raise UserError("a recipe is a mapping of keys to values", path, "Start from: reg2rg recipes copy reg2rg my.yaml")
    return data


def locate(name: str | Path) -> Path:
    """The file of a shipped recipe's name or of a path. Raises UserError with near names where there is none."""
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    path = Path(name)
    if path.is_dir():
        path = path / "recipe.yaml"
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or "/" in str(name):
        raise UserError("there is no such recipe file", name)
    raise UserError(f"no recipe is called '{name}'", fix=suggest(str(name), known))


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it; mappings merge, but a component with another `name` starts with no options."""
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        if isinstance(old, str) and isinstance(value, Mapping) and key in COMPONENTS:
            old = {"name": old}
        if isinstance(old, Mapping) and "name" in old and isinstance(value, str) and value != "none":
            value = {"name": value}
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in old and "name" in value and old["name"] != value["name"]
            kept = {k: v for k, v in old.items() if k != "options"} if renamed else old
            out[key] = merge(kept, value)
        else:
            out[key] = value
    return out


def _resolved(path: Path, trail: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The recipe's own data over that of the recipes that it extends; name and summary are its own."""
    if path.resolve() in trail:
        raise UserError("the recipe extends itself", path)
    data = _read(path)
    parent = data.pop("extends", None)
    data.setdefault("name", path.stem)
    if parent is None:
        return data
    if not isinstance(parent, str):
        raise UserError(f"'extends' is {reprlib.repr(parent)}, not one recipe's name", path)
    try:
        base = _resolved(_parent(path, parent), (*trail, path.resolve()))
    except UserError as error:
        raise error if error.where else UserError(f"'extends': {error.what}", path, error.fix) from error
    return merge({key: value for key, value in base.items() if key != "summary"}, data)


def differences(name: str | Path) -> tuple[Path | None, dict[str, Any]]:
    """The recipe that `name` extends (None: none), and what it states itself. Raises UserError where it can't be read."""
    path = locate(name)
    data = _read(path)
    parent = data.pop("extends", None)
    return None if parent is None else _parent(path, str(parent)), data


def _parent(path: Path, name: str) -> Path:
    """The recipe that `path` extends: a file beside it, with or without its ending, else a shipped one."""
    for beside in (path.parent / name, path.parent / f"{name}.yaml"):
        if beside.is_file() and beside.resolve() != path.resolve():
            return beside
    return locate(name)


def _assignment(text: str) -> tuple[str, dict[str, Any]]:
    """`a.b=1` → "a.b" and {"a": {"b": 1}}."""
    key, sep, value = text.partition("=")
    parts = key.strip().split(".")
    if not sep or not all(parts):
        raise UserError(f"'{text}' isn't KEY=VALUE", "--set", "For example: --set training.optimizer.lr=1e-4", EXIT_USAGE)
    try:
        node = strict_yaml.parse(value)
    except ValueError as error:
        raise UserError(f"the value of '{key}' {error}", "--set", code=EXIT_USAGE) from error
    for part in reversed(parts):
        node = {part: node}
    return ".".join(parts), node


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """`a.b=1` texts as nested data, later ones over earlier ones; values are read as YAML."""
    out: dict[str, Any] = {}
    for text in texts:
        out = merge(out, _assignment(text)[1])
    return out


def load(name: str | Path = "reg2rg", changes: Mapping[str, Any] | None = None, sets: Iterable[str] = ()) -> Recipe:
    """The recipe called `name` (shipped name, file, or run folder) with `changes` and `KEY=VALUE` settings over it.

    Raises UserError that names every fault at once, unknown keys with their near matches.
    """
    path = locate(name)
    data = merge(_resolved(path), changes or {})
    keys = []
    for text in sets:
        key, change = _assignment(text)
        data = merge(data, change)
        keys.append(key)
    return check(data, path, keys)


def check(data: Mapping[str, Any], where: object = "", sets: Iterable[str] = ()) -> Recipe:
    """Validates plain data as a recipe; `sets` are the keys that came from `--set`, so that a fault names it."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        faults = [(_key(e), _fault(e)) for e in error.errors()]
        from_sets = [any(_related(key, own) for own in sets) for key, _ in faults]
        usage = all(from_sets)
        told = [text + ("" if usage or not own else " (from --set)") for (_, text), own in zip(faults, from_sets, strict=True)]
        count = "one fault" if len(told) == 1 else f"{len(told)} faults"
        what = "; ".join(told) if usage else f"the recipe has {count}: " + "; ".join(told)
        raise UserError(what, "--set" if usage else where, code=EXIT_USAGE if usage else EXIT_FAILED) from error


def _related(key: str, other: str) -> bool:
    """Whether one dotted key is the other or lies in it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _place(error: Any) -> list[str]:
    # pydantic puts the validator's own name ("function-before") into the place; users see keys only
    return [str(p) for p in error["loc"] if "function-" not in str(p)]


def _key(error: Any) -> str:
    return ".".join(_place(error))


def _fault(error: Any) -> str:
    place, key = _place(error), _key(error)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys(place[:-1]), n=2, cutoff=0.5)
        near = near or [full for full in _leaves(Recipe) if full.rpartition(".")[2] == place[-1]][:2]
        hint = " (did you mean " + " or ".join(f"'{n}'" for n in near) + "?)" if near else ""
        return f"unknown key '{key}'{hint}"
    if error["type"] == "missing":
        return f"'{key}' is missing"
    if error["type"] in ("model_type", "dict_type"):
        return f"'{key}' is {reprlib.repr(error['input'])}: it should be a mapping of keys to values"
    message = error["msg"].removeprefix("Value error, ")
    return f"'{key}' is {reprlib.repr(error['input'])}: {message[0].lower()}{message[1:]}"


def _section(annotation: Any) -> type[BaseModel] | None:
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a recipe, dotted."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        yield from _leaves(section, f"{prefix}{name}.") if section else [prefix + name]


def _keys(place: list[str]) -> list[str]:
    """The keys of the section at `place`; none where that isn't a section."""
    model: type[BaseModel] | None = Recipe
    for part in place:
        field = model.model_fields.get(part) if model else None
        model = _section(field.annotation) if field else None
    return list(model.model_fields) if model else []


# The keys whose value is a plugin: a bare name is short for one without options.
COMPONENTS: tuple[str, ...] = tuple(
    name for name, field in Recipe.model_fields.items() if issubclass(_section(field.annotation) or BaseModel, Component)
)
