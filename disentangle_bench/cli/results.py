"""The commands that look after results folders: status, merge, rm, score."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.cli.run import print_leaderboard
from disentangle_bench.errors import BenchError

WATCH_SECONDS = 3.0


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Refresh every few seconds until nothing is running.")
@click.option("--all", "everything", is_flag=True, help="List finished and missing runs too.")
def status(results: Path, watch: bool, everything: bool) -> None:
    """Print how far the runs in RESULTS are: done, running (with time left), failed, stopped, missing."""
    from disentangle_bench.store.status import STATES, states

    while True:
        rows = list(states(results))
        if watch and sys.stdout.isatty():
            click.clear()
        for row in rows:
            if everything or row.state in ("running", "failed", "stopped") or row.detail:
                click.echo(f"{row.state:8} {row.run_id}  {row.detail}".rstrip())
        counts = {name: sum(row.state == name for row in rows) for name in STATES}
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
        if not watch or not counts["running"]:
            return
        time.sleep(WATCH_SECONDS)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for all runs.")
def merge(sources: tuple[Path, ...], out: Path) -> None:
    """Copy the runs of several results folders into one. Nothing is overwritten."""
    from disentangle_bench.store.merge import merge as merge_folders

    copied, kept = merge_folders(sources, out)
    click.echo(f"{len(copied)} runs copied to {out}, {len(kept)} were there already")


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("run_ids", nargs=-1, required=True)
@opt.options("Options", opt.YES)
def rm(results: Path, run_ids: tuple[str, ...], yes: bool) -> None:
    """Remove runs from RESULTS, with all their files."""
    from disentangle_bench.store.merge import remove

    if not yes:
        click.confirm(f"Remove {len(run_ids)} runs from {results} with all their files?", abort=True)
    remove(results, run_ids)
    click.echo(f"{len(run_ids)} runs removed")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--metrics", metavar="NAMES", help="Metric names, comma-separated.  [default: dci,infomec; for runs, their own]"
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="Variant of all metrics that have it (NAME) or of one (METRIC=NAME). Repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="JSON file for the scores of an .npz.")
@click.option("--jobs", type=click.IntRange(min=1), help="Concurrent runs of a results folder.  [default: cores]")
def score(target: Path, metrics: str | None, variants: tuple[str, ...], out: Path | None, jobs: int | None) -> None:
    """Score codes without training: an .npz with codes [n, d] and factors [n, k], or all runs of a results folder.

    An .npz may also hold n_train (the number of rows that fit predictors), discrete (whether codes are symbols),
    indices and squared_error. Its scores are printed, and written only to --out. The runs of a folder get new scores
    from their stored codes: their records and results.csv are rewritten, and the leaderboard is printed.
    """
    if target.is_dir():
        if out is not None:
            raise BenchError("--out is for the scores of one .npz; those of a results folder go into its records")
        _score_results(target, metrics, variants, jobs)
    else:
        _score_file(target, metrics, variants, out)


def _score_file(path: Path, metrics: str | None, variants: tuple[str, ...], out: Path | None) -> None:
    from rich.console import Console

    from disentangle_bench.scoring import score as scorer
    from disentangle_bench.store import files

    asked = scorer.choose(metrics or scorer.FILE_METRICS, variants)
    if out is not None:
        files.check_target(out)
    scores, content = scorer.score_file(path, asked)
    Console().print(_scores_table(scores))
    for metric, notes in scores.notes.items():
        for name, note in notes.items():
            click.echo(f"{metric}.{name}: {note}")
    if out is not None:
        files.write_json(out, content)
        click.echo(out)


def _score_results(out: Path, metrics: str | None, variants: tuple[str, ...], jobs: int | None) -> None:
    from disentangle_bench.cores import available
    from disentangle_bench.scoring import score as scorer

    records, failed = scorer.score_results(out, metrics, variants, jobs=jobs or available(), progress=_count)
    print_leaderboard(out)
    click.echo(f"{len(records) - len(failed)} runs scored, {len(failed)} could not be")
    for run_id, error in failed.items():
        click.echo(f"not scored: {run_id}: {error}", err=True)
    if failed:
        sys.exit(1)


def _count(done: int, total: int) -> None:
    click.echo(f"[{done}/{total}] runs scored", err=True)


def _scores_table(scores: Any) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("score", "value", "better", "variant", "version"):
        table.add_column(name, no_wrap=True)
    for row in scores.rows:
        better = ("higher" if row["higher_is_better"] else "lower") if row["ranked"] else ""
        value = f"{row['value']:.4g} {row['unit']}".strip()
        table.add_row(f"{row['metric']}.{row['score']}", value, better, row["variant"], str(row["version"]))
    return table
