"""Show the leaderboard as HTML in a notebook: plain tables that take the notebook's own style."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from disentangle_bench.report import labels
from disentangle_bench.report.tables import terminal
from disentangle_bench.report.tables.markdown import cell
from disentangle_bench.report.tables.sheet import ARROWS, Sheet, sheets

if TYPE_CHECKING:
    import pandas as pd


def html(board: pd.DataFrame, by: str = "dataset", notes: Sequence[str] = ()) -> str:
    """Return a table per sheet with the headline scores, followed by the remarks.

    There are as many tables and rows as the terminal shows.
    """
    parts = [_table(sheet) for sheet in islice(sheets(board, by), terminal.MOST_TABLES)]
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes[:10])
        parts.append(f"<details><summary>{len(notes)} remarks</summary><ul>{items}</ul></details>")
    return "".join(parts)


def _table(sheet: Sheet) -> str:
    keys = sheet.headline()
    heads = "".join(
        f"<th>{escape(labels.score_title(sheet.columns[key].name))} {ARROWS[sheet.columns[key].direction]}</th>"
        for key in keys
    )
    lines = []
    for row, name in islice(sheet.rows.items(), terminal.MOST_ROWS):
        line = [f"<th>{escape(labels.setup_title(name))}</th><td>{sheet.seeds[row]}</td>"]
        for key in keys:
            item = sheet.cells.get((row, key))
            text = "—" if item is None else escape(cell(item, sheet.columns[key].decimals))
            best = item is not None and not item.note and item.rank == 1
            line.append(f"<td>{f'<b>{text}</b>' if best else text}</td>")
        lines.append(f"<tr>{''.join(line)}</tr>")
    title = escape(sheet.title if sheet.ranked else f"{sheet.title} (nothing ranked)")
    head = f"<thead><tr><th>{escape(sheet.corner)}</th><th>n</th>{heads}</tr></thead>"
    return f"<table><caption>{title}</caption>{head}<tbody>{''.join(lines)}</tbody></table>"
