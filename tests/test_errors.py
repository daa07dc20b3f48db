"""Faults that a user can cause: one sentence with place and cure, near names, and a way through process pools."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED_SOME, EXIT_USAGE, RefusedStudy, UserError, suggest


def test_exit_codes_are_those_of_the_interface() -> None:
    assert (EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED_SOME) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("there is no such file"), "there is no such file."),
        (UserError("there is no such file."), "there is no such file."),
        (UserError("there is no such file", "a.nii.gz"), "a.nii.gz: there is no such file."),
        (UserError("it is cut", "a.gz", "Copy it again."), "a.gz: it is cut. Copy it again."),
        (UserError("it is\ncut"), "it is cut."),
        (UserError("did you mean that?", fix="Try it."), "did you mean that? Try it."),
    ],
)
def test_it_reads_as_one_sentence(error: UserError, sentence: str) -> None:
    assert str(error) == sentence


def test_it_fails_with_one_unless_said_otherwise() -> None:
    assert UserError("x").code == EXIT_FAILED
    assert UserError("x", code=EXIT_USAGE).code == EXIT_USAGE


def test_a_worker_process_can_hand_it_back_whole() -> None:
    error = pickle.loads(pickle.dumps(RefusedStudy("it is 4-D", "a.nii.gz", "Split it.", EXIT_USAGE)))
    assert type(error) is RefusedStudy and str(error) == "a.nii.gz: it is 4-D. Split it."
    assert (error.what, error.where, error.fix, error.code) == ("it is 4-D", "a.nii.gz", "Split it.", EXIT_USAGE)


def test_near_names_come_first_and_in_their_own_spelling() -> None:
    assert suggest("treshold", ["threshold", "precomputed"]) == "Did you mean 'threshold'?"
    assert suggest("VIT3d", ["vit3d", "conv3d"]).startswith("Did you mean 'vit3d'")
    assert suggest("lung opacty", ["Lung opacity", "Lung nodule"]).startswith("Did you mean 'Lung opacity'")


def test_all_names_come_where_none_is_near_and_none_where_there_is_none() -> None:
    assert suggest("zzz", ["b", "a", "b"]) == "Known: a, b."
    assert suggest("zzz", []) == "None is known here."


@given(st.text(max_size=20), st.lists(st.text(max_size=10), max_size=6))
def test_a_hint_is_always_a_hint(name: str, known: list[str]) -> None:
    hint = suggest(name, known)
    assert hint.endswith(("?", "."))
    if name and name in known:
        assert hint.startswith("Did you mean")
