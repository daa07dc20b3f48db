"""An evaluation as tables: the same rows for the terminal, for Markdown and for LaTeX.

The paper's rows stand beside one's own, marked as published with their data set; they are never mixed into one's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from . import published

Row = tuple[str, ...]
TITLES = {
    "bleu1": "BLEU-1", "bleu2": "BLEU-2", "bleu3": "BLEU-3", "bleu4": "BLEU-4", "meteor": "METEOR", "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "cider": "CIDEr", "corpus_bleu1": "corpus BLEU-1",
    "corpus_bleu2": "corpus BLEU-2",
    "corpus_bleu3": "corpus BLEU-3", "corpus_bleu4": "corpus BLEU-4", "crg": "CRG", "recognition": "regions named right",
    "length_kl": "length KL (lower is better)",
    **{f"{a}_{k}": f"{a} {k.replace('f1', 'F1')}" for a in ("micro", "macro", "weighted", "samples")
       for k in ("precision", "recall", "f1")},
}  # fmt: skip
KINDS = ("precision", "recall", "f1")


_LANGUAGE_NOTE = "Mean over reports of sentence scores; corpus BLEU sums counts first. CIDEr runs from 0 to 10."


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A title, column names, rows of text, how many of the last rows are published figures, and a note."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    published: int = 0
    note: str = ""


def number(value: Any, interval: Sequence[float] | None = None) -> str:
    """A number with three places, its interval behind it; "–" for None. `value` may be {value, low, high}."""
    if isinstance(value, Mapping):
        interval = (value["low"], value["high"]) if "low" in value else None
        value = value["value"]
    if value is None:
        return "–"
    text = f"{value:.3f}"
    return text if interval is None else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"


def tables(
    evaluation: Mapping[str, Any], floors: Mapping[str, Mapping[str, Any]] | None = None, narrow: bool = False
) -> list[Table]:
    """Every table that the evaluation has numbers for; `narrow` is for a terminal: fewer columns, no published rows."""
    made = [
        *([_metrics(evaluation)] if narrow else _language(evaluation)),
        _floors(floors or evaluation.get("floors") or {}, narrow),
        *_comparison(evaluation),
        _clinical(evaluation, narrow),
        _per_label(evaluation, narrow),
        _recognition(evaluation, narrow),
        None if narrow else _confusion(evaluation),
        _per_region(evaluation, narrow),
    ]
    return [table for table in made if table is not None and table.rows]


def _metrics(evaluation: Mapping[str, Any]) -> Table:
    rows = tuple((TITLES.get(name, name), number(value)) for name, value in evaluation["metrics"].items())
    return Table("Language", ("metric", f"n = {evaluation['n']}"), rows, 0, _LANGUAGE_NOTE)


def _language(evaluation: Mapping[str, Any]) -> list[Table]:
    """The paper's columns with its rows, and a table of the metrics that it doesn't have: one of all is too wide for a page."""
    found = evaluation["metrics"]
    shown = [c for c in published.LANGUAGE_COLUMNS if c in found]
    paper: list[Row] = []
    for data, methods in published.LANGUAGE.items():
        for method, values in methods.items():
            known = dict(zip(published.LANGUAGE_COLUMNS, values, strict=True))
            paper.append((method, f"{data}, published", *(number(known[c]) for c in shown)))

    def table(title: str, columns: Sequence[str], more: Sequence[Row], note: str) -> Table:
        own: Row = ("this file", f"n = {evaluation['n']}", *(number(found[c]) for c in columns))
        return Table(title, ("method", "data", *(TITLES.get(c, c) for c in columns)), (own, *more), len(more), note)

    made = [table("Language", shown, paper, "Means over reports." + _protocol("Table I"))] if shown else []
    further = [c for c in found if c not in shown]
    return [*made, table("Further language metrics", further, (), _LANGUAGE_NOTE)] if further else made


def _protocol(table: str) -> str:
    return f" Published rows ({published.SOURCE}, {table}), not computed here: {published.PROTOCOL[table]}"


def _plain(found: Any) -> str:
    return number(found["value"] if isinstance(found, Mapping) else found)


def _floors(floors: Mapping[str, Mapping[str, Any]], narrow: bool) -> Table | None:
    columns = list(dict.fromkeys(name for row in floors.values() for name in row))
    rows = tuple(
        (name, *(_plain(row.get(c)) if narrow else number(row.get(c)) for c in columns)) for name, row in floors.items()
    )
    return Table("Floors and ceiling", ("report", *(TITLES.get(c, c) for c in columns)), rows) if rows else None


def _comparison(evaluation: Mapping[str, Any]) -> list[Table]:
    found = evaluation.get("comparison")
    if found is None:
        return []
    note = (
        f"{found['this']} minus {found['other']} over the {found['n']} studies of both, which are resampled together; "
        "p is two-sided and not corrected for the number of rows."
    )
    columns = ("this file", "other", "difference", "p")
    rows = tuple((TITLES.get(row["metric"], row["metric"]), *_difference(row)) for row in found["rows"])
    labels = tuple((row["finding"], *_difference(row)) for row in found["per_label"])
    return [
        Table("Comparison", ("metric", *columns), rows, 0, note),
        Table("Comparison of findings (F1)", ("finding", *columns), labels, 0, note),
    ]


def _difference(row: Mapping[str, Any]) -> Row:
    interval = (row["low"], row["high"]) if "low" in row else None
    return (number(row["value"]), number(row["other"]), number(row["difference"], interval), number(row.get("p")))


def _scores(scores: Mapping[str, float], intervals: Mapping[str, Any], narrow: bool) -> Row:
    """Precision, recall and F1 with intervals; only F1's where there is little room."""
    return tuple(number(scores[k], intervals.get(k) if k == "f1" or not narrow else None) for k in KINDS)


def _clinical(evaluation: Mapping[str, Any], narrow: bool) -> Table | None:
    found = evaluation.get("clinical")
    if found is None:
        return None
    averages = ("micro", "macro", "weighted", "samples")
    rows = [(a, *_scores(found[a], found.get(f"{a}_interval", {}), narrow)) for a in averages]
    paper = {} if narrow else published.CLINICAL
    extra = tuple((f"{m}, micro (RadGenome-ChestCT, published)", *map(number, v)) for m, v in paper.items())
    crg = f" CRG {number(found['crg'], found.get('crg_interval'))}." if "crg" in found else ""
    note = f"Findings of the reference by {found['reference']}.{crg}{'' if narrow else _protocol('Table II')}"
    return Table("Clinical efficacy", ("average", *KINDS), (*rows, *extra), len(extra), note)


def _per_label(evaluation: Mapping[str, Any], narrow: bool) -> Table | None:
    found = evaluation.get("clinical", {})
    intervals = found.get("per_label_interval", {})
    rows = tuple(
        (label, *_scores(scores, intervals.get(label, {}), narrow), str(scores["support"]))
        for label, scores in found.get("per_label", {}).items()
    )
    return Table("Findings", ("finding", *KINDS, "support"), rows)


def _recognition(evaluation: Mapping[str, Any], narrow: bool) -> Table | None:
    found = evaluation.get("region_recognition")
    if found is None:
        return None
    intervals = found.get("per_region_interval", {})
    rows = tuple(
        (region, *_scores(scores, intervals.get(region, {}), narrow), str(scores["support"]))
        for region, scores in found["per_region"].items()
    )
    paper = {} if narrow else published.RECOGNITION
    extra = tuple((f"{r} (RadGenome-ChestCT, published)", *map(number, v), "–") for r, v in paper.items())
    accuracy = number(found["accuracy"], found.get("accuracy_interval"))
    counts = ", ".join(f"{found[key]} {key}" for key in ("missing", "unknown", "repeated"))
    note = f"Mean accuracy {accuracy}; names: {counts}."
    note += "" if narrow else _protocol("Table III")
    return Table("Region recognition", ("region", *KINDS, "support"), (*rows, *extra), len(extra), note)


def _confusion(evaluation: Mapping[str, Any]) -> Table | None:
    found = evaluation.get("region_recognition", {}).get("confusion")
    if found is None:
        return None
    rows = tuple((truth, *map(str, row)) for truth, row in zip(found["truth"], found["counts"], strict=True) if any(row))
    note = "How often each region (rows) was given each name (columns); none: no name, or none of the ten."
    return Table("Region names", ("region", *found["named"]), rows, 0, note)


def _per_region(evaluation: Mapping[str, Any], narrow: bool) -> Table | None:
    found = evaluation.get("per_region", {})
    wanted = ("bleu1", "bleu4", "meteor", "rougeL") if narrow else tuple(t for t in TITLES if not t.startswith("corpus"))
    columns = [c for c in wanted if any(c in row for row in found.values())]
    clinical = ("finding F1",) if any("clinical" in row for row in found.values()) else ()
    rows = tuple(
        (
            region,
            str(row["n"]),
            str(row["missing"]),
            *(number(row.get(c, {}).get("value")) for c in columns),
            *(_finding_f1(row, narrow) for _ in clinical),
        )
        for region, row in found.items()
    )
    note = "Texts by the name that the model gave them; n: studies where both sides have text for the region."
    return Table("Regions", ("region", "n", "missing", *(TITLES[c] for c in columns), *clinical), rows, 0, note)


def _finding_f1(row: Mapping[str, Any], narrow: bool) -> str:
    found = row.get("clinical", {})
    return number(found.get("micro", {}).get("f1"), None if narrow else found.get("micro_interval", {}).get("f1"))


def remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the numbers: what was left out, what wasn't computed, how many reports are distinct."""
    lines = [f"Warning: {line}" for line in evaluation.get("warnings", ())]
    lines.append(_distinct(evaluation))
    if evaluation.get("empty_predictions"):
        lines.append(f"{evaluation['empty_predictions']} predictions are empty and score 0.")
    lines += [f"Left out, {reason}: {entry['n']}." for reason, entry in evaluation.get("excluded", {}).items()]
    compared = evaluation.get("comparison", {})
    lines += [f"Not compared, {reason}: {entry['n']}." for reason, entry in compared.get("excluded", {}).items()]
    lines += [f"Not computed, {name}: {reason}" for name, reason in evaluation.get("skipped", {}).items()]
    if "length" in evaluation:
        found = evaluation["length"]
        means = f"{found['reference']['mean']:.1f} and {found['prediction']['mean']:.1f} words"
        lines.append(f"Lengths of reference and prediction: {means}, KL {number(found['kl'], found.get('kl_interval'))} nats.")
    return lines + list(evaluation.get("notes", ()))


def _distinct(evaluation: Mapping[str, Any]) -> str:
    text = f"{evaluation['distinct_reports']} distinct reports in {evaluation['n']}"
    return f"{text} (references: {evaluation['distinct_references']})." if "distinct_references" in evaluation else f"{text}."


def markdown(evaluation: Mapping[str, Any], floors: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """All tables as Markdown; published rows are in italics."""
    parts = ["# Evaluation", "\n".join(f"- {line}" for line in remarks(evaluation))]
    for table in tables(evaluation, floors):
        parts += as_markdown(table)
    return "\n\n".join(parts) + "\n"


def as_markdown(table: Table) -> list[str]:
    """Title, cells and note of a table, as paragraphs; published rows in italics."""
    own = len(table.rows) - table.published
    lines = [_pipe(table.columns), _pipe(("---",) * len(table.columns))]
    lines += [_pipe(row if i < own else tuple(f"*{c}*" for c in row)) for i, row in enumerate(table.rows)]
    return [f"## {table.title}", "\n".join(lines), *([table.note] if table.note else [])]


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
