"""The worst and the best studies: ranks, sentences, and what each sentence says that the other text doesn't."""

from __future__ import annotations

from reg2rg.contracts import GroundedReport
from reg2rg.evaluate.examples import examples, sentences

NODULE, HEART = "A nodule is seen in the right lung.", "Cardiomegaly is present."
CLEAR = "Both lungs are clear."


def report(study: str, text: str, truth: str) -> GroundedReport:
    return GroundedReport(study, (), text, truth)


REPORTS = [
    report("right", f"{NODULE} {HEART}", f"{NODULE} {HEART}"),
    report("half", f"{NODULE} {CLEAR}", f"{NODULE} {HEART}"),
    report("wrong", f"{HEART} There is emphysema.", f"{NODULE} Both lungs are clear."),
    report("missed", CLEAR, NODULE),
    report("normal", CLEAR, CLEAR),
]


def test_ranks_go_by_findings_and_then_by_how_many() -> None:
    found = examples(REPORTS, count=10)
    assert [s["study"] for s in found["worst"]] == ["wrong", "missed", "half"]
    assert [s["study"] for s in found["best"]] == ["right", "normal"]
    assert [s["score"] for s in found["worst"]] == [0.0, 0.0, 0.6667]
    assert len(examples(REPORTS * 1, count=1)["worst"]) == 1


def test_sentences_say_what_is_matched_missed_and_invented() -> None:
    by_name = {s["study"]: s for part in ("worst", "best") for s in examples(REPORTS)[part]}
    wrong = by_name["wrong"]
    assert (wrong["matched"], wrong["missed"], wrong["invented"]) == ([], ["Lung nodule"], ["Cardiomegaly", "Emphysema"])
    assert [(s["text"], s["state"]) for s in wrong["reference"]] == [(NODULE, "missed"), (CLEAR, "")]
    assert [s["state"] for s in wrong["report"]] == ["invented", "invented"]
    half = by_name["half"]
    assert [s["findings"] for s in half["reference"]] == [{"Lung nodule": "matched"}, {"Cardiomegaly": "missed"}]
    assert [s["state"] for s in half["report"]] == ["matched", ""]


def test_one_fault_makes_a_sentence_faulty() -> None:
    both = report("a", NODULE, "Cardiomegaly is present and a nodule is seen in the right lung.")
    (study,) = examples([both])["worst"]
    assert study["reference"][0]["state"] == "missed"
    assert study["reference"][0]["findings"] == {"Cardiomegaly": "missed", "Lung nodule": "matched"}


def test_given_labels_are_the_truth() -> None:
    labels = {"a.nii.gz": {"Emphysema": 1}}
    (study,) = examples([report("a", NODULE, NODULE)], labels=labels)["worst"]
    assert (study["missed"], study["invented"]) == (["Emphysema"], ["Lung nodule"])
    assert study["reference"][0]["state"] == ""  # the labels deny what the sentence seems to say
    assert study["report"][0]["state"] == "invented"


def test_without_a_labeler_shared_words_rank() -> None:
    found = examples(REPORTS, labeler=None)
    assert found["best"][0]["study"] in ("right", "normal") and "score" not in found["best"][0]
    assert all(s["state"] == "" for s in found["best"][0]["report"])


def test_texts_without_a_reference_or_at_all() -> None:
    assert examples([])["worst"] == []
    found = examples([report("a", "", CLEAR), report("b", CLEAR, "")])
    assert [s["study"] for s in found["worst"]] == ["a"] and found["worst"][0]["report"] == []


def test_sentences_end_where_they_should() -> None:
    assert sentences(" One 3.5 mm.  Two?\nThree\n\n") == ["One 3.5 mm.", "Two?", "Three"]
