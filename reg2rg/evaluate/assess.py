"""A reports file as `reg2rg evaluate` judges it: its scores, its floors, a comparison with another file, and its warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..progress import Progress, silent
from .choice import Named
from .evaluation import chosen, evaluate
from .examples import examples
from .floors import ALWAYS, floors, floors_without_train, shuffled_row
from .labels import distinct, matched, remembering
from .paired import comparison
from .reading import ReportsFile
from .shelf import texts_alone
from .training import Train

FEW = 0.05  # below this share of distinct reports the field's best-known failure is likely: one report for all
_SHOWN = 20
Labels = Mapping[str, Mapping[str, int]]


def assess(
    file: ReportsFile,
    *,
    metrics: Sequence[Named] = (),
    against: ReportsFile | None = None,
    train: Train | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of `evaluate --json`, and the worst and best studies (`examples`; empty where none can be shown).

    `settings` are `evaluate`'s labels, labeler, ci and seed. Raises UserError as `evaluate` and `comparison` do.
    """
    judge: dict[str, Any] = {key: settings[key] for key in ("labels", "labeler") if key in settings}
    with remembering():
        found = evaluate(file.reports, metrics=metrics, progress=progress, **settings)
        found["excluded"] = {**file.excluded, **found["excluded"], **_unlabelled(file, settings.get("labels"))}
        found["notes"] = [*file.notes, *(train.notes if train else _NO_TRAIN)]
        found["distinct_references"] = distinct(r.reference for r in texts_alone(file.reports) if r.reference.strip())
        found["settings"]["reports"] = file.source
        progress("floors", 0, 1)
        _add_floors(found, file, train, metrics, settings)
        progress("floors", 1, 1)
        if against is not None:
            progress("compare", 0, 1)
            part = comparison(file.reports, against.reports, metrics=metrics, **settings)
            found["comparison"] = {"this": file.source, "other": against.source, **part}
            progress("compare", 1, 1)
        read = "clinical" in found
        shown = _examples(file, {**judge, "labeler": judge.get("labeler", "rules") if read else None})
    found["warnings"] = warnings(found, sum(r.report == r.reference != "" for r in texts_alone(file.reports)))
    return found, shown


_NO_TRAIN = ("The train split isn't at hand: --train STORE adds its most frequent report to the floors.",)


def _unlabelled(file: ReportsFile, labels: Labels | None) -> dict[str, Any]:
    if labels is None:
        return {}
    studies = [r.study for r in texts_alone(file.reports)]
    lost = [study for study, row in zip(studies, matched(studies, labels), strict=True) if row is None]
    return {"no row in the labels (findings alone)": {"n": len(lost), "studies": lost[:_SHOWN]}} if lost else {}


def _add_floors(
    found: dict[str, Any], file: ReportsFile, train: Train | None, metrics: Sequence[Named], settings: Mapping[str, Any]
) -> None:
    """Floors of the numbers that the evaluation has, in the form that the demo has them."""
    names = {choice.name for choice in chosen(metrics)}
    groups = [name for name in ("bleu", "rouge", "meteor") if name in names]
    if not groups and "clinical" not in names:
        return
    try:
        if train is None:
            rows = floors_without_train(file.reports, metrics=groups, **settings)
        else:
            rows = floors(file.reports, train=train.studies, metrics=groups, **settings)
            always = rows.pop(ALWAYS)  # stays the last
            rows |= {**shuffled_row(file.reports, metrics=groups, **settings), ALWAYS: always}
    except UserError as error:
        found["skipped"]["floors"] = str(error)
        return
    if "clinical" not in found:
        rows = {name: {k: v for k, v in row.items() if not k.endswith("_f1")} for name, row in rows.items() if name != ALWAYS}
    found["floors"] = {name: row for name, row in rows.items() if row}


def _examples(file: ReportsFile, judge: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = examples(file.reports, **judge)
    except UserError:  # the scores say why the labeler can't be had
        return {}
    return found if found["worst"] else {}


def warnings(found: Mapping[str, Any], copies: int) -> list[str]:
    """What makes the numbers doubtful, in sentences; `copies`: how many predictions are their reference, word for word."""
    n, distinct, empty = found["n"], found["distinct_reports"], found["empty_predictions"]
    said = []
    if n > 1 and (distinct == 1 or distinct < FEW * n):
        written = "The same report was written for every study" if distinct == 1 else f"Only {distinct} distinct reports"
        share = "" if distinct == 1 else f" were written for {n:,} studies ({100 * distinct / n:.1f} %)"
        said.append(f"{written}{share}: whatever the scores, they hardly depend on the scans. See the floors.")
    if 2 * empty > n:
        said.append(f"{empty:,} of {n:,} predictions are empty.")
    if n > 1 and copies == n:
        said.append("Every prediction equals its reference: is the right column scored?")
    return said
