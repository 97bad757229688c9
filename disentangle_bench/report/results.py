"""A results folder read once: its runs, what is missing, and the tables computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError
from disentangle_bench.report import leaderboard, published, ranking
from disentangle_bench.report.scores import one_line, run_row, score_table
from disentangle_bench.store import files, runs
from disentangle_bench.store.runs import Record

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str], None]
"""Progress callback: gets a line before each step that takes a while."""


@dataclass(frozen=True)
class Results:
    """What lies in a results folder, and what was computed from it."""

    records: list[Record]
    failures: list[dict[str, Any]]
    unfinished: list[str]
    scores: pd.DataFrame
    board: pd.DataFrame
    means: pd.DataFrame
    comparison: pd.DataFrame
    tidy: pd.DataFrame
    csv: str
    notes: list[str] = field(default_factory=list)


def read_results(
    out: Path,
    metrics: Sequence[str] | None,
    say: Progress = lambda line: None,
    loaded: runs.Records | None = None,
) -> Results:
    """Read a results folder and compute all tables; arguments and errors as for ``write_report``.

    ``loaded`` are the folder's records where they have been read already.
    """
    records, failures, unfinished, notes = _load(out, loaded)
    scores = score_table(records, metrics)
    if scores.empty:
        raise BenchError(f"none of the {len(records)} finished runs in {str(out)!r} has a score: score them first")
    say(f"tables of {len(records)} runs")
    board = leaderboard.leaderboard(scores)
    means = ranking.mean_ranks(board, scores, leaderboard.SCHEMA)
    tidy = runs.tidy(records)
    text = tidy.to_csv(index=False, lineterminator="\n")
    return Results(records, failures, unfinished, scores, board, means, published.compare(board), tidy, text, notes)


def _load(out: Path, loaded: runs.Records | None) -> tuple[list[Record], list[dict[str, Any]], list[str], list[str]]:
    """Finished runs, failures of runs that are not finished, names of folders with neither, and what cannot be read."""
    notes: list[str] = []
    if loaded is not None:
        records = loaded.records
        notes += [one_line(f"left out: {problem}") for problem in loaded.problems.values()]
    else:
        records = [
            Record(path.parent, {"package": {"version": ""}} | content)
            for path, content in _contents(out, runs.RECORD, notes)
        ]
    usable = [record for record in records if _is_usable(record, notes)]
    read = {record.folder.name for record in usable}
    failures = [item for path, item in _contents(out, runs.FAILED, notes) if path.parent.name not in read]
    failed = {path.parent.name for path in (out / "runs").glob(f"*/{runs.FAILED}")}
    finished = {path.parent.name for path in (out / "runs").glob(f"*/{runs.RECORD}")}
    folders = {path.name for path in (out / "runs").iterdir() if path.is_dir() and not path.name.startswith(".")}
    unfinished = sorted(folders - finished - failed)
    if not usable:
        first = f" (the first failed with: {one_line(failures[0].get('error'))})" if failures else ""
        first += f" ({notes[0]})" if notes else ""
        raise BenchError(
            f"no run in {str(out)!r} is finished yet: {len(failures)} failed{first}, {len(unfinished)} unfinished. "
            "Run the same dbench run command again; it goes on where it stopped"
        )
    return usable, failures, unfinished, notes


def _check_folder(out: Path) -> None:
    if not out.is_dir():
        raise BenchError(f"there is no results folder {str(out)!r}: give the folder that dbench run --out wrote to")
    if not (out / "runs").is_dir():
        raise BenchError(f"{str(out)!r} is not a results folder (no 'runs' in it): give what dbench run --out wrote to")


def _contents(out: Path, name: str, notes: list[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each run's file of this name and what it says; damaged and foreign ones are noted and left out."""
    _check_folder(out)
    for path in sorted((out / "runs").glob(f"*/{name}")):
        try:
            yield path, files.read_json(path)
        except BenchError as error:
            notes.append(one_line(f"left out: {error}"))


def _is_usable(record: Record, notes: list[str]) -> bool:
    """Whether a record says what this version needs; one of an early version, or edited by hand, may not."""
    try:
        run_row(record)
        _ = record.content["package"]["version"]
        for score in record.scores:
            float(score["value"])
            _ = score["metric"], score["score"], score["variant"], score["version"], score["higher_is_better"]
        return True
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        notes.append(one_line(f"left out: {record.folder.name}/{runs.RECORD} ({type(error).__name__}: {reason})"))
        return False
