"""What a feature cache follows from: its key, and in words what differs where a cache isn't the one that is wanted.

The features follow from the encoder and its weights (and a frozen adapter's), the views' settings, the studies' files, the
precision in which the encoder ran and the type in which the features are kept; from nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import plugins
from ..data.dataset import ViewSource
from ..data.store import Store
from ..files import stamp
from ..model.composite import Reg2RGModel
from ..recipe import Component

FORMAT = 1  # of the cache; to be raised also when an encoder or the views of this package give other values

_WORDS = {
    "encoder": "with another volume encoder",
    "encoder_weights": "with other encoder weights",
    "adapter": "with another adapter",
    "adapter_weights": "with other adapter weights",
    "views": "with other views settings",
    "views_dtype": "from views of another precision",
    "precision": "in another precision",
    "dtype": "in another type",
}


def made_from(model: Reg2RGModel, source: ViewSource, store: Store) -> dict[str, Any]:
    """All that the features of `source`'s studies follow from, as JSON-able data."""
    recipe, visual = model.recipe, model.visual
    adapter = visual.adapter_frozen
    return {
        "encoder": _component("volume-encoder", recipe.volume_encoder),
        "encoder_weights": weights_hash(visual.volume_encoder),
        "adapter": _component("adapter", recipe.adapter) if adapter else None,
        "adapter_weights": weights_hash(visual.adapter) if adapter else None,
        # geometry isn't encoded by what is frozen
        "views": recipe.views.model_dump(mode="json", exclude={"geometry_size", "masks", "cache", "cache_dtype"}),
        "views_dtype": str(getattr(source, "dtype", torch.float32)).removeprefix("torch."),  # a cache of views rounds
        "precision": recipe.training.precision,
        "dtype": recipe.training.feature_dtype,
        "studies": {name: stamp(store.path(name)) for name in source.ids},
    }


def _component(kind: str, component: Component) -> dict[str, Any]:
    offer = plugins.registry().find(kind, component.name)
    version = "" if offer.package == "reg2rg" else offer.version  # FORMAT stands for our own
    return {"target": offer.target, "package": offer.package, "version": version, "options": component.options}


def weights_hash(module: nn.Module) -> str:
    """A hash of a module's weights: names, types, shapes and bytes; about 0.3 s for 66 million parameters."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def key_of(parts: Mapping[str, Any]) -> str:
    """The key of a cache that is made from `parts`; the order of studies counts."""
    text = json.dumps([FORMAT, {**parts, "studies": list(parts["studies"].items())}], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """In words, how the cache made from `old` was made otherwise than from `new`: "with other encoder weights and …"."""
    told = [words + _detail(old.get(part), new[part]) for part, words in _WORDS.items() if old.get(part) != new[part]]
    told += _studies(old.get("studies") or {}, new["studies"])
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told or ["in another way"])


def _detail(old: Any, new: Any) -> str:
    """The keys that differ, or a short value's change; nothing for hashes."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return f" ({', '.join(key for key in new if old.get(key) != new[key])})"
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) <= 8:
        return f" ({old}, not {new})"
    return ""


def _studies(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    kinds: dict[str, Sequence[str]] = {
        "changed since": [name for name in new if name in old and old[name] != new[name]],
        "not in it": [name for name in new if name not in old],
        "no longer wanted": [name for name in old if name not in new],
    }
    counts = [f"{len(names):,} {kind}, e.g. {names[0]}" for kind, names in kinds.items() if names]
    return [f"for other studies ({'; '.join(counts)})"] if counts else []
