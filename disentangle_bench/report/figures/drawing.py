"""Draw the figures of all tables of a report, several tables at a time in processes of their own."""

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
from disentangle_bench.report.figures.table import Table, draw_table, figures_of, folder_name
from disentangle_bench.report.scores import SETUP, TABLE
from disentangle_bench.store.runs import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.report.results import Results

SERVE = "disentangle_bench.report.figures.drawing:serve"
WORTHWHILE = 12
"""Smallest number of setups in all tables for which it pays to start processes (a second or two each)."""

Drawn = tuple[list[Path], list[str]]
"""The files written for one table, and remarks."""
Progress = Callable[[str], None]


def write_figures(results: Results, folder: Path, say: Progress = lambda line: None) -> Drawn:
    """Draw everything below ``folder``, in a folder per dataset and protocol; large reports use several cores.

    Return the files written (PNG and PDF of each figure, GIF of animations) and remarks on what could not be drawn.
    """
    tables = draw(tables_of(results, folder), say)
    return [path for paths, _ in tables for path in paths], [one_line(note) for _, notes in tables for note in notes]


def tables_of(results: Results, folder: Path) -> list[Table]:
    """Return, for each table of the leaderboard, the data that its figures are made from."""
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
    """Return one figure of the report of ``out`` as a matplotlib object, to be changed and saved.

    ``name`` is the figure's file name without ending ("scores", "qlae-matrices"); ``dataset`` and ``protocol`` choose
    one of several tables; without them the first table that has the figure is taken. Raises ``BenchError`` if there is
    no such figure.
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
    """Return the rows of the dataset and protocol of ``board``, compared by the columns that ``rows`` has."""
    key = board.iloc[0]
    same = [rows[name] == key[name] for name in TABLE if name in rows]
    return rows[np.logical_and.reduce(same)] if len(rows) else rows


def draw(tables: Sequence[Table], say: Progress) -> list[Drawn]:
    """Draw all tables, on all cores if that is worthwhile; return the results in the order of ``tables``."""
    sizes = [len(table.board[SETUP].drop_duplicates()) for table in tables]
    jobs = min(available(), len(tables)) if sum(sizes) >= WORTHWHILE else 1
    if jobs < 2:
        return [draw_table(table, say) for table in tables]
    # Deal out the largest tables first, each to the process that has the least to do.
    shares: list[list[int]] = [[] for _ in range(jobs)]
    for index in sorted(range(len(tables)), key=lambda index: -sizes[index]):
        min(shares, key=lambda share: sum(sizes[one] for one in share)).append(index)
    with ThreadPoolExecutor(jobs) as threads:
        parts = threads.map(lambda share: _draw_elsewhere([tables[i] for i in share], say), shares)
        results = {index: one for share, part in zip(shares, parts, strict=True)
                 for index, one in zip(share, part, strict=True)}  # fmt: skip
    return [results[index] for index in range(len(tables))]


def _draw_elsewhere(tables: list[Table], say: Progress) -> list[Drawn]:
    """Draw these tables in a process of their own, which sends progress and, last, the result."""
    with Process(SERVE, [_packed(table) for table in tables]) as process:
        for message in process:
            if "drawn" in message:
                return [([Path(path) for path in paths], notes) for paths, notes in message["drawn"]]
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


def serve(tables: list[dict[str, Any]], channel: Channel) -> None:
    """Draw tables in a process that ``_draw_elsewhere`` started."""
    results = [draw_table(_unpacked(content), lambda line: channel.send({"progress": line})) for content in tables]
    channel.send({"drawn": [[[str(path) for path in paths], notes] for paths, notes in results]})
