"""Everything that is made from a results folder, in one call."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.atomic import atomic_path, write_text
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.report.scores import one_line, run_row, score_table
from disentangle_bench.store import files, runs
from disentangle_bench.store.runs import Record

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.report.terminal import Headline

Progress = Callable[[str], None]
"""Gets a line before each thing that takes a while."""

FORMATS = ("csv", "md", "tex", "parquet")
"""What tables can be written as. Parquet needs pyarrow, the extra ``parquet``."""


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


@dataclass(frozen=True)
class Report:
    """What ``write_report`` made: the files, the leaderboard, and remarks on what was missing, one line each."""

    paths: tuple[Path, ...]
    leaderboard: pd.DataFrame
    notes: tuple[str, ...]
    group_by: str = "dataset"

    def table(self) -> Headline:
        """The headline scores, for ``rich.print``."""
        from disentangle_bench.report import terminal

        return terminal.Headline(self.leaderboard, self.group_by)


def write_report(
    out: Path,
    *,
    metrics: Sequence[str] | None = None,
    figures: bool = True,
    formats: Sequence[str] | None = None,
    group_by: str = "dataset",
    html: Path | None = None,
    refresh: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Make the tables and figures of all finished runs in the results folder ``out``, in that folder.

    Writes, in the ``formats`` named (all that can be written by default): ``results.csv`` and ``results.parquet`` (one
    row per run and score), ``leaderboard.csv``, ``.md`` and ``.tex``, ``mean_ranks.csv``, ``published.csv`` (ours
    beside numbers from papers), ``CITATION.cff``; with ``figures``, ``figures/<dataset>-<protocol>/``; with ``html``,
    a page of its own at that path, which loads itself again every ``refresh`` seconds if that is given. ``metrics``
    names the metrics, single scores or groups that are in the leaderboard, the figures and the page, all by default;
    ``group_by`` says what there is a table of in ``.md`` and ``.tex`` (``sheets.BY``). Files are replaced whole; the
    same records give the same bytes.

    Raises ``BenchError`` if ``out`` is missing or no results folder, if no run in it is finished, and for a metric
    that no record has, an unknown format or grouping, and parquet without pyarrow.
    """
    out = Path(out)
    chosen = _formats(formats, group_by)
    say = progress or (lambda line: None)
    say("reading the run records")
    results = read_results(out, metrics, say)
    paths = _write_tables(results, out, chosen, group_by)
    drawn: list[Path] = []
    if figures:
        from disentangle_bench.report.figures import write_figures

        drawn, notes = write_figures(results, out / "figures", say)
        results.notes.extend(notes)
        paths += drawn
    if html is not None:
        from disentangle_bench.report.page import write_page

        say(f"the page {html}")
        paths.append(write_page(results, Path(html), drawn, refresh))
    return Report(tuple(paths), results.board, tuple(results.notes), group_by)


def _formats(formats: Sequence[str] | None, group_by: str) -> list[str]:
    from disentangle_bench.report.sheets import BY

    if group_by not in BY:
        raise unknown("grouping", group_by, BY)
    arrow = importlib.util.find_spec("pyarrow") is not None
    if formats is None:
        return [name for name in FORMATS if name != "parquet" or arrow]
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    if "parquet" in formats and not arrow:
        raise BenchError("results.parquet needs pyarrow: pip install 'disentangle-bench[parquet]', or leave it out")
    return list(formats)


def read_results(out: Path, metrics: Sequence[str] | None, say: Progress = lambda line: None) -> Results:
    """Read a results folder and compute all tables; arguments and errors as for ``write_report``."""
    from disentangle_bench.report import leaderboard, published, ranking

    records, failures, unfinished, notes = _load(out)
    scores = score_table(records, metrics)
    if scores.empty:
        raise BenchError(f"none of the {len(records)} finished runs in {str(out)!r} has a score: score them first")
    say(f"tables of {len(records)} runs")
    board = leaderboard.leaderboard(scores)
    means = ranking.mean_ranks(board, scores, leaderboard.SCHEMA)
    tidy = runs.tidy(records)
    text = tidy.to_csv(index=False, lineterminator="\n")
    return Results(records, failures, unfinished, scores, board, means, published.compare(board), tidy, text, notes)


def _write_tables(results: Results, out: Path, formats: Sequence[str], group_by: str) -> list[Path]:
    from disentangle_bench.report import citation, latex, leaderboard, markdown, published
    from disentangle_bench.report.sheets import sheets

    paths = []
    digest = citation.digest(results.csv)
    bibtex = citation.bibtex(results.records, digest)
    if "csv" in formats:
        paths += [out / name for name in ("results.csv", "leaderboard.csv", "mean_ranks.csv")]
        write_text(paths[0], results.csv)
        leaderboard.write_csv(results.board, paths[1])
        leaderboard.write_csv(results.means, paths[2])
        if len(results.comparison):
            paths.append(out / "published.csv")
            leaderboard.write_csv(results.comparison, paths[-1])
    if "parquet" in formats:
        paths.append(out / "results.parquet")
        with atomic_path(paths[-1]) as temporary:
            results.tidy.to_parquet(temporary, index=False, engine="pyarrow")
    if "md" in formats:
        paths.append(out / "leaderboard.md")
        further = [part for part in (published.text(results.comparison), markdown.citation(bibtex)) if part]
        content = markdown.text(
            results.board,
            results.scores,
            results.failures,
            results.unfinished,
            by=group_by,
            means=results.means,
            further=further,
        )
        write_text(paths[-1], content)
    if "tex" in formats:
        paths.append(out / "leaderboard.tex")
        write_text(paths[-1], latex.text(list(sheets(results.board, group_by)), bibtex))
    paths.append(out / "CITATION.cff")
    write_text(paths[-1], citation.cff(results.records, digest))
    return paths


def _load(out: Path) -> tuple[list[Record], list[dict[str, Any]], list[str], list[str]]:
    """Finished runs, failures of runs that are not finished, names of folders with neither, and what cannot be read."""
    notes: list[str] = []
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
