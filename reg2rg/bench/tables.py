"""A bench as tables: for the terminal, Markdown and LaTeX; and as CSV, one number a line.

The rows of one's own stand in the order of the plan, the paper's rows of the same table below a rule, marked as published.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..evaluate import latex
from ..evaluate import tables as evaluation_tables
from ..evaluate.tables import Table, number
from .plan import ablations

COLUMNS = {
    "precision": "P", "recall": "R", "micro_f1": "F1", "bleu1": "BL-1", "bleu4": "BL-4", "meteor": "METEOR",
    "rougeL": "ROUGE-L", "recognition": "named right",
}  # fmt: skip
METRICS = {**COLUMNS, "macro_f1": "macro F1", "bleu2": "BL-2", "bleu3": "BL-3"}
CLASS = "f1_"
_METHODS = ("Table I,", "Table II")


def tables(document: Mapping[str, Any], narrow: bool = False) -> list[Table]:
    """Every table of a bench's document; `narrow` is for a terminal: fewer columns, and the paper's rows in short."""
    found = [_scores(document, group, narrow) for group in document["titles"]]
    found += [_classes(document), _comparisons(document), _costs(document), _evidence(document)]
    return [table for table in found if table is not None]


def _scores(document: Mapping[str, Any], group: str, narrow: bool) -> Table | None:
    """One ablation's, sweep's or the methods' rows, with the paper's of the same table below."""
    own = [row for row in document["summary"] if row["group"] == group]
    if not own:
        return None
    below = _published(document, group, [row["name"] for row in own])
    keys = [k for k in _shown(group, narrow) if any(k in row["metrics"] for row in own)]
    rows = [(row["name"], *(_cell(row["metrics"].get(k), k, narrow) for k in keys)) for row in own]
    rows += [(name, *(number(row["metrics"].get(k)) for k in keys)) for name, row in below]
    note = _note(document, own) + (f" Published: {below[0][1]['protocol']}." if below else "")
    return Table(document["titles"][group], ("", *(METRICS[k] for k in keys)), tuple(rows), len(below), note)


def _published(document: Mapping[str, Any], group: str, names: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """The paper's rows that belong below a group's own, with the name to show."""
    if group == "methods":
        return [(f"{row['name']}, {row['table']}", row) for row in document["paper"] if row["table"].startswith(_METHODS)]
    known = ablations().get(group, {})
    rows = {row["name"]: row for row in document["paper"] if row["table"] == known.get("paper")}
    like = {name: known.get("like", {}).get(name, name) for name in names}
    return [(f"{name}, published", rows[like[name]]) for name in names if like[name] in rows]


def _shown(group: str, narrow: bool) -> Iterable[str]:
    if narrow:
        return ("micro_f1", "bleu4", "meteor", "rougeL", "recognition")
    return (*COLUMNS, "bleu2", "bleu3") if group == "methods" else COLUMNS


def _cell(value: Any, name: str, narrow: bool) -> str:
    """A number, its interval behind it; in a terminal of the first one alone."""
    if narrow and isinstance(value, Mapping):
        interval = f" [{value['low']:.2f}, {value['high']:.2f}]" if name == "micro_f1" else ""
        return number(value["value"]) + interval
    return number(value)


def _note(document: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> str:
    settings = document["settings"]
    seeds = max(len(row["seeds"]) for row in own)
    steps = sorted({row["steps"]["training"] for row in document["rows"] if row["steps"]["training"]})
    trained = f", {' or '.join(map(str, steps))} steps" if steps else ""
    over = "seeds and studies" if seeds > 1 else "studies (one seed)"
    return (
        f"{settings['test_studies']} test studies, {settings['train_studies']} for training{trained}, {seeds} "
        f"seed{'s' * (seeds > 1)}; 95 % intervals over {over}."
    )


def _classes(document: Mapping[str, Any]) -> Table | None:
    """Finding F1 by evidence class: which evidence a row reads."""
    classes = list(document.get("classes") or ())
    own = _once(document["summary"], classes)
    if not classes or not own:
        return None
    rows = tuple((row["name"], *(number(row["metrics"].get(CLASS + name)) for name in classes)) for row in own)
    return Table("Finding F1 by evidence class", ("", *classes), rows, note="Micro F1 over each class's findings.")


def _once(summary: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[Mapping[str, Any]]:
    return [row for row in summary if any(CLASS + name in row["metrics"] for name in classes)]


def _comparisons(document: Mapping[str, Any]) -> Table | None:
    rows = [
        (
            f"{row['a']} − {row['b']}",
            metric_name(row["metric"]),
            f"{row['difference']:+.3f}",
            f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            f"{row['p']:.3f}",
        )
        for row in document["comparisons"]
    ]
    if not rows:
        return None
    note = "The same draws of seeds and studies for both; p two-sided, not corrected for the number of rows."
    return Table("Paired differences", ("", "metric", "difference", "95 % interval", "p"), tuple(rows), note=note)


def metric_name(name: str) -> str:
    """A metric's heading; of an evidence class its F1."""
    return f"F1, {name.removeprefix(CLASS)}" if name.startswith(CLASS) else METRICS.get(name, name)


def _costs(document: Mapping[str, Any]) -> Table | None:
    rows = tuple(
        (
            row["name"],
            f"{row['parameters']:,}",
            f"{row['trained_parameters']:,}",
            f"{row['seconds']:.0f}",
            f"{row['peak_mib']:.0f}",
        )
        for row in document["summary"]
    )
    note = "Seconds of training and writing the test reports, without the encoder's pretraining; memory is the process's peak."
    return Table("Costs of a run", ("", "parameters", "trained", "seconds", "peak MiB"), rows, note=note) if rows else None


def _evidence(document: Mapping[str, Any]) -> Table | None:
    """What small readers find that see one kind of evidence alone: whether the phantom's classes are true."""
    found = document.get("evidence") or []
    if not found:
        return None
    kinds = [key for key in found[0] if isinstance(found[0][key], float) and key not in ("prevalence", "always_yes")]
    rows = tuple(
        (row["finding"], row["class"], *(f"{row[key]:.2f}" for key in ("prevalence", "always_yes", *kinds)), row["holds"])
        for row in found
    )
    columns = ("", "class", "prevalence", "always yes", *kinds, "holds")
    note = (
        "F1 of small readers of one kind of evidence each, beside saying yes to everybody. A class holds where the evidence "
        "that it needs tells its findings and the others stay near that floor."
    )
    return Table("Evidence check of the phantoms", columns, rows, note=note)


def as_markdown(document: Mapping[str, Any]) -> str:
    """All tables as Markdown, what to know in front."""
    parts = ["# Bench", "\n".join(f"- {line}" for line in remarks(document))]
    for table in tables(document):
        parts += evaluation_tables.as_markdown(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def as_latex(document: Mapping[str, Any]) -> str:
    """All tables as LaTeX floats."""
    return latex.as_latex(tables(document), remarks(document))


def remarks(document: Mapping[str, Any]) -> list[str]:
    """What a reader must know: the notes, and the rows that failed."""
    failed = [f"Failed: {row['name']}, seed {row['seed']}: {row['error']}" for row in document["failures"]]
    return [*document["notes"], *failed]


def as_csv(document: Mapping[str, Any]) -> str:
    """One number a line: row, group, seed ("all": over seeds), metric, value, low, high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("name", "group", "seed", "metric", "value", "low", "high"))
    for row in document["rows"]:
        _write(writer, row, row["seed"])
    for row in document["summary"]:
        _write(writer, row, "all")
    return out.getvalue()


def _write(writer: Any, row: Mapping[str, Any], seed: object) -> None:
    for name, found in row["metrics"].items():
        writer.writerow((row["name"], row["group"], seed, name, *(f"{found[k]:.6f}" for k in ("value", "low", "high"))))
    for name in ("seconds", "peak_mib", "parameters", "trained_parameters"):
        writer.writerow((row["name"], row["group"], seed, name, row[name], "", ""))
