"""Compute ranks with their intervals, and mean ranks over scores and datasets."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.report import statistics
from disentangle_bench.report.scores import GROUP, SCORE, SETUP, TABLE

if TYPE_CHECKING:
    import pandas as pd

PROTOCOL = ["protocol", "protocol_version"]
ENTRANT = ["model", "model_version", "settings"]
"""Columns that name an entrant of a mean rank.

``settings`` is empty for a mean over datasets, since a baseline has its own settings on each.
"""

_SETUP_SIZE = len(TABLE + SETUP)

MEAN_DTYPES = {
    "schema": "int64",
    "protocol": "str",
    "protocol_version": "int64",
    "dataset": "str",
    "dataset_version": "Int64",
    "model": "str",
    "model_version": "int64",
    "settings": "str",
    "contests": "int64",
    "entrants": "int64",
    "mean_rank": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "borda": "float64",
    "place": "Int64",
}
"""The columns of ``mean_ranks.csv``, in order (docs/leaderboard_csv.md)."""


class Resamples:
    """Resampled means of each group of scores. All scores of one setup are drawn from the same seeds."""

    def __init__(self, scores: pd.DataFrame) -> None:
        """Collect the defined values of ``scores``, rows of ``score_table``, by group in the order of their seeds."""
        self._setups: dict[tuple, dict[tuple, np.ndarray]] = {}
        self._means: dict[tuple, np.ndarray] = {}
        defined = scores[scores["value"].notna()].sort_values([*GROUP, "seed"], kind="stable")
        starts = np.flatnonzero(~defined.duplicated(GROUP).to_numpy())
        if len(starts):
            keys = defined.iloc[starts][GROUP].itertuples(index=False, name=None)
            for key, values in zip(keys, np.split(defined["value"].to_numpy(), starts[1:]), strict=True):
                self._setups.setdefault(key[:_SETUP_SIZE], {})[key] = values

    def means(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the resampled means [g, b] of the groups that ``rows``, with the columns GROUP, name."""
        if "own_settings" in rows:
            rows = rows.assign(settings=rows["own_settings"])
        return np.stack([self._group(key) for key in rows[GROUP].itertuples(index=False, name=None)])

    def _group(self, key: tuple) -> np.ndarray:
        if key not in self._means:
            setup = key[:_SETUP_SIZE]
            stream = zlib.crc32(repr(tuple(map(str, setup))).encode())
            groups = self._setups[setup]
            n = len(groups[key])  # scores that are not ranked may have a single seed, which nothing can be drawn from
            keys = [other for other, values in groups.items() if len(values) == n]
            stacked = np.stack([groups[other] for other in keys])
            self._means |= zip(keys, statistics.resampled_means(stacked, stream), strict=True)
        return self._means[key]


def add_ranks(board: pd.DataFrame, resamples: Resamples) -> None:
    """Add the columns ``rank``, ``rank_low`` and ``rank_high`` to ``board``; they stay empty in rows with a note.

    A row is ranked among the rows of the same table and kind of score that were tuned alike: ``changed`` says how they
    were tuned, and is empty for the baselines' settings. The interval holds the ranks in 95 % of the resamples; each
    resample draws the seeds of every model anew (``statistics.resampled_means``).
    """
    for name in ("rank", "rank_low", "rank_high"):
        board[name] = np.nan
    for _, rows in board[board["note"] == ""].groupby([*TABLE, *SCORE, "changed"]):
        higher = rows["direction"].iloc[0] == "higher"
        rank = statistics.ranks(rows["mean"], higher)
        resampled_ranks = statistics.drawn_ranks(resamples.means(rows), higher, "min")
        low, high = statistics.rank_interval(resampled_ranks, rank)
        board.loc[rows.index, ["rank", "rank_low", "rank_high"]] = np.stack([rank, low, high], axis=1)


def mean_ranks(board: pd.DataFrame, resamples: Resamples, schema: int) -> pd.DataFrame:
    """Return the mean rank and Borda points of models over all ranked scores: on each dataset, and over all datasets.

    A contest is one kind of score on one dataset in which at least two models are ranked. Only models with their
    baseline settings that are ranked in every contest take part, so that all means are over the same contests; tuned
    models do not. Ranks are among the participants (ties share the mean of their ranks). Borda points are the
    number of models beaten, summed over contests; a tie counts half. The interval is the middle 95 % of resamples; each
    draws the seeds of a model once for all its scores on a dataset. If a dataset has several versions, only the last
    one counts in the mean over all datasets.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    ranked = board[(board["note"] == "") & (board["changed"] == "")]
    for (protocol, version), part in ranked.groupby(PROTOCOL):
        head = {"schema": schema, "protocol": protocol, "protocol_version": version}
        for (dataset, dataset_version), own in part.groupby(["dataset", "dataset_version"]):
            dataset_key = {"dataset": dataset, "dataset_version": dataset_version}
            rows += [head | dataset_key | row for row in _contest(own, resamples)]
        if part["dataset"].nunique() > 1:
            last = part[part["dataset_version"] == part.groupby("dataset")["dataset_version"].transform("max")]
            every = last.assign(settings=np.where(_is_alone(last), "", last["settings"]), own_settings=last["settings"])
            rows += [head | {"dataset": "", "dataset_version": pd.NA} | row for row in _contest(every, resamples)]
    return pd.DataFrame(rows, columns=list(MEAN_DTYPES)).astype(MEAN_DTYPES)


def _is_alone(rows: pd.DataFrame) -> np.ndarray:
    """Return, for each row, whether its model has a single setting in each table and so is one entrant throughout."""
    most = rows.groupby(["model", "model_version", *TABLE])["settings"].nunique().groupby(level=[0, 1]).max()
    alone = [most[key] == 1 for key in rows[["model", "model_version"]].itertuples(index=False, name=None)]
    return np.array(alone, dtype=bool)


def _contest(rows: pd.DataFrame, resamples: Resamples) -> Iterator[dict[str, Any]]:
    """Yield one row for each model that is ranked in all contests; nothing if there are fewer than two such models."""
    contests = [part for _, part in rows.groupby([*TABLE, *SCORE]) if len(part) > 1]
    if not contests:
        return
    entrants = set.intersection(*(set(part[ENTRANT].itertuples(index=False, name=None)) for part in contests))
    order = sorted(entrants)
    if len(order) < 2:
        return
    means, resampled_ranks = np.zeros(len(order)), np.zeros((len(order), statistics.RANK_RESAMPLES))
    for part in contests:
        part = part.set_index(ENTRANT, drop=False).loc[order]
        higher = part["direction"].iloc[0] == "higher"
        means += statistics.drawn_ranks(part[["mean"]].to_numpy(), higher, "average")[:, 0]
        resampled_ranks += statistics.drawn_ranks(resamples.means(part), higher, "average")
    means, resampled_ranks = means / len(contests), resampled_ranks / len(contests)
    low, high = np.quantile(resampled_ranks, [0.025, 0.975], axis=1)
    low, high = np.minimum(low, means), np.maximum(high, means)
    places = statistics.ranks(means, higher_is_better=False)
    for index in np.lexsort([np.arange(len(order)), means]):
        yield dict(zip(ENTRANT, order[index], strict=True)) | {
            "contests": len(contests),
            "entrants": len(order),
            "mean_rank": means[index],
            "ci_low": low[index],
            "ci_high": high[index],
            "borda": (len(order) - means[index]) * len(contests),
            "place": int(places[index]),
        }
