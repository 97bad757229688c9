"""The commands that look after results folders: status, merge, rm, select, reproduce."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.errors import BenchError, one_line

WATCH_SECONDS = 3.0
LISTED = 10
"""Largest number of runs of one state that ``status`` lists without ``--all``."""

_WHICH = opt.options(
    "Which runs",
    opt.option("--models", metavar="NAMES", help="Only these models, comma-separated; may have * and ?."),
    opt.option("--datasets", metavar="NAMES", help="Only these datasets."),
    opt.option("--protocols", metavar="NAMES", help="Only these protocols."),
    opt.option("--failed", is_flag=True, help="Only runs that failed."),
)


def _selection(
    models: str | None, datasets: str | None, protocols: str | None, failed: bool, patterns: tuple[str, ...] = ()
) -> Any:
    """Return the selection of runs that the options of ``_WHICH`` describe."""
    from disentangle_bench.store.status import Selection

    return Selection(patterns, opt.words(models), opt.words(datasets), opt.words(protocols), failed)


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@_WHICH
@opt.options(
    "Output",
    opt.option("--watch", is_flag=True, help="Refresh every few seconds until every run is done or has failed."),
    opt.option("--all", "everything", is_flag=True, help="List every run, finished and missing ones too."),
    opt.option("--json", "as_json", is_flag=True, help="Print JSON."),
)
def status(results: Path, watch: bool, everything: bool, as_json: bool, **which: Any) -> None:
    """Print how far the runs in RESULTS are: done, running (with time left), failed, stopped, missing, damaged."""
    from disentangle_bench.store import status as grid

    while True:
        problems: list[str] = []
        rows = _selection(**which).of(grid.states(results, problems))
        if watch and sys.stdout.isatty():
            click.clear()
        if as_json:
            click.echo(json.dumps(grid.as_json(rows), indent=1))
        else:
            _print_status(rows, everything)
        for problem in problems:
            click.echo(problem, err=True)
        if not watch or not any(row.state in grid.PENDING for row in rows):
            return
        time.sleep(WATCH_SECONDS)


def _print_status(rows: Any, everything: bool) -> None:
    from disentangle_bench.store import status as grid

    for name in () if everything else ("done", "running", "failed", "stopped", "damaged"):
        listed = [row for row in rows if row.state == name and (name != "done" or row.detail)]
        for row in listed[:LISTED]:
            _print_run(row)
        if len(listed) > LISTED:
            click.echo(f"{name:8} {len(listed) - LISTED} more, which --all lists")
    for row in rows if everything else ():
        _print_run(row)
    table = grid.by_model(rows)
    if len(table) > 1:
        lines: list[tuple[str, ...]] = [("dataset", "protocol", "model", *grid.STATES)]
        lines += [(*map(one_line, key), *(str(count or "-") for count in row.values())) for key, row in table.items()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    click.echo(", ".join(f"{count} {name}" for name, count in grid.counts(rows).items()))
    speed = grid.pace(rows)
    if speed.runs_per_hour is not None and speed.seconds_left is not None:
        click.echo(f"{speed.runs_per_hour:.3g} runs per hour, {grid.duration(speed.seconds_left)} left")


def _print_run(row: Any) -> None:
    click.echo(f"{row.state:8} {one_line(row.run_id)}  {row.detail}".rstrip())


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for all runs.")
@_WHICH
def merge(sources: tuple[Path, ...], out: Path, **which: Any) -> None:
    """Copy the runs of several results folders into one. Nothing is overwritten, and no link is followed."""
    from disentangle_bench.store.merge import merge as merge_folders
    from disentangle_bench.store.status import Selection

    selection = _selection(**which)
    merged = merge_folders(sources, out, None if selection == Selection() else selection)
    click.echo(
        f"{len(merged.copied)} runs copied to {click.format_filename(out)}, {len(merged.kept)} were there already"
    )
    if merged.busy:
        click.echo(f"{len(merged.busy)} were left out, because another process is running them", err=True)


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("run_ids", nargs=-1)
@_WHICH
@opt.options("Options", opt.YES)
def rm(results: Path, run_ids: tuple[str, ...], yes: bool, **which: Any) -> None:
    """Remove runs from RESULTS, with all their files: those of RUN_IDS, which may have * and ?, or of the options."""
    from disentangle_bench.store.merge import remove
    from disentangle_bench.store.status import Selection, states

    selection = _selection(**which, patterns=run_ids)
    if selection == Selection():
        raise BenchError("no runs were named: give run ids, such as 'rooms3d-*', --models, --datasets or --failed")
    names = [row.run_id for row in selection.of([row for row in states(results) if row.state != "missing"])]
    if not yes:
        click.confirm(f"Remove {len(names)} runs from {results} with all their files?", abort=True)
    remove(results, names)
    click.echo(f"{len(names)} runs removed")


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@opt.options(
    "Options",
    opt.described(opt.BY, required=True),
    opt.described(opt.SAMPLER, default=None, show_default=False),
    opt.described(opt.SEARCH_SEED, default=None, show_default=False),
)
def select(results: Path, by: str, sampler: str | None, search_seed: int | None) -> None:
    """Select each model's settings among the points of the search in RESULTS, without test images.

    If RESULTS holds several searches, --sampler and --search-seed choose one.
    Writes selected/CRITERION.toml in RESULTS, which dbench run --settings takes for runs with other seeds.
    """
    from disentangle_bench.scoring import selection

    path, selected = selection.select(results, by, sampler, search_seed)
    for one in selected:
        settings = ", ".join(f"{key}={value}" for key, value in one.settings.items()) or "the default"
        click.echo(f"{one.model} on {one.dataset}: point {one.point} of {one.tuned.budget}, {settings}")
    click.echo(f"{by} needs {selection.CRITERIA[by].needs}")
    click.echo(click.format_filename(path))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@opt.options("Where and how", opt.DEVICE, opt.THREADS, opt.COMPILE, opt.DATA_DIR)
def reproduce(run: Path, devices: str, threads: int, compile: bool, data_dir: str | None) -> None:
    """Do the finished run in the folder RUN (results/runs/ID) again, and say which numbers are equal.

    The new run goes to reproduced/ of the results folder; RUN stays as it is. A number is equal to the bit, close
    (within 1 %) or different, and what differs between the two runs, such as versions and the device, is listed. The
    exit status is 1 if a number is different.
    """
    from disentangle_bench.data.files import data_folder
    from disentangle_bench.runner.reproduce import reproduce as run_again
    from disentangle_bench.runner.resources import Resources

    resources = Resources(devices=devices, threads=threads, compile=compile, data=data_folder(data_dir))
    result = run_again(run, resources)
    width = max((len(row.score) for row in result.comparisons), default=0)
    for row in result.comparisons:
        click.echo(f"{row.verdict:9}  {row.score:{width}}  {row.before:.9g} then, {row.after:.9g} now")
    click.echo(result.training)
    for reason in result.reasons:
        click.echo(f"differs: {reason}")
    if not result.reasons:
        click.echo("device, versions and threads are the same")
    click.echo(click.format_filename(result.folder))
    if not result.agrees:
        sys.exit(1)
