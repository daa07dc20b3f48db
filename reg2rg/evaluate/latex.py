"""An evaluation's tables in LaTeX: floats with booktabs rules, published rows below a rule of their own, in italics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .tables import Table, remarks, tables

_HEAD = (
    "% Needs \\usepackage{booktabs,graphicx} and UTF-8 (any LaTeX since 2018). Rows in italics are published figures, not ours."
)
_INTERVAL = re.compile(r"\[[^\[\]]*\d, [^\[\]]*\d\]$")  # behind its number, and smaller
_ESCAPES = str.maketrans(
    {
        **{c: "\\" + c for c in "&%_#${}"},
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": "$<$", ">": "$>$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "→": r"$\to$",
        "‖": r"$\Vert$", "·": r"$\cdot$", "–": "--", "—": "---", "…": r"\ldots{}", "\u00a0": "~", "\n": " ", "\r": " ",
    }
)  # fmt: skip


def escape(text: str) -> str:
    """Text as LaTeX shows it; characters that LaTeX has no letter for are left to the font."""
    return text.translate(_ESCAPES)


def latex(evaluation: Mapping[str, Any], floors: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """All tables as LaTeX floats, each with its note as the caption; what was left out stands in comments at the top."""
    return as_latex(tables(evaluation, floors), remarks(evaluation))


def as_latex(made: Iterable[Table], remarks: Iterable[str] = ()) -> str:
    """Tables as LaTeX floats, remarks in comments at the top."""
    comments = [_HEAD, *(f"% {' '.join(line.split())}" for line in remarks)]
    return "\n".join(comments) + "\n\n" + "\n\n".join(_float(table) for table in made) + "\n"


def _float(table: Table) -> str:
    own = len(table.rows) - table.published
    name = "".join(c if c.isalnum() else "-" for c in table.title.lower()).strip("-")
    lines = [
        r"\begin{table}[tp]",
        r"\centering",
        rf"\caption{{{escape(f'{table.title}. {table.note}'.strip())}}}",
        rf"\label{{tab:reg2rg-{name}}}",
        r"\smallskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        _line(table.columns),
        r"\midrule",
    ]
    for i, row in enumerate(table.rows):
        lines += [r"\midrule"] if i == own and i else []
        lines.append(_line(row, italic=i >= own))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"])


def _line(cells: Sequence[str], italic: bool = False) -> str:
    texts = [_INTERVAL.sub(r"{\\scriptsize \g<0>}", escape(cell)) for cell in cells]
    return " & ".join(rf"\textit{{{t}}}" if italic else t for t in texts) + r" \\"
