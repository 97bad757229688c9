"""The leaderboard: one row per dataset, protocol, model and score, with its statistics over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from disentangle_bench.atomic import atomic_path
from disentangle_bench.report import ranking, statistics
from disentangle_bench.report.scores import GROUP, SCORE, TABLE
from disentangle_bench.spec import EXTERNAL
from disentangle_bench.store.files import safe_cells

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
"""Version of ``leaderboard.csv``, bumped by any change to its columns or their meaning (docs/leaderboard_csv.md)."""

DTYPES = {
    "schema": "int64",
    "dataset": "str",
    "dataset_version": "int64",
    "protocol": "str",
    "protocol_version": "int64",
    "changed": "str",
    "settings": "str",
    "model": "str",
    "model_version": "int64",
    "metric": "str",
    "score": "str",
    "variant": "str",
    "metric_version": "int64",
    "direction": "str",
    "unit": "str",
    "n": "int64",
    "undefined": "int64",
    "mean": "float64",
    "std": "float64",
    "median": "float64",
    "iqm": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "chance": "float64",
    "rank": "Int64",
    "rank_low": "Int64",
    "rank_high": "Int64",
    "note": "str",
    "package_versions": "str",
}
"""The columns of ``leaderboard.csv``, in order, with the dtypes to read them with."""

FEW = f"n<{statistics.FEWEST}"

NOTES = {
    "unranked-protocol": "Nothing here is ranked: this protocol ranks no models",
    "descriptive": "Scores that describe the codes and are no contest, so not ranked",
    "off-protocol": "Off-protocol (settings changed by hand), so not ranked",
    EXTERNAL: "Codes from elsewhere, trained nobody knows how, so not ranked",
    "undefined": "Not defined for every seed, so not ranked",
    FEW: f"Fewer than {statistics.FEWEST} seeds, so not ranked",
}
"""Why a row has no rank, by the word for it in ``note``. Several words are separated by spaces."""

_STATISTICS = ["mean", "std", "median", "iqm", "ci_low", "ci_high"]
DIGITS = 9
"""Significant digits in the CSV; any further digits would depend on the machine's order of summation."""


def leaderboard(scores: pd.DataFrame, resamples: ranking.Resamples | None = None) -> pd.DataFrame:
    """Return the rows of ``leaderboard.csv``, computed from those of ``score_table``.

    The rows are sorted by dataset, protocol, score, rank, then name. ``resamples`` are those of ``scores``, if they
    are needed elsewhere too.
    """
    board = _describe(scores)
    for name in _STATISTICS:
        board[name] = np.nan
    _summarise(board, scores)
    flags = {
        # A record off its protocol says that it is not ranked, under any protocol.
        "unranked-protocol": ~board["ranked"] & ~board["off_protocol"],
        "descriptive": board["descriptive"],
        "off-protocol": board["off_protocol"] & (board["changed"] != EXTERNAL),
        EXTERNAL: board["changed"] == EXTERNAL,
        "undefined": board["undefined"] > 0,
        FEW: board["n"] < statistics.FEWEST,
    }
    board["note"] = ""
    for word, flag in flags.items():
        board.loc[flag, "note"] += f" {word}"
    board["note"] = board["note"].str.strip()
    board["direction"] = np.where(board["higher_is_better"], "higher", "lower")
    board.loc[board["descriptive"], "direction"] = "none"
    ranking.add_ranks(board, resamples or ranking.Resamples(scores))
    board["schema"] = SCHEMA
    order = [*TABLE, *SCORE, "rank", "model", "model_version", "changed", "settings"]
    board = board.sort_values(order, na_position="last", kind="stable").reset_index(drop=True)
    return board[list(DTYPES)].astype(DTYPES)


def _describe(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group without the statistics, sorted by GROUP: ``_summarise`` relies on that order."""
    grouped = scores.assign(missing=scores["value"].isna()).groupby(GROUP, sort=True)
    board = grouped.agg(
        runs=("value", "size"),
        n=("value", "count"),
        undefined=("missing", "sum"),
        higher_is_better=("higher_is_better", "first"),
        descriptive=("descriptive", "any"),
        unit=("unit", "first"),
        chance=("chance", "mean"),
        ranked=("ranked", "all"),
        off_protocol=("off_protocol", "any"),
        package_versions=("package_version", lambda versions: " ".join(sorted(set(versions)))),
    )
    return board.reset_index()


def _summarise(board: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Fill in the statistics of ``board``, handling all groups of one size together."""
    number = scores.groupby(GROUP, sort=True).ngroup()
    defined = scores["value"].notna()
    values = scores["value"][defined].to_numpy()[np.argsort(number[defined].to_numpy(), kind="stable")]
    sizes = board["n"].to_numpy()
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for n in np.unique(sizes[sizes > 0]):
        groups = np.flatnonzero(sizes == n)
        stacked = np.sort(values[starts[groups][:, None] + np.arange(n)], axis=1)
        low, high = statistics.interval(stacked)
        columns = [
            statistics.mean(stacked),
            statistics.std(stacked),
            np.median(stacked, axis=1),
            statistics.iqm(stacked),
            low,
            high,
        ]
        for name, column in zip(_STATISTICS, columns, strict=True):
            board.loc[groups, name] = column


def write_csv(board: pd.DataFrame, target: Path) -> None:
    """Write the leaderboard, or another table of the report, as a CSV file.

    The file uses UTF-8, commas, LF, nine significant digits, and an empty cell for a missing value. Text that a
    spreadsheet would take for a formula is prefixed with an apostrophe.
    """
    safe = safe_cells(board)
    with atomic_path(target) as temporary:
        safe.to_csv(temporary, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


def read_csv(path: Path) -> pd.DataFrame:
    """Read a ``leaderboard.csv`` with its documented dtypes; an empty string stays a string and does not become NaN."""
    import pandas as pd

    missing = {name: [""] for name, dtype in DTYPES.items() if dtype != "str"}
    return pd.read_csv(path, dtype=DTYPES, keep_default_na=False, na_values=missing)
