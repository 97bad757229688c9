"""``leaderboard.md``: the leaderboard for people, with what is not ranked, what failed and what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from disentangle_bench.report import names
from disentangle_bench.report.leaderboard import FEW, NOTES
from disentangle_bench.report.scores import SCORE, SETUP, one_line

if TYPE_CHECKING:
    import pandas as pd

_INTRODUCTION = """# Leaderboard

Each cell is the mean over seeds and its 95 % bootstrap interval. An arrow says whether higher (↑) or lower (↓) is
better; the best of the ranked models is bold. Numbers of different datasets, protocols, models, settings, metric
variants or versions of any of these are never pooled: they have rows, columns or tables of their own.
The same numbers, with more statistics, are in `leaderboard.csv`, those of single runs in `results.csv`.
"""

LONGEST = 300
"""Characters of an error's text that are shown."""


def escape(text: object) -> str:
    """Text from a record as plain text in Markdown: on one line, no markup, no HTML, no end of a table's cell."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|\[\]#~$!])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def cell(row: Any, decimals: int) -> str:
    """``0.512 [0.480, 0.544]``: mean and interval of a leaderboard's row; one seed has no interval to show."""
    if row.n == 0:
        return "undefined"
    if row.n == 1:
        return f"{row.mean:.{decimals}f}"
    return f"{row.mean:.{decimals}f} [{row.ci_low:.{decimals}f}, {row.ci_high:.{decimals}f}]"


def text(
    board: pd.DataFrame, scores: pd.DataFrame, failures: Sequence[dict[str, Any]] = (), unfinished: Sequence[str] = ()
) -> str:
    """The whole file. ``board`` is the leaderboard of ``scores``; ``unfinished`` are names of run folders."""
    seeds = dict(names.tables(scores))
    parts = [_INTRODUCTION]
    for title, rows in names.tables(board):
        parts += [f"## {escape(title)}\n", _table(rows, seeds[title]), *_remarks(rows, seeds[title])]
    if failures:
        parts.append("## Failed runs\n\nThey are in no table; running the grid again retries them.\n")
        parts.append("".join(f"- {escape(item.get('run_id'))}: {_error(item)}\n" for item in failures))
    if unfinished:
        parts.append("## Unfinished runs\n\nThey are in no table; running the grid again continues them.\n")
        parts.append("".join(f"- {escape(name)}\n" for name in unfinished))
    return "\n".join(parts)


def _error(failure: dict[str, Any]) -> str:
    error = one_line(failure.get("error") or "unknown error")
    return escape(error if len(error) <= LONGEST else error[:LONGEST] + "…")


def _table(rows: pd.DataFrame, scores: pd.DataFrame) -> str:
    setups, kinds = names.setup_names(rows), names.score_names(rows)
    runs = scores.groupby(SETUP)["seed"].nunique()
    cells = names.cells(rows)
    digits = {}
    heads = []
    for kind, name in kinds.items():
        column = [row for key, row in cells.items() if key[len(SETUP) :] == kind]
        digits[kind] = names.decimals(max((abs(row.mean) for row in column if row.n), default=0))
        unit = f" ({escape(column[0].unit)})" if column[0].unit else ""
        heads.append(f"{escape(name)}{unit} {'↑' if column[0].direction == 'higher' else '↓'}")
    lines = [["model", "n", *heads], ["---", "---:", *["---"] * len(heads)]]
    for setup, name in setups.items():
        line = [escape(name), str(runs[setup])]
        for kind in kinds:
            row = cells.get(setup + kind)
            if row is None:
                line.append("—")
                continue
            content = cell(row, digits[kind])
            content = f"**{content}**" if not row.note and row.rank == 1 else content
            line.append(content if row.n == runs[setup] or row.n == 0 else f"{content} (n={row.n})")
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _remarks(rows: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """What is not ranked and why, which seeds are missing, and what stands apart, each a list item."""
    setups = names.setup_names(rows)
    notes: dict[str, dict[str, None]] = {}
    for row in names.rows_of(rows):
        name = setups[tuple(getattr(row, part) for part in SETUP)]
        for word in row.note.split():
            if word == FEW and row.undefined:
                continue  # there are enough seeds, the score is not defined for them
            notes.setdefault(word, {})[f"{name}: {row.score}" if word == "undefined" else name] = None
    items = []
    for word, reason in NOTES.items():
        if word == "unranked-protocol" and word in notes:
            items.append(f"- {reason}.\n")
        elif word in notes:
            items.append(f"- {reason}: {', '.join(map(escape, notes[word]))}.\n")
    items += _missing_seeds(scores, setups)
    if len(set(scores["package_version"])) > 1:
        items.append(
            f"- Made with the package versions {', '.join(map(escape, sorted(set(scores.package_version))))}.\n"
        )
    variants = {kind[2:] for kind in rows[SCORE].drop_duplicates().itertuples(index=False, name=None)}
    if len(names.score_names(rows)) > rows["score"].nunique() and variants:
        items.append("- Scores of several variants or metric versions are present; they have columns of their own.\n")
    if rows[["model", "changed"]].drop_duplicates().shape[0] < len(setups):
        items.append("- One model is present in several versions or settings; each has a row of its own.\n")
    return ["".join(items)] if items else []


def _missing_seeds(scores: pd.DataFrame, setups: dict[tuple, str]) -> list[str]:
    """Of setups by the protocol, the seeds that another one has."""
    present = scores[~scores["off_protocol"]].groupby(SETUP)["seed"].agg(set)
    every = set().union(*present)
    items = []
    for setup in setups:
        if setup not in present.index:
            continue
        if missing := sorted(every - present[setup]):
            items.append(f"- {escape(setups[setup])} lacks the seeds {names.ranges(missing)} that others have.\n")
    return items
