"""Compare our numbers with those in papers, where the dataset and score are the same."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from disentangle_bench.report import labels

if TYPE_CHECKING:
    import pandas as pd

SECOND_HAND = "second-hand transcription"
"""The provenance of numbers that were not read in the paper that measured them. Every table and figure marks them."""

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
    """Return the numbers from papers that ship with the package.

    The columns are dataset, model, metric (our name of the score), mean, std, n_seeds, citation, provenance and note.
    A number is NaN where the source does not give it.
    """
    import pandas as pd

    with resources.files("disentangle_bench.report").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in ("mean", "std", "n_seeds")})


def compare(board: pd.DataFrame, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row (``COLUMNS``) for each published number and each of our rows with its dataset, score and model.

    ``board`` is the leaderboard; rows off their protocol are left out. If we have numbers for a dataset and score but
    none for a published model, that model gets a row with n = 0. ``difference`` is ours minus theirs. ``table``
    replaces ``published()``.
    """
    import pandas as pd

    theirs = (published() if table is None else table).rename(
        columns={"metric": "score", "mean": "published_mean", "std": "published_std", "n_seeds": "published_n",
                 "note": "remark"}
    )  # fmt: skip
    ours = board[board["changed"] == ""]
    contest = ["protocol", "protocol_version", "dataset", "score", "variant", "metric_version"]
    pairs = ours[contest].drop_duplicates().merge(theirs, on=["dataset", "score"])
    rows = pairs.merge(ours.drop(columns="schema"), on=[*contest, "model"], how="left")
    rows["n"] = rows["n"].fillna(0).astype("int64")
    rows["difference"] = rows["mean"] - rows["published_mean"]
    rows["second_hand"] = rows["provenance"] == SECOND_HAND
    texts = ["note", "settings"]
    rows[texts] = rows[texts].fillna("")
    rows["place"] = rows["score"].map(labels.headline_place)
    order = [
        "protocol",
        "protocol_version",
        "dataset",
        "place",
        "score",
        "variant",
        "metric_version",
        "model",
        "citation",
    ]
    rows = rows.sort_values(order, kind="stable").reset_index(drop=True)
    return pd.DataFrame(rows[COLUMNS])
