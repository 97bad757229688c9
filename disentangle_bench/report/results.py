"""Read a results folder once: its runs, what is missing, and the tables computed from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.report import leaderboard, published, ranking
from disentangle_bench.report.citation import SUITE, Credit
from disentangle_bench.report.groups import read_groups
from disentangle_bench.report.scores import score_table
from disentangle_bench.store import files, runs
from disentangle_bench.store.runs import Record

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str], None]
"""Progress callback: called with a line of text before each step that takes a while."""


@dataclass(frozen=True)
class Results:
    """The content of a results folder, and the tables computed from it."""

    records: list[Record]
    failures: list[dict[str, Any]]
    unfinished: list[str]
    scores: pd.DataFrame
    board: pd.DataFrame
    means: pd.DataFrame
    comparison: pd.DataFrame
    tidy: pd.DataFrame
    csv: str
    groups: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    by_version: bool = False
    credit: Credit = SUITE


def read_results(
    out: Path,
    metrics: Sequence[str] | None,
    say: Progress = lambda line: None,
    loaded: runs.Records | None = None,
    by_version: bool = False,
) -> Results:
    """Read a results folder and compute all tables. Arguments and errors are those of ``write_report``.

    ``loaded`` holds the folder's records if they have been read already.
    """
    records, failures, unfinished, notes = _load(out, loaded)
    scores = score_table(records, metrics, by_version=by_version)
    if scores.empty:
        raise BenchError(f"none of the {len(records)} finished runs in {str(out)!r} has a score: score them first")
    say(f"tables of {len(records)} runs")
    resamples = ranking.Resamples(scores)
    board = leaderboard.leaderboard(scores, resamples)
    means = ranking.mean_ranks(board, resamples, leaderboard.SCHEMA)
    tidy = runs.tidy(records)
    text = files.safe_cells(tidy).to_csv(index=False, lineterminator="\n")
    comparison = published.compare(board)
    groups = read_groups(out, scores, notes)
    return Results(
        records, failures, unfinished, scores, board, means, comparison, tidy, text, groups, notes, by_version
    )


def _load(out: Path, loaded: runs.Records | None) -> tuple[list[Record], list[dict[str, Any]], list[str], list[str]]:
    """Return finished runs, failures, names of unfinished folders, and a line on each unusable record."""
    read = runs.read_records(out) if loaded is None else loaded
    notes = [one_line(f"left out: {problem}") for problem in read.problems.values()]
    known = read.names | read.problems.keys()
    folders = [folder for folder in runs.run_folders(out) if folder.name not in known]
    failed = [folder for folder in folders if os.path.lexists(folder / runs.FAILED)]
    failures = [_failure(folder) for folder in failed]
    unfinished = sorted({folder.name for folder in folders} - {folder.name for folder in failed})
    if not read.records:
        first = f" (the first failed with: {one_line(failures[0]['error'])})" if failures else ""
        first += f" ({notes[0]})" if notes else ""
        raise BenchError(
            f"no run in {str(out)!r} is finished yet: {len(failures)} failed{first}, {len(unfinished)} unfinished. "
            "Run the same dbench run command again; it resumes unfinished runs"
        )
    return read.records, failures, unfinished, notes


def _failure(folder: Path) -> dict[str, Any]:
    """Return the texts of ``failed.json``, and the model, dataset, protocol and seed where it names them."""
    try:
        spec = files.read_json(folder / runs.FAILED).get("spec")
    except (OSError, BenchError):
        spec = None
    known = {key: spec.get(key) for key in ("model", "dataset", "protocol", "seed")} if isinstance(spec, dict) else {}
    known |= {"dataset": str(known["dataset"]).rpartition("/")[2]} if known else {}
    return known | runs.read_failure(folder)
