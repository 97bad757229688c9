"""Write ``leaderboard.tex``: tables to ``\\input`` in a paper, in LaTeX with the packages booktabs and graphicx."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from disentangle_bench.errors import one_line, unknown
from disentangle_bench.report import labels
from disentangle_bench.report.tables.sheet import Sheet

_INTRODUCTION = r"""% Made by disentangle-bench. Needs \usepackage{booktabs,graphicx}.
% Mean over seeds, below it the 95 % bootstrap interval; bold: the best of the ranked models.
"""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": "-{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "ψ": "psi",
    "ω": "omega",
}
_ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "none": ""}


def escape(text: object) -> str:
    """Return any text from a record as plain text in LaTeX: no command, no math, no comment, no ligature.

    A character that pdfLaTeX cannot set without further packages is spelled with its code point, ``(U+4E2D)``.
    """
    return "".join(map(_letter, unicodedata.normalize("NFC", one_line(text))))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        # The quotation mark exists in font encoding T1 only; two straight quotes look the same everywhere.
        return {'"': r"\textquotesingle{}\textquotesingle{}"}.get(letter, _SPECIAL[letter])
    if " " <= letter <= "~":
        return letter
    if letter in _GREEK:
        return rf"$\{_GREEK[letter]}$"
    if re.match("[À-ÖØ-öø-ÿ]", letter) and letter not in "ÐðÞþ":
        return letter
    return f"(U+{ord(letter):04X})"


MOST_COLUMNS = 5
"""Largest number of scores in one table; further scores go into further tables, so that print stays readable."""


def text(sheets: Iterable[Sheet], bibtex: str, columns: Sequence[str] | None = None) -> str:
    """Return the text of the whole file, with one table or several per sheet, and ``bibtex`` in front as a comment.

    ``columns`` names the columns in order, by score (``dci.disentanglement``) or metric (``dci``); by default the
    headline scores, or all columns of a sheet that has none of them. Raises ``BenchError`` for a name that no sheet
    has.
    """
    comment = "".join(f"% {line}\n" for line in bibtex.splitlines())
    parts, known, used = [_INTRODUCTION + comment], set[str](), set[str]()
    for sheet in sheets:
        names = {key: column.name for key, column in sheet.columns.items()}
        known |= {name.partition(" ")[0] for name in names.values()}
        keys = sheet.headline() if columns is None else _named(names, columns)
        used |= {names[key].partition(" ")[0] for key in keys}
        parts += [_table(sheet, keys[start : start + MOST_COLUMNS]) for start in range(0, len(keys), MOST_COLUMNS)]
    for name in columns or ():
        if not any(_is_of(one, name) for one in used):
            raise unknown("column", name, known)
    return "\n".join(parts)


def _is_of(column: str, name: str) -> bool:
    return column == name or column.startswith(f"{name}.")


def _named(names: dict[tuple, str], columns: Sequence[str]) -> list[tuple]:
    """Return the keys of the named columns, in the order in which they are named."""
    keys = [key for name in columns for key, column in names.items() if _is_of(column.partition(" ")[0], name)]
    return list(dict.fromkeys(keys))


def _table(sheet: Sheet, keys: list[tuple]) -> str:
    keyed_columns = [(key, sheet.columns[key]) for key in keys]
    heads = [_two_lines(*_head(column)) for _, column in keyed_columns]
    lines = [" & ".join([escape(sheet.corner), "$n$", *heads]) + r" \\", r"\midrule"]
    for index, (key, name) in enumerate(sheet.rows.items()):
        row = [(sheet.cells.get((key, kind)), column) for kind, column in keyed_columns]
        cells = [_cell(item, column.decimals, sheet.seeds[key]) if item is not None else "--" for item, column in row]
        space = r" \addlinespace" if index + 1 < len(sheet.rows) else ""
        lines.append(" & ".join([escape(labels.setup_title(name)), str(sheet.seeds[key]), *cells]) + rf" \\{space}")
    ranked = "" if sheet.ranked else " Nothing here is ranked."
    caption = f"{escape(sheet.title)}: mean over $n$ seeds and its 95\\,\\% bootstrap interval.{ranked}"
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering",
            rf"\caption{{{caption}}}",
            # Wide tables shrink to the text's width, narrow ones stay as they are.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{lr{'c' * len(heads)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _head(column: Any) -> tuple[str, str]:
    """Return the upper and lower lines of a column's head: the metric, and its score."""
    title = labels.score_title(column.name)
    first, space, second = title.partition(" ")
    unit = f" ({escape(column.unit)})" if column.unit else ""
    arrow = f" {_ARROWS[column.direction]}" if _ARROWS[column.direction] else ""
    return (escape(first), escape(second) + unit + arrow) if space else ("", escape(first) + unit + arrow)


def _two_lines(upper: str, lower: str) -> str:
    return rf"\begin{{tabular}}[c]{{@{{}}c@{{}}}}{upper}\\{lower}\end{{tabular}}" if upper else lower


def _cell(row: Any, decimals: int, seeds: int) -> str:
    if row.n == 0:
        return "undefined"
    mean = f"{row.mean:.{decimals}f}"
    mean = rf"\textbf{{{mean}}}" if not row.note and row.rank == 1 else mean
    few = f" ($n={row.n}$)" if row.n != seeds else ""
    if row.n == 1:
        return mean + few
    interval = rf"\scriptsize$[{row.ci_low:.{decimals}f}, {row.ci_high:.{decimals}f}]$"
    return _two_lines(mean, interval + few)
