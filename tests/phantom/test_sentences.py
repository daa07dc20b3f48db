"""The grammar: sentences say what the plan says, nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg.anatomy import FINDING_REGION, FINDINGS, REGIONS
from reg2rg.phantom import plan_study, regions_in_view, report, sentences
from reg2rg.phantom.look import LOOKS, PROFILES, Profile
from reg2rg.phantom.plan import HEART_HEIGHT
from reg2rg.phantom.wording import DEMO, DEMO_NORMAL, NEGATED, NORMAL, STRICT
from reg2rg.plugins import resolve

SEEDS = st.integers(0, 2**31)
INDICES = st.integers(0, 5000)


def _words(texts: dict[str, str]) -> list[str]:
    whole = " ".join(f"The region {i} is {region}: {text}" for i, (region, text) in enumerate(texts.items()))
    return re.findall(r"\w+|[^\w\s]", whole.lower())


@given(SEEDS, INDICES, SEEDS, st.sampled_from(PROFILES))
@settings(max_examples=60, deadline=None)
def test_the_rule_labeler_reads_the_plan_back(seed: int, index: int, wording: int, profile: Profile) -> None:
    """Labels come from the plan; a labeler made for real reports finds the same in the text, and in no other region."""
    plan = plan_study(seed, index, profile)
    texts = sentences(plan, wording)
    labeler = resolve("labeler", "rules")
    assert dict(zip(FINDINGS, labeler.label([report(texts)])[0].tolist(), strict=True)) == plan.labels
    for region, text in texts.items():
        said = {name for name, flag in zip(FINDINGS, labeler.label([text])[0], strict=True) if flag}
        assert said == {f.name for f in plan.findings if f.region == region}


@given(SEEDS, INDICES, st.sampled_from(PROFILES))
@settings(max_examples=60, deadline=None)
def test_each_region_in_view_has_whole_sentences(seed: int, index: int, profile: Profile) -> None:
    plan = plan_study(seed, index, profile)
    texts = sentences(plan)
    assert tuple(texts) == regions_in_view(plan) and ("thyroid" in texts) == plan.person.thyroid
    for text in texts.values():
        assert text[0].isupper() and text.endswith(".") and not re.search(r"[{}]|\s\s|\.\.", text)
    assert texts == sentences(plan) == sentences(plan, plan.seed)


@given(SEEDS, INDICES)
@settings(max_examples=40, deadline=None)
def test_sizes_and_sides_in_the_text_are_the_plans(seed: int, index: int) -> None:
    plan = plan_study(seed, index, "strict")
    for region, text in sentences(plan).items():
        found = [f for f in plan.findings if f.region == region]
        assert set(re.findall(r"(\d+) mm", text)) <= {f"{f.size:.0f}" for f in found}
        sides = {f.side for f in found} | {f.place.split()[0] for f in found if f.place}
        for side in ("left", "right"):
            if re.search(rf"\b{side} (lung|upper|middle|lower|pleural)|the {side} side\b", text) and "Medical" not in str(
                found
            ):
                assert side in sides


def test_the_demo_is_small_and_plain() -> None:
    """About 200 words, 192 a report with its prefixes, nothing negated, no numbers but the regions' indices."""
    vocabulary: set[str] = set()
    for index in range(600):
        texts = sentences(plan_study(11, index, "demo"))
        words = _words(texts)
        vocabulary.update(words)
        assert len(words) <= 192
        assert not re.search(r"\d|\bno\b|\bnot\b|\bwithout\b", report(texts))
    assert len(vocabulary) <= 200


def test_the_strict_profile_denies_and_reorders() -> None:
    plans = [plan_study(3, i, "strict") for i in range(100)]
    texts = [report(sentences(p)) for p in plans]
    assert sum("not detected" in t or "no " in t.lower() for t in texts) > 50
    assert sum(sentences(p, 1) != sentences(p, 2) for p in plans) > 95
    assert len(set(texts)) == 100


@pytest.mark.parametrize("profile", PROFILES)
def test_prevalences_are_as_stated(profile: Profile) -> None:
    labels = np.array([list(plan_study(2, i, profile).labels.values()) for i in range(1500)])
    rate = dict(zip(FINDINGS, labels.mean(axis=0), strict=True))
    look = LOOKS[profile]
    for name in FINDINGS:
        low = look.rates[name] * (0.3 if name == "Lymphadenopathy" and look.nodes_need_cause else 0.85) - 0.02
        assert low <= rate[name] <= look.rates[name] + 0.16, name
    if profile == "demo":
        assert labels.mean(axis=0).min() >= 0.19 and labels.mean(axis=0).max() <= 0.4
    assert labels.sum(axis=1).max() <= look.most


def test_findings_come_together_as_in_life() -> None:
    labels = np.array([list(plan_study(2, i, "strict").labels.values()) for i in range(2000)])

    def given_(effect: str, cause: str) -> float:
        rows = labels[labels[:, FINDINGS.index(cause)] == 1]
        return float(rows[:, FINDINGS.index(effect)].mean() - labels[:, FINDINGS.index(effect)].mean())

    assert given_("Atelectasis", "Pleural effusion") > 0.1
    assert given_("Pleural effusion", "Cardiomegaly") > 0.05
    assert given_("Peribronchial thickening", "Emphysema") > 0.04


def test_a_strict_heart_in_mm_tells_no_finding_but_beside_the_thorax_it_does() -> None:
    """Enlarged hearts are as often small people's, so that a crop that tells its size in voxels isn't enough."""
    plans = [plan_study(5, i, "strict") for i in range(1500)]
    sick = {n: np.array([p.labels[n] == 1 for p in plans]) for n in ("Cardiomegaly", "Pericardial effusion")}
    drawn = [[f.size if (f := p.finding(n)) else 0.0 for n in sick] for p in plans]
    wide = np.array([p.person.heart * (big or 1.0) for p, (big, _) in zip(plans, drawn, strict=True)])
    tall = wide + [wet / HEART_HEIGHT / p.person.scale[2] for p, (_, wet) in zip(plans, drawn, strict=True)]
    x, _, z = np.array([p.person.scale for p in plans]).T
    volume, height = x**2 * wide**2 * z * tall, z * tall
    assert _best_f1(wide, sick["Cardiomegaly"]) > 0.99
    assert _best_f1(tall / wide, sick["Pericardial effusion"]) > 0.99
    for name, told in (("Cardiomegaly", volume), ("Pericardial effusion", height), ("Pericardial effusion", height / x / wide)):
        always = _best_f1(np.zeros(len(plans)), sick[name])
        assert _best_f1(told, sick[name]) < always + 0.2, name


def _best_f1(score: np.ndarray, truth: np.ndarray) -> float:
    """F1 at the threshold that suits a score best."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.diff(score[order]) != 0, True)
    return float((2 * hits / (np.arange(1, len(truth) + 1) + truth.sum()))[last].max())


def test_nodes_are_called_only_with_a_cause_in_strict() -> None:
    plans = [plan_study(4, i, "strict") for i in range(400)]
    called = [p for p in plans if p.finding("Lymphadenopathy")]
    silent = [p for p in plans if any(d.name == "Lymphadenopathy" for d in p.distractors)]
    assert len(called) > 40 and len(silent) > 40
    assert all(p.finding("Consolidation") or p.finding("Lung opacity") for p in called)
    assert not any(p.finding("Consolidation") or p.finding("Lung opacity") for p in silent)


def test_the_words_cover_every_finding_and_region() -> None:
    assert set(DEMO) == set(STRICT) == set(FINDINGS)
    assert set(DEMO_NORMAL) == set(NORMAL) == set(REGIONS)
    assert all(FINDING_REGION[name] == region for region, names in NEGATED.items() for name in names)
    assert all(len(texts) >= 3 for texts in STRICT.values())
