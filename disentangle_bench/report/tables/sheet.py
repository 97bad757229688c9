"""Cut the leaderboard into tables for readers: the rows, columns and cells that every format writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from disentangle_bench.report import labels
from disentangle_bench.report.scores import SCORE, SETUP, TABLE

if TYPE_CHECKING:
    import pandas as pd

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
BY = ("dataset", "score", "model")
"""What a table can be about, each within one protocol."""


@dataclass(frozen=True)
class Column:
    """One column: its name, the scores' unit, the better direction, and the number of decimals shown."""

    name: str
    unit: str
    direction: str
    decimals: int


@dataclass(frozen=True)
class Sheet:
    """One table: names of rows and columns by key, the leaderboard's rows by both keys, and seeds by row.

    ``ranked`` says whether anything in it has a rank.
    """

    title: str
    corner: str
    rows: dict[tuple, str]
    columns: dict[tuple, Column]
    cells: dict[tuple[tuple, tuple], Any]
    seeds: dict[tuple, int]
    ranked: bool

    def headline(self) -> list[tuple]:
        """Return the keys of the columns of headline scores, or of all columns if there are none."""
        keys = [key for key, column in self.columns.items() if column.name.partition(" ")[0] in labels.HEADLINE]
        return keys or list(self.columns)


def sheets(board: pd.DataFrame, by: str = "dataset") -> Iterator[Sheet]:
    """Yield a table per dataset (rows models, columns scores), score (models, datasets) or model (datasets, scores).

    ``by`` is one of ``BY``. Different protocols, and different versions of a protocol, always have separate tables.
    """
    if by == "dataset":
        for title, rows in labels.tables(board):
            yield _sheet(title, "model", rows, SETUP, SCORE, labels.setup_names(rows), labels.score_names(rows))
        return
    for _, part in board.groupby(["protocol", "protocol_version"], sort=True):
        dataset_names = _place_names(part)
        protocol = _protocol_name(board, part)
        if by == "score":
            for kind, name in labels.score_names(part).items():
                rows = part[(part[SCORE] == list(kind)).all(axis=1)]
                yield _sheet(f"{name}, {protocol}", "model", rows, _OVER, TABLE, _over_names(rows), dataset_names)
            continue
        for key, name in _over_names(part).items():
            rows = part[(part[_OVER] == list(key)).all(axis=1)]
            yield _sheet(f"{name}, {protocol}", "dataset", rows, TABLE, SCORE, dataset_names, labels.score_names(rows))


_OVER = ["model", "model_version", "changed"]
"""Columns that name a model across datasets, on each of which it has its own settings."""


def _over_names(rows: pd.DataFrame) -> dict[tuple, str]:
    """Return the names of models across datasets. If several rows would share a cell, ``_sheet`` keeps one of them."""
    return {key[:3]: name for key, name in labels.setup_names(rows.assign(settings="")).items()}


def _place_names(rows: pd.DataFrame) -> dict[tuple, str]:
    datasets = rows[TABLE].drop_duplicates()
    several = datasets.groupby("dataset")["dataset_version"].nunique() > 1
    ordered = sorted(datasets.itertuples(index=False, name=None))
    return {key: f"{key[0]} v{key[1]}" if several[key[0]] else key[0] for key in ordered}


def _protocol_name(board: pd.DataFrame, part: pd.DataFrame) -> str:
    name, version = part[["protocol", "protocol_version"]].iloc[0]
    several = board[board["protocol"] == name]["protocol_version"].nunique() > 1
    return f"{name} v{version}" if several else str(name)


def _sheet(
    title: str,
    corner: str,
    rows: pd.DataFrame,
    down: list[str],
    across: list[str],
    row_names: dict[tuple, str],
    column_names: dict[tuple, str],
) -> Sheet:
    cells: dict[tuple[tuple, tuple], Any] = {}
    for row in labels.rows_of(rows):
        key = tuple(getattr(row, name) for name in down), tuple(getattr(row, name) for name in across)
        # If two settings of a model share a name, the one that is ranked, or has more seeds, stands for both.
        if key not in cells or (row.note == "", row.n) > (cells[key].note == "", cells[key].n):
            cells[key] = row
    present = {key[1] for key in cells}
    columns = {}
    for key, name in column_names.items():
        if key in present:
            column = [row for (_, column_key), row in cells.items() if column_key == key]
            decimals = labels.decimals(max((abs(row.mean) for row in column if row.n), default=0))
            columns[key] = Column(name, column[0].unit, column[0].direction, decimals)
    seeds: dict[tuple, int] = {}
    for (row_key, _), row in cells.items():
        seeds[row_key] = max(seeds.get(row_key, 0), row.n + row.undefined)
    present_rows = {key: name for key, name in row_names.items() if key in seeds}
    return Sheet(title, corner, present_rows, columns, cells, seeds, bool((rows["note"] == "").any()))
