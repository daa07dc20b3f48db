"""The example's parts keep reg2rg's contracts and do what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reg2rg_example.axial_slices import AxialSlices
from reg2rg_example.vocabulary import Vocabulary

from reg2rg.conformance import conform
from reg2rg.contracts import GroundedReport
from reg2rg.errors import UserError


@pytest.mark.parametrize(("kind", "name"), [("metric", "vocabulary"), ("volume-encoder", "axial-slices")])
def test_it_keeps_the_contract(kind: str, name: str) -> None:
    verdict = conform(kind, f"reg2rg-example-plugin:{name}")
    assert verdict.passed, str(verdict)


def report(prediction: str, reference: str) -> GroundedReport:
    return GroundedReport("s", (), prediction, reference)


def test_one_safe_report_for_everybody_covers_little() -> None:
    references = ["the lung is clear", "a nodule is seen", "the heart is enlarged"]
    safe = Vocabulary().statistics([report("the lung is clear", r) for r in references]).sum(0)
    perfect = Vocabulary().statistics([report(r, r) for r in references]).sum(0)
    # nine words in all: the, lung, is, clear, a, nodule, seen, heart, enlarged
    assert Vocabulary().combine(safe)["vocabulary_coverage"] == pytest.approx(4 / 9)
    assert Vocabulary().combine(perfect)["vocabulary_coverage"] == 1


def test_only_the_most_frequent_words_count() -> None:
    table = Vocabulary(size=2).statistics([report("a b", "a b c"), report("c", "b a")])
    np.testing.assert_array_equal(table, [[1, 1, 1, 1], [0, 0, 1, 1]])


def test_a_token_sees_its_own_slices_only() -> None:
    encoder = AxialSlices((16, 16, 8), width=8).eval()
    x = torch.zeros(1, 1, 16, 16, 8)
    moved = x.clone()
    moved[..., 4:] = 1  # the second token along the body
    with torch.no_grad():
        changed = (encoder(x) - encoder(moved)).abs().amax(-1)[0].view(2, 2, 2)
    assert (changed[..., 0] == 0).all() and (changed[..., 1] > 0).all()


def test_a_view_that_is_not_whole_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="isn't whole tokens"):
        AxialSlices((20, 16, 8))
