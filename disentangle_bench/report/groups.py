"""Read scores of groups of runs that differ only in their seed, such as consistency, from ``groups.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.report.scores import SCORE, SETUP, TABLE
from disentangle_bench.scoring.groups import GROUPS
from disentangle_bench.store.files import read_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [*TABLE, *SETUP, *SCORE, "direction", "unit", "n", "value", "chance"]
"""The columns of ``groups.csv``; ``n`` is the number of runs compared."""


def read_groups(out: Path, scores: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return one row per group and score (``COLUMNS``), for the runs that are in ``scores``.

    If the file is damaged, a line about it is added to ``notes``. A group is left out if any of its runs is gone.
    """
    import pandas as pd

    runs = scores.drop_duplicates("run_id").set_index("run_id")[TABLE + SETUP]
    rows: list[list[Any]] = []
    try:
        groups = read_json(out / GROUPS).get("groups", []) if (out / GROUPS).is_file() else []
        for group in groups:
            known = [tuple(runs.loc[name]) for name in group["runs"] if name in runs.index]
            if len(known) == len(group["runs"]) and len(set(known)) == 1:
                rows += [[*known[0], *_score(score), len(known), *_numbers(score)] for score in group["scores"]]
    except (BenchError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        notes.append(one_line(f"{GROUPS} cannot be read ({type(error).__name__}: {error}): run dbench score again"))
        rows = []
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64", "chance": "float64"})
    return table.sort_values([*TABLE, *SCORE, *SETUP], kind="stable").reset_index(drop=True)


def _score(score: dict[str, Any]) -> list[Any]:
    metric = one_line(score["metric"])
    direction = ("higher" if score["higher_is_better"] else "lower") if score.get("ranked", True) else "none"
    name = one_line(f"{metric}.{score['score']}")
    return [
        metric,
        name,
        one_line(score["variant"]),
        int(score["version"]),
        direction,
        one_line(score.get("unit") or ""),
    ]


def _numbers(score: dict[str, Any]) -> list[float]:
    return [float("nan") if score.get(key) is None else float(score[key]) for key in ("value", "chance")]
