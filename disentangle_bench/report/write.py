"""Make all tables, figures and pages of a results folder in one call."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.atomic import atomic_path, remove_leftovers, write_text
from disentangle_bench.errors import BenchError, extra, unknown

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.report.citation import Credit
    from disentangle_bench.report.results import Progress, Results
    from disentangle_bench.report.tables.terminal import Headline
    from disentangle_bench.store.runs import Records

FORMATS = ("csv", "md", "tex", "parquet")
"""Formats in which tables can be written. Parquet needs pyarrow, from the extra ``parquet``."""


@dataclass(frozen=True)
class Report:
    """The result of ``write_report``: the files, the leaderboard, and remarks on what was missing, one line each."""

    paths: tuple[Path, ...]
    leaderboard: pd.DataFrame
    notes: tuple[str, ...]
    group_by: str = "dataset"

    def table(self) -> Headline:
        """Return the headline scores, for ``rich.print``."""
        from disentangle_bench.report.tables import terminal

        return terminal.Headline(self.leaderboard, self.group_by)

    def _repr_html_(self) -> str:
        """Return the headline scores as HTML tables, for a notebook."""
        from disentangle_bench.report.tables import notebook

        return notebook.html(self.leaderboard, self.group_by, self.notes)


def write_report(
    out: str | os.PathLike[str],
    *,
    records: Records | None = None,
    metrics: Sequence[str] | None = None,
    figures: bool = True,
    formats: Sequence[str] | None = None,
    group_by: str = "dataset",
    by_version: bool = False,
    columns: Sequence[str] | None = None,
    credit: Credit | None = None,
    html: str | os.PathLike[str] | bool | None = None,
    refresh: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write tables and figures of all finished runs in the results folder ``out`` to that folder, and return a
    ``Report`` of the files written, with the leaderboard.

    ``records`` are the folder's records, if they have been read already; ``progress`` is called with a line of text
    for each part of the work.

    ``formats`` chooses the formats of the tables (by default all that can be written): ``results.csv`` and
    ``results.parquet`` (one row per run and score), ``leaderboard.csv``, ``.md`` and ``.tex``, ``mean_ranks.csv``,
    ``groups.csv`` (scores across the seeds of a model) and ``published.csv`` (our numbers beside those from papers).
    ``CITATION.cff`` is always written; ``figures`` adds ``figures/<dataset>-<protocol>/``; ``html`` adds a
    self-contained page at that path (True: ``report.html`` in ``out``), which reloads every ``refresh`` seconds.
    ``metrics`` names the metrics, single scores or groups in the leaderboard, the figures and the page, by default all.
    The seeds of each model are compared first, by their stored codes, where ``groups.json`` lacks that.
    ``group_by`` says what each table in ``.md`` and ``.tex`` is about: dataset, score or model. ``by_version`` keeps
    runs of different versions of the package apart, which are otherwise pooled. ``columns`` names the scores in
    ``leaderboard.tex``, in order, by default the headline scores. ``credit`` sets the title and authors of the
    citation. Files are replaced whole; the same records give the same bytes.

    Raises ``BenchError`` if ``out`` is missing or is not a results folder, if no run in it is finished, for a metric or
    column that no record has, for an unknown format or grouping, and for parquet without pyarrow.
    """
    out = Path(out)
    table_formats = _formats(formats, group_by)
    say = progress or (lambda line: None)
    say("reading the run records")
    remove_leftovers(out)
    results = _read(out, metrics, say, records, by_version)
    if credit is not None:
        results = dataclasses.replace(results, credit=credit)
    paths = _write_tables(results, out, table_formats, group_by, columns)
    figure_paths: list[Path] = []
    if figures:
        from disentangle_bench.report.figures.drawing import write_figures

        figure_paths, notes = write_figures(results, out / "figures", say)
        results.notes.extend(notes)
        paths += figure_paths
    html = out / "report.html" if html is True else html
    if html:
        from disentangle_bench.report.page.write import write_page

        say(f"the page {html}")
        paths.append(write_page(results, Path(html), figure_paths, refresh))
    return Report(tuple(paths), results.board, tuple(results.notes), group_by)


def _read(
    out: Path, metrics: Sequence[str] | None, say: Progress, records: Records | None, by_version: bool
) -> Results:
    """Compare the seeds of each model where that has not been done; return the folder's results."""
    from disentangle_bench.report.results import read_results
    from disentangle_bench.scoring.groups import write_groups
    from disentangle_bench.store.runs import read_records

    records = read_records(out) if records is None else records
    write_groups(out, records.records, anew=False, say=say)
    return read_results(out, metrics, say, records, by_version)


def _formats(formats: Sequence[str] | None, group_by: str) -> list[str]:
    from disentangle_bench.report.tables.sheet import BY

    if group_by not in BY:
        raise unknown("grouping", group_by, BY)
    arrow = importlib.util.find_spec("pyarrow") is not None
    if formats is None:
        return [name for name in FORMATS if name != "parquet" or arrow]
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    if "parquet" in formats and not arrow:
        raise BenchError(f"results.parquet needs pyarrow: {extra('parquet')}, or leave it out")
    return list(formats)


def _write_tables(
    results: Results, out: Path, formats: Sequence[str], group_by: str, columns: Sequence[str] | None
) -> list[Path]:
    from disentangle_bench.report import citation, leaderboard
    from disentangle_bench.report.tables import latex, markdown
    from disentangle_bench.report.tables.sheet import sheets

    paths = []
    digest = citation.digest(results.csv)
    bibtex = citation.bibtex(results.records, digest, results.credit)
    if "csv" in formats:
        paths += [out / name for name in ("results.csv", "leaderboard.csv", "mean_ranks.csv")]
        write_text(paths[0], results.csv)
        leaderboard.write_csv(results.board, paths[1])
        leaderboard.write_csv(results.means, paths[2])
        for name, table in (("groups.csv", results.groups), ("published.csv", results.comparison)):
            if len(table):
                paths.append(out / name)
                leaderboard.write_csv(table, paths[-1])
            else:
                (out / name).unlink(missing_ok=True)  # of runs that have been removed
    if "parquet" in formats:
        paths.append(out / "results.parquet")
        with atomic_path(paths[-1]) as temporary:
            results.tidy.to_parquet(temporary, index=False, engine="pyarrow")
    if "md" in formats:
        paths.append(out / "leaderboard.md")
        further = [
            part
            for part in (
                markdown.groups(results.groups),
                markdown.published(results.comparison),
                markdown.citation(bibtex),
            )
            if part
        ]
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
        write_text(paths[-1], latex.text(sheets(results.board, group_by), bibtex, columns))
    paths.append(out / "CITATION.cff")
    write_text(paths[-1], citation.cff(results.records, digest, results.credit))
    return paths
