"""The leaderboard's headline scores in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from disentangle_bench.report import names
from disentangle_bench.report.scores import SCORE, SETUP

if TYPE_CHECKING:
    import pandas as pd


def table(board: pd.DataFrame) -> Group:
    """One table per dataset and protocol: a row per model, a column per headline score (all scores if none is there).

    A cell is the mean and the larger half of the 95 % interval; rank 1 is bold.
    """
    return Group(*(_table(title, rows) for title, rows in names.tables(board)))


def _table(title: str, rows: pd.DataFrame) -> Table:
    kinds = {kind: name for kind, name in names.score_names(rows).items() if kind[1] in names.HEADLINE}
    kinds = kinds or names.score_names(rows)
    cells = {(tuple(getattr(row, name) for name in SETUP + SCORE)): row for row in rows.itertuples(index=False)}
    ranked = (rows["note"] == "").any()
    shown = Table(title=Text(title if ranked else f"{title} (nothing ranked)"), title_justify="left")
    shown.add_column("model", overflow="fold")
    shown.add_column("n", justify="right")
    digits = {}
    for kind, name in kinds.items():
        column = [row for key, row in cells.items() if key[len(SETUP) :] == kind]
        digits[kind] = names.decimals(max(abs(row.mean) for row in column))
        arrow = "↑" if column[0].direction == "higher" else "↓"
        metric, _, score = name.partition(".")
        shown.add_column(Text(f"{metric}\n{score} {arrow}"), justify="right")
    for setup, name in names.setup_names(rows).items():
        n = max(row.n for key, row in cells.items() if key[: len(SETUP)] == setup)
        line = [Text(name), Text(str(n))]
        for kind in kinds:
            row = cells.get(setup + kind)
            if row is None or row.n == 0:
                line.append(Text("—" if row is None else "undefined"))
                continue
            half = max(row.ci_high - row.mean, row.mean - row.ci_low)
            content = (
                f"{row.mean:.{digits[kind]}f} ±{half:.{digits[kind]}f}" if row.n > 1 else f"{row.mean:.{digits[kind]}f}"
            )
            line.append(Text(content, style="bold" if not row.note and row.rank == 1 else ""))
        shown.add_row(*line)
    return shown
