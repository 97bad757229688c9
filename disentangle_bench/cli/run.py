"""The commands that do and plan runs: run, plan, worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.cores import available
from disentangle_bench.errors import BenchError
from disentangle_bench.runner.executors import EXECUTORS

if TYPE_CHECKING:
    from disentangle_bench.runner.resources import Resources
    from disentangle_bench.spec import RunSpec
    from disentangle_bench.store.runs import Records

UNDONE = 75
"""Exit status if runs are left undone and the same command should be given again: EX_TEMPFAIL of the system."""

LONG_UPDATES = 20_000
"""Smallest number of updates of a grid whose cost is measured and shown before it begins."""

DRY_RUN = opt.option("--dry-run", is_flag=True, help="Print which runs would be done and do none of them.")
FORCE = opt.option("--yes", is_flag=True, help="Start even if the grid takes more than a day on this CPU.")
CHECKPOINT_SECONDS = opt.option(
    "--checkpoint-seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds between two checkpoints of a run.",
)
TENSORBOARD = opt.option(
    "--tensorboard", is_flag=True, help="Also write TensorBoard event files, in the runs' folders."
)
WANDB = opt.option("--wandb", is_flag=True, help="Also log to Weights & Biases; offline unless WANDB_MODE is set.")


@click.command(cls=opt.SectionedCommand)
@opt.WHAT
@opt.options("Adaptive search", opt.SAMPLER, opt.BY)
@opt.options("Where and how", opt.EXECUTOR, *opt.MACHINE, opt.OFFLINE, opt.COMPILE, opt.CAPTURE, *opt.EXECUTOR_SETTINGS)
@opt.options(
    "Results and resuming", opt.OUT, opt.METRICS, DRY_RUN, opt.RERUN, FORCE, CHECKPOINT_SECONDS, TENSORBOARD, WANDB
)  # fmt: skip
def run(
    out: Path,
    dry_run: bool,
    rerun: str,
    yes: bool,
    offline: bool,
    tensorboard: bool,
    wandb: bool,
    executor: str,
    metrics: str | None,
    **given: Any,
) -> None:
    """Train and score every model on every dataset with every seed.

    Finished runs are skipped and interrupted ones resumed. Writes a folder per run into runs/ of the results folder,
    and results.csv with all scores; prints the leaderboard. dbench report writes tables, figures and a page. The exit
    status is 0 if all runs are done, 1 if any failed, and 75 if some were stopped or another process is running them.
    """
    from disentangle_bench.config.grids import expand
    from disentangle_bench.registry import METRICS
    from disentangle_bench.runner import run as runner
    from disentangle_bench.runner import search

    if offline:
        os.environ["DBENCH_OFFLINE"] = "1"  # the environment also reaches the processes of runs
    settings = {name: given.pop(name) for name, row in EXECUTORS.items() if row.settings}
    trackers = tuple(name for name, wanted in (("tensorboard", tensorboard), ("wandb", wandb)) if wanted)
    what = _what(given)
    specs = expand(**what)
    search.check(what, "all" if dry_run else rerun)
    if metrics is not None:
        METRICS.names(metrics)  # an unknown name is an error before anything is trained
    records = runner.read(out)
    todo = runner.select(specs, out, rerun, records)
    if dry_run:
        _print_grid(specs, todo)
        return
    resources = _resources(executor=executor, executor_settings=settings.get(executor, ""), trackers=trackers, **given)
    if executor == "local" and sum(spec.training.updates for spec in todo) >= LONG_UPDATES:
        _show_cost(todo, yes, resources)
    for spec in todo:
        if spec.run_id in records.problems:
            click.echo(f"moved aside and done again: {records.problems[spec.run_id]}", err=True)
    outcome = search.do(what, out, resources, rerun=rerun, records=records)
    records = outcome.records
    if metrics is not None:
        records = _score_more(out, {*outcome.finished, *outcome.skipped}, metrics, records)
    if records.records:
        print_leaderboard(out, records, metrics)
    click.echo(f"{len(outcome.finished)} finished, {len(outcome.skipped)} skipped, {len(outcome.failed)} failed")
    _print_endings("left", outcome.left)
    _print_endings("failed", outcome.failed, out)
    click.echo(f"next: dbench report {click.format_filename(out)}")
    if outcome.failed or outcome.left:
        sys.exit(1 if outcome.failed else UNDONE)


def _score_more(out: Path, run_ids: set[str], metrics: str, records: Records) -> Records:
    """Score runs by metrics that they lack, and return the folder's records."""
    from disentangle_bench.registry import METRICS
    from disentangle_bench.runner import run as runner
    from disentangle_bench.scoring import score as scorer

    names = set(METRICS.names(metrics))
    lacking = {
        record.folder.name
        for record in records.records
        if record.folder.name in run_ids and not names <= {row["metric"] for row in record.scores}
    }
    if not lacking:
        return records
    _, failed = scorer.score_results(out, metrics, (), jobs=available(), progress=print_scored, only=lacking)
    for run_id, error in failed.items():
        click.echo(f"not scored: {run_id}: {error}", err=True)
    return runner.read(out)


def print_scored(done: int, total: int) -> None:
    """Print how many of ``total`` runs have been scored."""
    click.echo(f"[{done}/{total}] runs scored", err=True)


def _print_endings(how: str, reasons: dict[str, str], out: Path | None = None) -> None:
    """Print a line per reason: the run, or the first run and the number of others with the same reason.

    With ``out``, also print where the first run's traceback is.
    """
    from disentangle_bench.store import runs

    same: dict[str, list[str]] = {}
    for run_id, reason in reasons.items():
        same.setdefault(reason, []).append(run_id)
    for reason, run_ids in same.items():
        others = f" and {len(run_ids) - 1} more" if len(run_ids) > 1 else ""
        click.echo(f"{how}: {run_ids[0]}{others}: {reason}", err=True)
    if reasons and out:
        path = out / "runs" / next(iter(reasons)) / runs.FAILED
        click.echo(f"traceback and command: {click.format_filename(path)}", err=True)


def _what(given: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of ``WHAT`` from ``given``, and return them as arguments for ``config.grids.expand``."""
    from disentangle_bench.config.search import asked

    what = {name: given.pop(name) for name in ("models", "datasets", "seeds", "protocol", "grid_file", "settings")}
    precision = given.pop("precision")
    what["changes"] = [*given.pop("changes"), *([f"training.precision={precision}"] if precision else [])]
    how = {name: given.pop(name) for name in ("sampler", "by") if name in given}
    return what | {"search": asked(given.pop("budget"), given.pop("search_seed"), **how)}


def _resources(data_dir: str | None, **given: Any) -> Resources:
    """Return the resources that runs may use according to the other options."""
    from disentangle_bench.data.files import data_folder
    from disentangle_bench.runner.resources import Resources

    return Resources(data=data_folder(data_dir), **given)


def _print_grid(specs: Sequence[RunSpec], todo: Sequence[RunSpec]) -> None:
    """Print a line per run with the values that were changed, then the counts."""
    wanted = {spec.run_id for spec in todo}
    for spec in specs:
        state = "to do  " if spec.run_id in wanted else "skipped"
        click.echo("  ".join([state, spec.run_id, *spec.departures]))
    click.echo(f"{len(wanted)} to do, {len(specs) - len(wanted)} skipped")


def _show_cost(specs: Sequence[RunSpec], yes: bool, resources: Resources) -> None:
    """Measure and print the cost of long work; more than a day of it on a CPU needs ``--yes``."""
    from rich.console import Console

    from disentangle_bench.runner import plan as planning
    from disentangle_bench.runner import run as runner

    measured = runner.estimate(specs, resources)
    Console(stderr=True).print(measured.table())
    if measured.hours > planning.LONG_HOURS and measured.device == "cpu" and not yes:
        raise BenchError(
            f"this is about {measured.hours / 24:.1f} days of work on this CPU: give --yes to do it all the same, use "
            "a GPU (--device cuda), or take --protocol cpu, which is made for machines without one"
        )


def print_leaderboard(out: Path, records: Records | None = None, metrics: str | None = None) -> None:
    """Print the leaderboard of the finished runs, if there are any: the headline scores, or all of ``metrics``."""
    from rich.console import Console

    from disentangle_bench.registry import METRICS
    from disentangle_bench.report.results import read_results
    from disentangle_bench.report.tables.terminal import Headline
    from disentangle_bench.store import runs

    records = runs.read_records(out) if records is None else records
    scored = {row["metric"] for record in records.records for row in record.scores}
    names = None if metrics is None else [name for name in METRICS.names(metrics) if name in scored]
    if scored and names != []:  # a metric that no run could be scored by is reported elsewhere
        board = read_results(out, names, loaded=records).board
        Console().print(Headline(board, every_score=names is not None))


@click.command(cls=opt.SectionedCommand)
@opt.WHAT
@opt.options("Where and how", *opt.MACHINE)
@opt.options(
    "What to do with it",
    opt.option("--json", "as_json", is_flag=True, help="Print JSON."),
    opt.option(
        "--keep", is_flag=True, help="Measure nothing: keep the grid in the results folder, print ids of runs to do."
    ),
    opt.OUT,
)
def plan(as_json: bool, keep: bool, out: Path, **given: Any) -> None:
    """Estimate what a grid costs on this machine in time, memory and disk.

    A few updates of each kind of run are measured (the points of a search are of one kind per model), and nothing is
    written. With --keep the grid is written into the results folder instead, so that dbench worker can do
    its runs one by one under any scheduler.
    """
    import json

    from rich.console import Console

    from disentangle_bench.config.grids import expand
    from disentangle_bench.runner import run as runner

    specs = expand(**_what(given))
    if keep:
        runner.keep(specs, out)
        for spec in runner.select(specs, out, "missing"):
            click.echo(spec.run_id)
        return
    measured = runner.estimate(specs, _resources(**given))
    if as_json:
        click.echo(json.dumps(measured.as_json(), indent=1))
    else:
        Console().print(measured.table())


@click.command()
@click.argument("run_id")
@opt.options(
    "Options",
    opt.OUT,
    opt.option("--device", "devices", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ..."),
    opt.THREADS,
    opt.COMPILE,
    opt.CAPTURE,
    opt.DATA_DIR,
)
def worker(run_id: str, out: Path, **given: Any) -> None:
    """Do one run of a kept grid in this process, for any scheduler.

    dbench plan --keep keeps the grid in the results folder and prints the run ids. The exit status is 0 if the run is
    done, 1 if it failed, and 75 if it was stopped or another process is running it: then give the same command again.
    """
    from disentangle_bench.runner.run import run_single

    kind, text = run_single(run_id, out, _resources(**given))
    click.echo(f"{run_id} {kind}{': ' if text else ''}{text}", err=kind != "done")
    click.get_current_context().exit({"done": 0, "failed": 1}.get(kind, UNDONE))
