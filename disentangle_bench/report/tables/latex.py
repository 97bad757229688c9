"""``leaderboard.tex``: tables to ``\\input`` in a paper, in plain LaTeX with the packages booktabs and graphicx."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from disentangle_bench.errors import one_line
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
    """Text from a record as plain text in LaTeX, whatever it holds: no command, no math, no comment, no ligature.

    What pdfLaTeX cannot set without further packages is spelled with its code point, ``(U+4E2D)``.
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


def text(sheets: list[Sheet], bibtex: str) -> str:
    """The whole file, a table per sheet; ``bibtex`` is put in front as a comment."""
    comment = "".join(f"% {line}\n" for line in bibtex.splitlines())
    return "\n".join([_INTRODUCTION + comment, *map(_table, sheets)])


def _table(sheet: Sheet) -> str:
    heads = [_two_lines(*_head(column)) for column in sheet.columns.values()]
    lines = [" & ".join([escape(sheet.corner), "$n$", *heads]) + r" \\", r"\midrule"]
    for place, (key, name) in enumerate(sheet.rows.items()):
        row = [sheet.cells.get((key, column)) for column in sheet.columns]
        cells = [
            _cell(item, column.decimals, sheet.seeds[key]) if item is not None else "--"
            for item, column in zip(row, sheet.columns.values(), strict=True)
        ]
        space = r" \addlinespace" if place + 1 < len(sheet.rows) else ""
        lines.append(" & ".join([escape(name), str(sheet.seeds[key]), *cells]) + rf" \\{space}")
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
    first, dot, second = column.name.partition(".")
    unit = f" ({escape(column.unit)})" if column.unit else ""
    arrow = f" {_ARROWS[column.direction]}" if _ARROWS[column.direction] else ""
    return (escape(first), escape(second) + unit + arrow) if dot else ("", escape(first) + unit + arrow)


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
