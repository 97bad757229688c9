"""Ours beside what papers reported, where dataset and score are the same."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from disentangle_bench.report import names
from disentangle_bench.report.markdown import cell, escape

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
    found["rank_of_score"] = found["score"].map(lambda score: (names.HEADLINE.index(score), "")
                                                if score in names.HEADLINE else (99, score))  # fmt: skip
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


def text(comparison: pd.DataFrame) -> str:
    """The section of ``leaderboard.md``; empty if nothing is to be compared."""
    if comparison.empty:
        return ""
    parts = [_INTRODUCTION]
    for (protocol, dataset), rows in comparison.groupby(["protocol", "dataset"], sort=False):
        parts.append(f"### {escape(dataset)}, {escape(protocol)}\n\n| score | model | ours | published | source |\n"
                     "| --- | --- | --- | --- | --- |\n")  # fmt: skip
        for row in names.rows_of(rows):
            ours = f"{cell(row, 3)} (n={row.n})" if row.n else "—"
            parts[-1] += f"| {escape(row.score)} | {escape(row.model)} | {ours} | {theirs(row)} | {_source(row)} |\n"
    return "\n".join(parts)


_INTRODUCTION = """## Against published numbers

Protocols, architectures, tuning and metric code differ between papers and from ours: a difference is no error of
either. Published is mean ± the paper's spread and its seeds. † marks numbers that were not read in the paper that
measured them but in one that quotes it, or in its reviews.
"""


def theirs(row: object) -> str:
    """``0.353 ± 0.091 (n=10) †`` of a comparison's row."""
    mean, std, n, second_hand = (
        getattr(row, name) for name in ("published_mean", "published_std", "published_n", "second_hand")
    )
    spread = f" ± {std:.3f}" if std == std else ""
    seeds = f" (n={n:.0f})" if n == n else ""
    return f"{mean:.3f}{spread}{seeds}{' †' if second_hand else ''}"


def _source(row: object) -> str:
    citation, provenance, remark = (escape(getattr(row, name)) for name in ("citation", "provenance", "remark"))
    return f"{citation} ({provenance}{f'; {remark}' if remark else ''})"
