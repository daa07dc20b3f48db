"""Schedules, optimizers, checkpoints and prepared batches, on their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reg2rg import recipe
from reg2rg.contracts import Study
from reg2rg.errors import UserError
from reg2rg.model.composite import build_model
from reg2rg.recipe import Schedule
from reg2rg.train import checkpoint
from reg2rg.train.loop import corpus_of
from reg2rg.train.optim import learning_rate_factor, make_optimizers, set_learning_rate
from reg2rg.train.pretrain import home_mask

TINY = recipe.load("tiny", sets=["decoder.options.width=32", "decoder.options.heads=2", "decoder.options.layers=1"])
STUDIES = [Study("a", "train", {"lung": "Both lungs are clear.", "heart": "The heart is enlarged."})]


@given(st.sampled_from(["constant", "cosine"]), st.integers(0, 30), st.integers(1, 200))
def test_schedules_stay_between_zero_and_one(name: str, warmup: int, total: int) -> None:
    schedule = Schedule(name=name, warmup=warmup)
    factors = [learning_rate_factor(schedule, step, total) for step in range(total)]
    assert all(0 <= f <= 1 for f in factors)
    assert factors[: min(warmup, total)] == sorted(factors[: min(warmup, total)])


def test_constant_schedule_is_the_papers() -> None:
    schedule = Schedule(name="constant", warmup=20)
    assert learning_rate_factor(schedule, 0, 1000) == pytest.approx(0.05)
    assert learning_rate_factor(schedule, 999, 1000) == 1.0


def test_muon_takes_the_decoders_matrices_alone() -> None:
    model, _ = build_model(TINY, corpus_of(STUDIES, TINY))
    adamw, muon = make_optimizers(model, TINY.training.optimizer)
    named = {id(p): n for n, p in model.named_parameters()}
    matrices = [named[id(p)] for group in muon.param_groups for p in group["params"]]
    assert matrices and all(n.startswith("decoder.model.layers") for n in matrices)
    both = [id(p) for o in (adamw, muon) for g in o.param_groups for p in g["params"]]
    assert sorted(both) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert set_learning_rate([adamw, muon], 0.5) == pytest.approx(TINY.training.optimizer.lr / 2)


def test_old_checkpoints_are_swept_and_half_ones_do_not_count(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.write(tmp_path, step, {"w": torch.zeros(1)}, {}, {}, keep=2)
    assert checkpoint.found(tmp_path) == [2, 3]
    (tmp_path / "step-000009").mkdir()
    assert checkpoint.found(tmp_path) == [2, 3]
    (tmp_path / "step-000003" / "state.json").write_text("{")
    with pytest.raises(UserError, match="state can't be read"):
        checkpoint.facts(tmp_path, 3)


def test_every_finding_is_read_from_one_region_and_the_whole() -> None:
    mask = home_mask()
    assert mask.shape == (11, 18)
    assert mask[:10].sum(0).eq(1).all() and mask[10].all()


def test_an_optimizer_step_is_the_same_however_it_is_cut() -> None:
    """Accumulating single studies gives the gradient of the whole batch: the promise behind `batch_size` × `accumulation`."""
    from reg2rg.contracts import StudyViews
    from reg2rg.model.batch import collate
    from reg2rg.model.samples import Samples

    model, _ = build_model(TINY, corpus_of(STUDIES, TINY))
    generator = torch.Generator().manual_seed(0)
    size, small = TINY.views.size, TINY.views.geometry_size
    assert small is not None

    class Source:
        ids = ("a", "b")

        def __getitem__(self, index: int) -> StudyViews:
            n = index + 1
            regions = ("heart", "lung")[:n]
            return StudyViews(
                torch.rand(1, *size, generator=generator), torch.rand(n, 1, *size), torch.rand(n, 1, *small), regions
            )

    samples = Samples(model, [STUDIES[0], Study("b", "train", STUDIES[0].region_reports)], Source())
    pair = [samples.training(i, 0) for i in range(2)]
    pad = model.tokenizer.pad_token_id

    def gradient(groups: list[list]) -> list[torch.Tensor]:
        model.zero_grad()
        for group in groups:
            nll, weight = model(collate(group, pad))
            ((nll / weight).sum() / 2).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    whole, cut = gradient([pair]), gradient([[pair[0]], [pair[1]]])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, cut, strict=True))
