"""The leaderboard's headline scores in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from disentangle_bench.report import names
from disentangle_bench.report.scores import SETUP

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions


class Headline:
    """For ``rich.print``: a table per dataset and protocol, with a row per model and a column per headline score.

    All scores are shown if no headline score is there. A cell is the mean and the larger half of its 95 % interval;
    rank 1 is bold. In a terminal too narrow for that, each metric gets a table of its own.
    """

    def __init__(self, board: pd.DataFrame) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        for title, rows in names.tables(self._board):
            kinds = {kind: name for kind, name in names.score_names(rows).items() if kind[1] in names.HEADLINE}
            kinds = kinds or names.score_names(rows)
            whole = _table(title, rows, kinds)
            if console.measure(whole, options=options.update(max_width=1000)).maximum <= options.max_width:
                yield whole
                continue
            for metric in dict.fromkeys(kind[0] for kind in kinds):
                yield _table(title, rows, {kind: name for kind, name in kinds.items() if kind[0] == metric})


def _table(title: str, rows: pd.DataFrame, kinds: dict[tuple, str]) -> Table:
    cells = names.cells(rows)
    ranked = (rows["note"] == "").any()
    shown = Table(title=Text(title if ranked else f"{title} (nothing ranked)"), title_justify="left")
    shown.add_column("model", overflow="fold")
    shown.add_column("n", justify="right")
    digits = {}
    for kind, name in kinds.items():
        column = [row for key, row in cells.items() if key[len(SETUP) :] == kind]
        digits[kind] = names.decimals(max((abs(row.mean) for row in column if row.n), default=0))
        metric, _, score = name.partition(".")
        arrow = "↑" if column[0].direction == "higher" else "↓"
        shown.add_column(Text(f"{metric}\n{score} {arrow}"), justify="right", overflow="fold")
    for setup, name in names.setup_names(rows).items():
        ours = {kind: cells[setup + kind] for kind in kinds if setup + kind in cells}
        n = max((row.n for row in ours.values()), default=0)
        shown.add_row(Text(name), Text(str(n)), *(_cell(ours.get(kind), digits[kind]) for kind in kinds))
    return shown


def _cell(row: Any, digits: int) -> Text:
    if row is None or row.n == 0:
        return Text("—" if row is None else "undefined")
    half = max(row.ci_high - row.mean, row.mean - row.ci_low)
    interval = f" ±{half:.{digits}f}" if row.n > 1 else ""
    return Text(f"{row.mean:.{digits}f}{interval}", style="bold" if not row.note and row.rank == 1 else "")
