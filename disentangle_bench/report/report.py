"""Everything that is made from a results folder, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench import store
from disentangle_bench.atomic import atomic_path, write_text
from disentangle_bench.errors import BenchError
from disentangle_bench.report.scores import one_line, score_table

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.report.terminal import Headline
    from disentangle_bench.store import Record

Progress = Callable[[str], None]
"""Gets a line before each thing that takes a while."""


@dataclass(frozen=True)
class Report:
    """What ``write_report`` made: the files, the leaderboard, and remarks on what was missing, one line each."""

    paths: tuple[Path, ...]
    leaderboard: pd.DataFrame
    notes: tuple[str, ...]

    def table(self) -> Headline:
        """The headline scores, for ``rich.print``."""
        from disentangle_bench.report import terminal

        return terminal.Headline(self.leaderboard)


def write_report(
    out: Path, *, metrics: Sequence[str] | None = None, figures: bool = True, progress: Progress | None = None
) -> Report:
    """Make the tables and figures of all finished runs in the results folder ``out``, in that folder.

    Writes ``results.csv`` (one row per run and score), ``leaderboard.csv``, ``leaderboard.md`` and, with ``figures``,
    ``figures/<dataset>-<protocol>/``. ``metrics`` names the metrics whose scores are in the leaderboard and the
    figures, all by default. Files are replaced whole; the same records give the same bytes.

    Raises ``BenchError`` if ``out`` is missing or no results folder, if no run in it is finished, and for a metric
    that no record has.
    """
    from disentangle_bench.report import leaderboard, markdown

    say = progress or (lambda line: None)
    say("reading the run records")
    records, failures, unfinished = _load(Path(out))
    scores = score_table(records, metrics)
    if scores.empty:
        raise BenchError(f"none of the {len(records)} finished runs in {str(out)!r} has a score: score them first")
    say(f"tables of {len(records)} runs")
    board = leaderboard.leaderboard(scores)
    paths = [out / "results.csv", out / "leaderboard.csv", out / "leaderboard.md"]
    with atomic_path(paths[0]) as temporary:
        store.tidy(records).to_csv(temporary, index=False, lineterminator="\n")
    leaderboard.write_csv(board, paths[1])
    write_text(paths[2], markdown.text(board, scores, failures, unfinished))
    notes: list[str] = []
    if figures:
        from disentangle_bench.report.figures import write_figures

        drawn, notes = write_figures(records, scores, board, out / "figures", say)
        paths += drawn
    return Report(tuple(paths), board, tuple(notes))


def _load(out: Path) -> tuple[list[Record], list[dict[str, Any]], list[str]]:
    """Finished runs, failures of runs that are not finished, and names of folders with neither."""
    records = store.load_records(out)
    finished = {record.folder.name for record in records}
    failures = [item for item in store.load_failures(out) if item.get("run_id") not in finished]
    failed = {path.parent.name for path in (out / "runs").glob(f"*/{store.FAILED}")}
    folders = {path.name for path in (out / "runs").iterdir() if path.is_dir() and not path.name.startswith(".")}
    unfinished = sorted(folders - finished - failed)
    if not records:
        first = f" (the first failed with: {one_line(failures[0].get('error'))})" if failures else ""
        raise BenchError(
            f"no run in {str(out)!r} is finished yet: {len(failures)} failed{first}, {len(unfinished)} unfinished. "
            "Run the same dbench run command again; it goes on where it stopped"
        )
    return records, failures, unfinished
