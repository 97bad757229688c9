"""How tables, setups and scores are called in tables and figures: short where that is clear, complete where not."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from disentangle_bench.report.scores import SCORE, SETUP, TABLE

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = (
    "dci.disentanglement",
    "dci.completeness",
    "dci.informativeness",
    "infomec.modularity",
    "infomec.explicitness",
    "infomec.compactness",
    "mse.mse",
    "mse.psnr",
)
"""The scores that come first, in this order; the others follow in alphabetical order."""


def tables(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each dataset x protocol with its title: versions are named where several are present."""
    versions = rows[TABLE].drop_duplicates()
    for key, part in rows.groupby(TABLE, sort=True):
        dataset, dataset_version, protocol, protocol_version = key
        same = versions[(versions["dataset"] == dataset) & (versions["protocol"] == protocol)]
        if len(same) > 1:
            dataset, protocol = f"{dataset} v{dataset_version}", f"{protocol} v{protocol_version}"
        yield f"{dataset}, {protocol}", part


def setup_names(rows: pd.DataFrame) -> dict[tuple, str]:
    """A name for each setup (a tuple of SETUP) in one table: the model's, and what else tells it from the others.

    A model's version stands where two versions are present, what was changed where anything was, the settings' digest
    where two setups would have one name.
    """
    setups = rows[SETUP].drop_duplicates()
    several = setups.groupby("model")["model_version"].nunique() > 1
    names = {}
    for key in sorted(setups.itertuples(index=False, name=None), key=_natural):
        model, version, changed, _ = key
        name = f"{model} v{version}" if several[model] else model
        names[key] = f"{name} ({changed})" if changed else name
    taken = list(names.values())
    return {key: f"{name} [{key[3]}]" if taken.count(name) > 1 else name for key, name in names.items()}


def _natural(setup: tuple) -> tuple:
    """To sort setups by, such that ``beta=10.0`` comes after ``beta=4.0``."""
    model, version, changed, settings = setup
    parts = re.split(r"(\d+(?:\.\d+)?)", changed)
    return (
        model,
        version,
        [(text, 0.0) if place % 2 == 0 else ("", float(text)) for place, text in enumerate(parts)],
        settings,
    )


def rows_of(board: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, their columns as attributes."""
    yield from board.itertuples(index=False)


def cells(board: pd.DataFrame) -> dict[tuple, Any]:
    """The rows of one table of the leaderboard by setup and kind of score (SETUP + SCORE)."""
    return {tuple(getattr(row, name) for name in SETUP + SCORE): row for row in rows_of(board)}


def score_names(rows: pd.DataFrame) -> dict[tuple, str]:
    """A name for each kind of score (a tuple of SCORE) in one table, headline scores first.

    Variant and version stand where one score is there in several.
    """
    kinds = rows[SCORE].drop_duplicates()
    several = kinds["score"].value_counts() > 1
    ordered = sorted(kinds.itertuples(index=False, name=None), key=lambda kind: (_place(kind[1]), *kind))
    return {kind: f"{kind[1]} ({kind[2]}, v{kind[3]})" if several[kind[1]] else kind[1] for kind in ordered}


def _place(score: str) -> int:
    return HEADLINE.index(score) if score in HEADLINE else len(HEADLINE)


def file_name(text: str) -> str:
    """``text`` as a file name: a text that is none already is spelled with ``_`` and gets a digest of its own."""
    safe = re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._")[:80]
    return safe if text and safe == text else f"{safe or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def decimals(largest: float) -> int:
    """How many decimals show three significant digits of a column whose largest absolute value this is."""
    if not largest or not math.isfinite(largest):
        return 3
    return min(max(2 - math.floor(math.log10(min(largest, 0.99) if largest <= 1 else largest)), 0), 6)


def ranges(numbers: Iterable[int]) -> str:
    """``0-2, 5`` for [0, 1, 2, 5]."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def seeds(numbers: Iterable[int]) -> str:
    """``seed 1`` for one, ``seeds 0-2, 5`` for several."""
    several = set(numbers)
    return f"seed{'s' if len(several) > 1 else ''} {ranges(several)}"
