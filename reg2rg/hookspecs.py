"""The hooks: how a package offers parts to reg2rg. This file is the plugin author's manual.

A plugin is a Python package with one entry point in the group ``reg2rg``::

    [project.entry-points.reg2rg]
    my_package = "my_package"

whose module implements any of the hooks below, marked with ``@reg2rg.hookimpl``::

    import reg2rg

    @reg2rg.hookimpl
    def register_metrics(register):
        register("distinct-words", "my_package.metrics:DistinctWords", summary="vocabulary of the reports")

Each hook gets a callable ``register(name, target, *, summary="", requires=())``:

- ``name`` is what users write on the command line and in recipes; ``package:name`` picks one where two packages
  offer the same name.
- ``target`` is ``"module:Object"``, a string, so that listing plugins imports nothing heavy. The object is imported and
  called with the options of the recipe when it is used; its typed signature is what options are checked against
  (``*args`` and ``**kwargs`` take none).
- ``requires`` names modules that must be importable (``("totalsegmentator",)``); what is missing is said in one sentence.

Hooks only collect: order doesn't matter, and none replaces another. What each kind must offer is in the docstring of its
hook; ``reg2rg plugins check NAME`` tests it.
"""

from __future__ import annotations

from typing import Protocol

import pluggy

PROJECT = "reg2rg"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The callable that each hook receives."""

    def __call__(self, name: str, target: str, *, summary: str = "", requires: tuple[str, ...] = ()) -> None: ...


@hookspec
def register_segmenters(register: Register) -> None:
    """Segmenters: a CT volume to masks of the ten regions (paper Eq. 2).

    ``regions: frozenset[str]`` (what it can give), ``fingerprint: str`` (changes when its output would),
    ``segment(volume: Volume) -> RegionMask`` on the volume's grid. A segmenter that reads masks made elsewhere also has
    ``for_study(masks: Path)``: the same one, bound to one study's masks (a folder or a file).
    """


@hookspec
def register_volume_encoders(register: Register) -> None:
    """Volume encoders f_V (Eqs. 3, 7): ``nn.Module``, (B, 1, H, W, D) in [-1, 1] → (B, N, width), attribute ``width``.

    One grey channel comes in; an encoder whose weights want more repeats it itself (``x.expand(-1, 3, -1, -1, -1)``).
    Where the constructor has a parameter ``size``, the recipe's view size (H, W, D) is passed to it. A method
    ``fitted(weights) -> weights``, where there is one, makes published weights fit another size when ``--init`` loads them.
    """


@hookspec
def register_adapters(register: Register) -> None:
    """Adapters f_A (Eqs. 3, 7): ``nn.Module``, (B, N, width) → (B, tokens, width), attribute ``tokens``.

    The constructor's parameter ``width`` is filled with the volume encoder's.
    """


@hookspec
def register_geometry_encoders(register: Register) -> None:
    """Geometry encoders f_M (Eq. 4): ``nn.Module``, (B, 1, H, W, D) in [0, 1] → (B, g, width), ``width``, ``tokens`` (= g).

    Where the constructor has a parameter ``size``, the recipe's geometry size (H, W, D) is passed to it.
    """


@hookspec
def register_decoders(register: Register) -> None:
    """Decoders: ``build() -> (PreTrainedModel, PreTrainedTokenizerBase)``, a causal language model and its tokenizer.

    The tokenizer is a fast one with an end token. A constructor's parameter ``dtype`` is filled with the recipe's.
    A ``build`` with a parameter ``corpus`` gets the training texts, for decoders that train their own tokenizer. Texts are no
    longer than the model's ``config.max_position_embeddings``, where it has one. A model type that transformers doesn't know is
    registered with ``AutoConfig`` and ``AutoModelForCausalLM`` when the module of the target is imported.
    An attribute ``base`` (a hub name or a folder), where it is set, says that the weights come from there and are named,
    not copied, by a run folder.
    """


@hookspec
def register_metrics(register: Register) -> None:
    """Metrics: sufficient statistics per study and a function of their sums, so that intervals cost one matrix product.

    ``names: tuple[str, ...]``; ``statistics(reports: Sequence[GroundedReport]) -> float64 (n_studies, k)``;
    ``combine(sums) -> dict[str, float]`` with ``sums`` of shape (k,) — or (..., k), giving arrays of shape (...).
    A constructor's parameter ``progress`` is filled with the command's bar: ``progress(name, done, total, note)``.
    """


@hookspec
def register_labelers(register: Register) -> None:
    """Labelers: ``label(texts: Sequence[str]) -> uint8 (n, 18)``, columns as ``reg2rg.anatomy.FINDINGS``.

    A constructor's parameter ``progress`` is filled with the command's bar: ``progress(name, done, total, note)``.
    """


@hookspec
def register_splitters(register: Register) -> None:
    """Splitters: ``split(report: str) -> dict[region, text]``, a free report to region sentences.

    Each sentence is used at most once and none is invented; sentences of no region are left out. Where it has a method
    ``split_all(reports) -> list[dict]``, that is asked instead, for many reports at once; an attribute ``fallbacks``, set by
    it, maps the place of a report that it left to another splitter to the reason. A method ``regions_of(sentence)``, where it
    has one, names all regions of one sentence, best first; it is used for measuring alone.
    A constructor's parameter ``progress`` is filled with the command's bar: ``progress(name, done, total, note)``.
    """
