"""Ours beside what papers reported, where dataset and score are the same."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from disentangle_bench.report import labels

if TYPE_CHECKING:
    import pandas as pd

SECOND_HAND = "second-hand transcription"
"""The provenance of numbers that were not read in the paper that measured them. They are marked wherever shown."""

COLUMNS = [
    "protocol",
    "protocol_version",
    "dataset",
    "model",
    "score",
    "variant",
    "metric_version",
    "settings",
    "n",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "note",
    "published_mean",
    "published_std",
    "published_n",
    "difference",
    "second_hand",
    "citation",
    "provenance",
    "remark",
]


def published() -> pd.DataFrame:
    """The numbers from papers that come with the package: dataset, model, metric (our name of the score), mean, std,
    n_seeds, citation, provenance, note. NaN where the source does not say.
    """
    import pandas as pd

    with resources.files("disentangle_bench.report").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in ("mean", "std", "n_seeds")})


def compare(board: pd.DataFrame, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per published number and row of ours of the same dataset, score and model (``COLUMNS``).

    ``board`` is the leaderboard; rows off their protocol are left out. A published model that we have no number of,
    though we have others of this dataset and score, has a row with n = 0. ``difference`` is ours minus theirs.
    ``table`` replaces ``published()``.
    """
    import pandas as pd

    theirs = (published() if table is None else table).rename(
        columns={"metric": "score", "mean": "published_mean", "std": "published_std", "n_seeds": "published_n",
                 "note": "remark"}
    )  # fmt: skip
    ours = board[board["changed"] == ""]
    contest = ["protocol", "protocol_version", "dataset", "score", "variant", "metric_version"]
    places = ours[contest].drop_duplicates().merge(theirs, on=["dataset", "score"])
    found = places.merge(ours.drop(columns="schema"), on=[*contest, "model"], how="left")
    found["n"] = found["n"].fillna(0).astype("int64")
    found["difference"] = found["mean"] - found["published_mean"]
    found["second_hand"] = found["provenance"] == SECOND_HAND
    texts = ["note", "settings"]
    found[texts] = found[texts].fillna("")
    found["rank_of_score"] = found["score"].map(lambda score: (labels.HEADLINE.index(score), "")
                                                if score in labels.HEADLINE else (99, score))  # fmt: skip
    order = [
        "protocol",
        "protocol_version",
        "dataset",
        "rank_of_score",
        "variant",
        "metric_version",
        "model",
        "citation",
    ]
    found = found.sort_values(order, kind="stable").reset_index(drop=True)
    return pd.DataFrame(found[COLUMNS])
