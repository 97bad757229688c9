"""Draw the figures of all tables of a report, several at a time in separate processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.cores import available
from disentangle_bench.errors import one_line, unknown
from disentangle_bench.processes import Channel, Process
from disentangle_bench.report import labels
from disentangle_bench.report.figures import style
from disentangle_bench.report.figures.table import Drawn, Table, draw_table, figures_of, folder_name
from disentangle_bench.report.scores import SETUP, TABLE
from disentangle_bench.store.runs import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.report.results import Results

SERVE = "disentangle_bench.report.figures.drawing:serve"
SETUPS_PER_PROCESS = 3
"""Smallest number of setups for which starting one more process (a second or two) pays off."""

Progress = Callable[[str], None]


def write_figures(results: Results, folder: Path, say: Progress = lambda line: None) -> Drawn:
    """Draw everything below ``folder``, in a folder per dataset and protocol; large reports use several cores.

    Return the files written (PNG and PDF of each figure, GIF of animations) and remarks on what could not be drawn.
    """
    drawn = draw(tables_of(results, folder), say)
    return [path for paths, _ in drawn for path in paths], [one_line(note) for _, notes in drawn for note in notes]


def tables_of(results: Results, folder: Path) -> list[Table]:
    """Return the data from which the figures of each table of the leaderboard are drawn."""
    by_name = {record.folder.name: record for record in results.records}
    parts = dict(labels.tables(results.scores))
    return [
        Table(
            title,
            folder / folder_name(title, rows),
            rows,
            parts[title],
            _matching(results.means, rows),
            _matching(results.comparison, rows),
            {name: by_name[name] for name in parts[title]["run_id"].unique()},
        )
        for title, rows in labels.tables(results.board)
    ]


def figure(out: Path, name: str, *, dataset: str | None = None, protocol: str | None = None) -> Figure:
    """Return one figure of the report of ``out`` as a matplotlib object that can be changed and saved.

    ``name`` is the figure's file name without its extension ("scores", "qlae-matrices"). ``dataset`` and ``protocol``
    choose one of several tables; without them, the first table that has the figure is used. Raises ``BenchError`` if
    there is no such figure.
    """
    from disentangle_bench.report.results import read_results

    known = []
    for table in tables_of(read_results(Path(out), None), Path(out) / "figures"):
        row = table.board.iloc[0]
        if (dataset or row["dataset"], protocol or row["protocol"]) != (row["dataset"], row["protocol"]):
            continue
        with style.style():
            for stem, draw_one in figures_of(table):
                known.append(stem)
                drawing = draw_one() if stem == name else None
                if drawing is not None and not isinstance(drawing, list):
                    return drawing
    raise unknown("figure", name, set(known))


def _matching(rows: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the dataset and protocol of ``board``, compared by those columns that ``rows`` has."""
    key = board.iloc[0]
    same = [rows[name] == key[name] for name in TABLE if name in rows]
    return rows[np.logical_and.reduce(same)] if len(rows) else rows


def draw(tables: Sequence[Table], say: Progress) -> list[Drawn]:
    """Draw all tables, on all cores if that is worthwhile; return the results in the order of tables and figures."""
    setups = sum(len(table.board[SETUP].drop_duplicates()) for table in tables)
    processes = min(available(), setups // SETUPS_PER_PROCESS)
    if processes < 2:
        return [figure for table in tables for figure in draw_table(table, say)]
    # Each process draws every n-th figure of every table, so that one large table keeps all of them busy.
    packed = [_packed(table) for table in tables]
    with ThreadPoolExecutor(processes) as threads:
        shares = list(threads.map(lambda first: _draw_elsewhere(packed, (first, processes), say), range(processes)))
    return [
        of_table[index % processes][index]
        for of_table in zip(*shares, strict=True)
        for index in range(len(of_table[0]))
    ]


def _draw_elsewhere(packed: Sequence[dict[str, Any]], share: tuple[int, int], say: Progress) -> list[list[Drawn]]:
    """Draw a share of the figures of these tables in another process, which sends progress and, last, the result."""
    with Process(SERVE, {"tables": packed, "share": share}) as process:
        for message in process:
            if "drawn" in message:
                return [
                    [([Path(path) for path in paths], notes) for paths, notes in of_table]
                    for of_table in message["drawn"]
                ]
            say(message["progress"])
        raise RuntimeError(f"drawing failed ({process.wait()}): standard error says why")


_FRAMES = ("board", "scores", "means", "comparison")


def _packed(table: Table) -> dict[str, Any]:
    """Return a table as JSON values; numbers keep all their digits."""
    frames = {
        name: {column: [str(values.dtype), values.astype(object).where(values.notna(), None).tolist()]
               for column, values in getattr(table, name).items()}
        for name in _FRAMES
    }  # fmt: skip
    records = [[str(record.folder), record.content] for record in table.records.values()]
    return {"title": table.title, "folder": str(table.folder), "records": records, **frames}


def _unpacked(content: dict[str, Any]) -> Table:
    import pandas as pd

    frames = {
        name: pd.DataFrame(
            {column: pd.Series(values, dtype=dtype) for column, (dtype, values) in content[name].items()}
        )
        for name in _FRAMES
    }
    records = {Path(folder).name: Record(Path(folder), record) for folder, record in content["records"]}
    return Table(content["title"], Path(content["folder"]), **frames, records=records)


def serve(task: dict[str, Any], channel: Channel) -> None:
    """Draw a share of the figures of some tables in a process that ``_draw_elsewhere`` started."""
    first, processes = task["share"]
    results = [
        draw_table(_unpacked(content), lambda line: channel.send({"progress": line}), (first, processes))
        for content in task["tables"]
    ]
    channel.send({"drawn": [[[[str(path) for path in paths], notes] for paths, notes in one] for one in results]})
