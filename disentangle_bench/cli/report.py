"""The command report, which can also keep the report of a running grid up to date."""

from __future__ import annotations

import functools
import time
import webbrowser
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.report import Report

SECONDS = 15
"""Shortest time in seconds between two looks at the folder, and between two reloads of the page in the browser."""


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--metrics", metavar="NAMES", help="Metrics, groups or single scores, comma-separated.  [default: all there are]"
)
@click.option("--format", "formats", metavar="NAMES", help="Table formats: csv, md, tex, parquet.  [default: all]")
@click.option("--group-by", default="dataset", show_default=True, help="Make one table per dataset, score or model.")
@click.option("--by-version", is_flag=True, help="Do not pool runs that different package versions made.")
@click.option("--columns", metavar="NAMES", help="Scores in leaderboard.tex, in order.  [default: headline]")
@click.option("--title", default="", help="Title in CITATION.cff and the BibTeX entry.")
@click.option("--author", "authors", multiple=True, help='Author there, as "Surname, Name"; may be repeated.')
@click.option("--no-figures", is_flag=True, help="Draw no figures.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page to this file.")
@click.option(
    "--open", "show_page", is_flag=True, help="Write the page (RESULTS/report.html) and open it in a browser."
)
@click.option("--watch", "keep", is_flag=True, help="Write all of it again after each finished run, until Ctrl-C.")
def report(
    results: Path,
    metrics: str | None,
    formats: str | None,
    group_by: str,
    by_version: bool,
    columns: str | None,
    title: str,
    authors: tuple[str, ...],
    no_figures: bool,
    html: Path | None,
    show_page: bool,
    keep: bool,
) -> None:
    """Write leaderboards, figures and a page from the runs in RESULTS (the folder results by default)."""
    from rich.console import Console
    from rich.text import Text

    from disentangle_bench.report import write_report
    from disentangle_bench.report.citation import Credit

    if html is None and (show_page or keep):
        html = results / "report.html"
    make = functools.partial(
        write_report,
        results,
        metrics=_names(metrics),
        formats=_names(formats),
        group_by=group_by,
        by_version=by_version,
        figures=not no_figures,
        columns=_names(columns),
        credit=Credit(title, authors),
        html=html,
        refresh=SECONDS if keep else None,
    )
    page = html if show_page else None
    if not keep:
        with Console(stderr=True).status("") as status:
            written = make(progress=lambda line: status.update(Text(line)))
        _print(written)
        _open(page)
        return

    def again() -> None:
        nonlocal page
        written = make()
        click.echo(f"{len(written.leaderboard)} rows of leaderboard.csv, {html}")
        _open(page)
        page = None

    watch(results, again, _complain)


def _names(text: str | None) -> list[str] | None:
    """Return the comma-separated words of an option; None if it was not given or holds none."""
    return [part.strip() for part in (text or "").split(",") if part.strip()] or None


def _complain(line: str) -> None:
    click.echo(line, err=True)


def _open(page: Path | None) -> None:
    if page is not None:
        webbrowser.open(page.resolve().as_uri())


def _print(written: Report) -> None:
    """Print remarks to stderr, and to stdout the files, a line per folder of figures, and the headline scores."""
    from rich.console import Console

    for note in written.notes:
        _complain(note)
    figures = Counter(path.parent for path in written.paths if path.suffix in (".png", ".pdf", ".gif"))
    for path in written.paths:
        if path.parent not in figures:
            click.echo(path)
    for folder, count in figures.items():
        click.echo(f"{folder} ({count} figure files)")
    Console().print(written.table())


def watch(
    out: Path, make: Callable[[], object], say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Call ``make`` now and whenever a run of the results folder ``out`` has finished or failed, until interrupted.

    While no run has finished, ``say`` gets one line about that. Two looks at the folder are at least ``SECONDS`` apart;
    after a slow ``make``, so far apart that it takes at most a fifth of the time.
    """
    seen: object = None
    waiting = False
    while True:
        began = time.monotonic()
        state = _state(out)
        if state != seen:
            try:
                make()
                seen, waiting = state, False
            except BenchError as error:
                if any((out / "runs").glob("*/record.json")):
                    raise
                if not waiting:
                    say(f"waiting: {error}")
                waiting = True
        sleep(max(SECONDS, 4 * (time.monotonic() - began)))


def _state(out: Path) -> frozenset[tuple[str, int]]:
    """Return each record and failure in the folder with its modification time."""
    files = set()
    for name in ("record.json", "failed.json"):
        for path in (out / "runs").glob(f"*/{name}"):
            try:
                files.add((str(path), path.stat().st_mtime_ns))
            except OSError:  # removed in between: a failed run that is tried again
                continue
    return frozenset(files)
