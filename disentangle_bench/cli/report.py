"""What ``dbench report`` does with its options."""

from __future__ import annotations

import functools
import sys
import webbrowser
from pathlib import Path

from disentangle_bench.cli.watch import SECONDS, watch
from disentangle_bench.report.write import Report, write_report


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def words(text: str | None) -> list[str] | None:
    """The comma-separated words of an option; None if it was not given or holds none."""
    return [part.strip() for part in (text or "").split(",") if part.strip()] or None


def report(
    results: Path,
    metrics: str | None,
    formats: str | None,
    group_by: str,
    figures: bool,
    html: Path | None,
    show_page: bool,
    keep: bool,
) -> None:
    """Write the report, print the headline table and the files to stdout, and what is missing to stderr.

    ``show_page`` opens the page in a browser, ``keep`` makes everything again as runs come in; both write the page to
    ``report.html`` in ``results`` if ``html`` is None.
    """
    if html is None and (show_page or keep):
        html = results / "report.html"
    make = functools.partial(
        write_report,
        results,
        metrics=words(metrics),
        formats=words(formats),
        group_by=group_by,
        figures=figures,
        html=html,
        refresh=SECONDS if keep else None,
        progress=_complain if sys.stderr.isatty() else None,
    )
    if not keep:
        _print(make())
        if show_page and html is not None:
            webbrowser.open(html.resolve().as_uri())
        return
    opened = not show_page

    def again() -> None:
        nonlocal opened
        written = make()
        print(f"{len(written.leaderboard)} rows of leaderboard.csv, {html}", flush=True)
        if not opened and html is not None:
            webbrowser.open(html.resolve().as_uri())
            opened = True

    watch(results, again, _complain)


def _print(written: Report) -> None:
    from rich.console import Console

    Console().print(written.table())
    for path in written.paths:
        print(path)
    for note in written.notes:
        _complain(note)
