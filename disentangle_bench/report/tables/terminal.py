"""Print the leaderboard's headline scores in the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from disentangle_bench.report.tables.sheet import ARROWS, Sheet, sheets

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions


MOST_ROWS, MOST_TABLES = 40, 12
"""Largest numbers of rows and tables printed.

Nobody reads more in a terminal, and thousands of cells take a minute to lay out.
"""


class Headline:
    """Tables for ``rich.print``: one per dataset and protocol, with a row per model and a column per headline score.

    All scores are shown if no headline score is present or ``every_score`` is true. A cell is the mean and its 95 %
    interval; rank 1 is bold. If the terminal is too narrow, each metric gets a table of its own. ``by`` is as for
    ``sheets``. If there are many rows or tables, only the first are printed, with a line on how many are left out.
    """

    def __init__(self, board: pd.DataFrame, by: str = "dataset", *, every_score: bool = False) -> None:
        self._board, self._by, self._every = board, by, every_score

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        every = sheets(self._board, self._by)
        for sheet in itertools.islice(every, MOST_TABLES):
            keys = list(sheet.columns) if self._every else sheet.headline()
            whole = _table(sheet, keys)
            if console.measure(whole, options=options.update(max_width=1000)).maximum <= options.max_width:
                yield whole
                continue
            for metric in dict.fromkeys(_metric(sheet.columns[key].name) for key in keys):
                yield _table(sheet, [key for key in keys if _metric(sheet.columns[key].name) == metric])
        if left := sum(1 for _ in every):
            yield Text(f"… and {left} more tables, in leaderboard.csv")


def _metric(name: str) -> str:
    return name.partition(".")[0]


def _table(sheet: Sheet, keys: list[tuple]) -> Table:
    left = len(sheet.rows) - MOST_ROWS
    table = Table(
        title=Text(sheet.title if sheet.ranked else f"{sheet.title} (nothing ranked)"),
        title_justify="left",
        caption=Text(f"… and {left} more, in leaderboard.csv") if left > 0 else None,
    )
    table.add_column(sheet.corner, overflow="fold")
    table.add_column("n", justify="right")
    for key in keys:
        first, _, second = sheet.columns[key].name.partition(".")
        head = f"{first}\n{second} {ARROWS[sheet.columns[key].direction]}".rstrip()
        table.add_column(Text(head), justify="right", overflow="fold")
    for row, name in itertools.islice(sheet.rows.items(), MOST_ROWS):
        cells = {key: sheet.cells.get((row, key)) for key in keys}
        n = max((cell.n for cell in cells.values() if cell is not None), default=0)
        table.add_row(
            Text(name), Text(str(n)), *(_cell(cell, sheet.columns[key].decimals) for key, cell in cells.items())
        )
    return table


def _cell(row: Any, digits: int) -> Text:
    if row is None or row.n == 0:
        return Text("—" if row is None else "undefined")
    interval = f"\n[{row.ci_low:.{digits}f}, {row.ci_high:.{digits}f}]" if row.n > 1 else ""
    return Text(f"{row.mean:.{digits}f}{interval}", style="bold" if not row.note and row.rank == 1 else "")
