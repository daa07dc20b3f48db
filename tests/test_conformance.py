"""The conformance kit: the default plugins pass it, and each broken contract is found by the check that names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reg2rg import conformance, plugins
from reg2rg.conformance import Verdict, conform
from reg2rg.contracts import RegionMask
from reg2rg.errors import UserError

# tens of millions of weights, thrice; tried small below
HEAVY = {("decoder", "r2gen"), *(("volume-encoder", name) for name in ("vit3d", "m3d-vit", "ct-vit", "swin"))}
WANTS_OPTIONS = {  # weights that aren't here
    *(("decoder", name) for name in ("hf", "llama2-7b", "gpt2")),
    *(("metric", name) for name in ("bertscore", "radgraph", "ratescore")),
    ("labeler", "radbert"),
    *(("segmenter", name) for name in ("sat", "totalsegmentator")),
    ("splitter", "llm"),
}
DEFAULTS = [(o.kind, o.name) for o in plugins.registry().offers if o.package == "reg2rg"]


@pytest.mark.parametrize(("kind", "name"), [d for d in DEFAULTS if d not in HEAVY | WANTS_OPTIONS])
def test_the_default_plugins_keep_their_contracts(kind: str, name: str) -> None:
    verdict = conform(kind, name)
    if "WordNet" in str(verdict):
        pytest.skip("WordNet is absent (Debian: wordnet-base)")
    assert verdict.passed, str(verdict)
    assert len(verdict.outcomes) >= 4


SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("volume-encoder", "vit3d"): {
        "capacity": [64, 64, 32], "patch": [32, 32, 8], "width": 24, "depth": 1, "heads": 2, "head_dim": 8, "mlp": 16
    },
    ("volume-encoder", "m3d-vit"): {"width": 24, "depth": 1, "heads": 2, "mlp": 16},
    ("volume-encoder", "ct-vit"): {"width": 24, "depth": 1, "heads": 2, "words": 16},
    ("volume-encoder", "swin"): {"embedding": 8, "depths": [1, 1], "heads": [1, 2]},
    ("decoder", "r2gen"): {"source": 2, "width": 32, "layers": 1, "heads": 2, "mlp": 32},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), SMALL)
def test_a_large_plugin_is_tried_at_a_size_of_ones_own(kind: str, name: str) -> None:
    verdict = conform(kind, name, SMALL[kind, name])
    assert verdict.passed, str(verdict)


def test_every_kind_has_checks() -> None:
    for kind in plugins.KINDS:
        expected = [text for text, _ in conformance.checks_of(kind)]
        assert len(expected) >= 3 and len(set(expected)) == len(expected)


def test_a_plugin_that_cannot_be_built_is_not_tried_further() -> None:
    (outcome,) = conform("decoder", "hf").outcomes
    assert not outcome.passed and "option 'path' is missing" in outcome.found


def test_an_unknown_plugin_is_the_users_fault() -> None:
    with pytest.raises(UserError, match="Did you mean 'bleu'"):
        conform("metric", "blue")


# --- broken plugins ------------------------------------------------------------------------------------------------


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Tries an object made by `factory` as a plugin of `kind`, without a package around it."""

    def judge(kind: str, factory: Any) -> Verdict:
        offer = plugins.Offer(kind, "mine", "lab:Part", "", (), "lab-tools")
        monkeypatch.setattr(plugins, "registry", lambda: plugins.Registry((offer,), ()))
        monkeypatch.setattr(plugins, "target_of", lambda *_: factory)
        return conform(kind, "mine")

    yield judge


def failed(verdict: Verdict) -> str:
    assert not verdict.passed and "'mine' of package 'lab-tools'" in str(verdict)
    return " | ".join(f"{o.expected} -> {o.found}" for o in verdict.failures)


class Metric:
    """A sound metric whose parts the tests break one by one."""

    names: Any = ("words",)

    def statistics(self, reports: Any) -> Any:
        return np.array([[len(r.report.split()), 1] for r in reports], dtype=np.float64)

    def combine(self, sums: Any) -> Any:
        return {"words": sums[..., 0] / np.maximum(sums[..., 1], 1)}


def test_a_sound_metric_passes(judge: Any) -> None:
    assert judge("metric", Metric).passed


METRICS: list[tuple[str, Any, str]] = [
    ("names", ["words"], "`names` is a tuple"),
    ("names", ("words", "words"), "the same name twice"),
    ("names", ("other",), "for each of `names` -> scores for ['words']"),
    ("statistics", lambda self, reports: [[1.0]] * len(reports), "statistics gave list"),
    ("statistics", lambda self, reports: np.ones((len(reports), 2), np.float32), "float32 (4, 2) for 4 studies"),
    ("statistics", lambda self, reports: np.full((len(reports), 2), np.nan), "aren't finite"),
    ("statistics", lambda self, reports: np.arange(2.0 * len(reports)).reshape(-1, 2), "come in another order"),
    ("statistics", lambda self, reports: np.array([[1 / len(r.report), 1] for r in reports]), "ZeroDivisionError"),
    ("statistics", lambda self, reports: Metric().statistics(reports.copy()), "no attribute 'copy'"),
    ("combine", lambda self, sums: float(sums[0]), "combine gave float"),
    ("combine", lambda self, sums: {"words": float(np.sum(sums))}, "'words' of shape () for 3 resamples"),
    ("combine", lambda self, sums: {"words": np.cumsum(sums[..., 0])[..., None][:, 0] if sums.ndim > 1 else sums[0]}, "alone"),
]


@pytest.mark.parametrize(("attribute", "broken", "said"), METRICS)
def test_a_broken_metric_is_found(judge: Any, attribute: str, broken: Any, said: str) -> None:
    assert said in failed(judge("metric", type("Broken", (Metric,), {attribute: broken})))


class Labeler:
    def label(self, texts: Any) -> Any:
        return np.array([["nodule" in t] * 18 for t in texts], dtype=np.uint8).reshape(-1, 18)


LABELERS: list[tuple[Any, str]] = [
    (lambda self, texts: np.zeros((len(texts), 14), np.uint8), "uint8 (4, 14) for 4 texts"),
    (lambda self, texts: np.zeros((len(texts), 18)), "float64 (4, 18)"),
    (lambda self, texts: np.full((len(texts), 18), 2, np.uint8), "values other than 0 and 1"),
    (lambda self, texts: np.ones((len(texts), 18), np.uint8), "an empty text has no finding"),
    (lambda self, texts: np.array([[len(texts) > 1 and bool(t)] * 18 for t in texts], np.uint8).reshape(-1, 18), "beside it"),
    (lambda self, texts: np.stack([np.zeros(18, np.uint8) for _ in texts]), "ValueError"),
]


def test_a_sound_labeler_passes(judge: Any) -> None:
    assert judge("labeler", Labeler).passed


@pytest.mark.parametrize(("broken", "said"), LABELERS)
def test_a_broken_labeler_is_found(judge: Any, broken: Any, said: str) -> None:
    assert said in failed(judge("labeler", type("Broken", (Labeler,), {"label": broken})))


SPLITTERS: list[tuple[Any, str]] = [
    (lambda self, report: [report], "split gave list"),
    (lambda self, report: {"liver": report} if report else {}, "the region 'liver'"),
    (lambda self, report: {"lung": ""} if report else {}, "'' for 'lung'"),
    (lambda self, report: {"lung": report, "heart": report} if report else {}, "too much"),
    (lambda self, report: {"lung": "The lung is fine."} if report else {}, "too much: ['The lung is fine.']"),
    (lambda self, report: {"lung": report or "Nothing."}, "an empty report has no parts"),
]


@pytest.mark.parametrize(("broken", "said"), SPLITTERS)
def test_a_broken_splitter_is_found(judge: Any, broken: Any, said: str) -> None:
    assert said in failed(judge("splitter", type("Broken", (), {"split": broken})))


def test_a_splitter_of_batches_must_agree_with_itself(judge: Any) -> None:
    def split(self: Any, report: str) -> dict[str, str]:
        return {"lung": report} if report else {}

    both = {"split": split, "split_all": lambda self, reports: [split(self, report) for report in reports]}
    assert judge("splitter", type("Sound", (), both)).passed
    broken = type("Broken", (), {**both, "split_all": lambda self, reports: [split(self, reports[0])] * len(reports)})
    assert "split_all" in failed(judge("splitter", broken))


class Segmenter:
    """Air is lung."""

    regions: Any = frozenset({"lung"})
    fingerprint: Any = "air-1"

    def segment(self, volume: Any) -> Any:
        return RegionMask.from_masks({"lung": volume.hu < -500})


SEGMENTERS: list[tuple[str, Any, str]] = [
    ("regions", ("lung",), "`regions` is a set of names"),
    ("regions", frozenset({"liver"}), "unknown: ['liver']"),
    ("regions", frozenset({"heart"}), "also ['lung']"),
    ("fingerprint", property(lambda self: str(id(self))), "the same for two builds"),
    ("segment", lambda self, volume: volume.hu < 0, "segment gave ndarray"),
    ("segment", lambda self, volume: RegionMask.from_masks({"lung": volume.hu[1:] < 0}), "on the volume's grid"),
    ("segment", lambda self, volume: 1 / 0, "ZeroDivisionError"),
]


def test_a_sound_segmenter_passes(judge: Any) -> None:
    assert judge("segmenter", Segmenter).passed


@pytest.mark.parametrize(("attribute", "broken", "said"), SEGMENTERS)
def test_a_broken_segmenter_is_found(judge: Any, attribute: str, broken: Any, said: str) -> None:
    assert said in failed(judge("segmenter", type("Broken", (Segmenter,), {attribute: broken})))


def test_a_segmenter_with_a_mood_is_found(judge: Any) -> None:
    class Moody(Segmenter):
        calls = 0

        def segment(self, volume: Any) -> Any:
            self.calls += 1
            return RegionMask.from_masks({"lung": volume.hu < -95 + 5 * self.calls})

    assert "the same mask twice" in failed(judge("segmenter", Moody))


def test_broken_encoders_are_found(judge: Any) -> None:
    import torch
    from torch import nn

    from reg2rg.scaffold.volume_encoder import SmallConv

    class NoWidth(SmallConv):
        def __init__(self) -> None:
            super().__init__()
            self.width = None  # type: ignore[assignment]

    class Grid(SmallConv):
        def forward(self, x: Any) -> Any:
            return self.body(x)

    class Batchy(SmallConv):
        def forward(self, x: Any) -> Any:
            y = super().forward(x)
            return y - y.mean(0, keepdim=True)

    class Hidden(SmallConv):
        def __init__(self) -> None:
            super().__init__()
            self.secret = [torch.randn(1)]

        def forward(self, x: Any) -> Any:
            return super().forward(x) + self.secret[0]

    class Detached(SmallConv):
        def forward(self, x: Any) -> Any:
            return super().forward(x).detach().requires_grad_()

    for factory, said in (
        (lambda: object(), "an object of type object"),
        (NoWidth, "width = None"),
        (Grid, "(2, 64, 4, 4, 2)"),
        (Batchy, "gives what it gives alone"),
        (Hidden, "loaded into another build"),
        (Detached, "reaches its parameters"),
    ):
        assert said in failed(judge("volume-encoder", factory)), said

    class Blind(nn.Module):
        width, tokens = 4, 1

        def forward(self, x: Any) -> Any:
            return x.mean((1, 2, 3, 4))[:, None, None].expand(-1, 1, 4)

    assert "it tells one place from another" in failed(judge("geometry-encoder", Blind))

    class Fixed(nn.Module):
        tokens = 12

        def forward(self, x: Any) -> Any:
            return x

    assert "any number of tokens" in failed(judge("adapter", Fixed))


def test_broken_decoders_are_found(judge: Any) -> None:
    from reg2rg.scaffold.decoder import TinyGPT2

    class One(TinyGPT2):
        def build(self, corpus: Any) -> Any:
            return super().build(corpus)[0]

    class NoEnd(TinyGPT2):
        def build(self, corpus: Any) -> Any:
            model, tokenizer = super().build(corpus)
            tokenizer.eos_token = None
            return model, tokenizer

    class Short(TinyGPT2):
        def build(self, corpus: Any) -> Any:
            model, tokenizer = super().build(corpus)
            model.resize_token_embeddings(50)
            return model, tokenizer

    for factory, said in ((One, "build gave GPT2LMHeadModel"), (NoEnd, "no eos_token")):
        assert said in failed(judge("decoder", factory))
    assert "finite logits for every token" in failed(judge("decoder", Short))


def test_a_verdict_reads_as_a_sentence() -> None:
    verdict = conform("labeler", "rules")
    assert str(verdict) == f"labeler 'rules' of package 'reg2rg' passes {len(verdict.outcomes)} checks."
    broken = dataclasses.replace(verdict, outcomes=(*verdict.outcomes, conformance.Outcome("a", False, "b")))
    assert str(broken).endswith("breaks its contract in 1 of 5 checks: expected: a; found: b.")
