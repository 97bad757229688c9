"""The commands that do runs and look after their folders: run, plan, status, merge, rm, worker. No logic here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from disentangle_bench.errors import BenchError

LONG_UPDATES = 20_000
"""Work of this many updates is measured and shown before it begins."""

WATCH_SECONDS = 3.0

PROTOCOL = click.option(
    "--protocol", default="standard", show_default=True, help="Named set of choices; see dbench list protocols."
)
SET = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value that dbench show prints, such as model.gamma=1e-3; marks the record as off-protocol.",
)


DATA_DIR = click.option("--data-dir", help="Folder with the datasets.  [default: $DBENCH_DATA or the user's cache]")
COMPILE = click.option("--compile", is_flag=True, help="Compile the networks with torch.compile; recorded.")
THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads of each run. Another number rounds sums differently, so it is recorded.",
)
OUT = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Results folder."
)


def _together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator, in their order on the help page."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


GRID = _together(
    click.option("--models", required=True, help="Names, comma-separated, or a group such as all."),
    click.option("--datasets", required=True, help="Names or files, comma-separated, or all."),
    click.option(
        "--seeds", default="5", show_default=True, help="How many (5 is 0 to 4), a range (0-4) or a list (0,3,7)."
    ),
    PROTOCOL,
    SET,
    click.option(
        "--grid", "grid_file", type=click.Path(path_type=Path), help="TOML file whose [grid] has lists of values."
    ),
    click.option("--precision", help="Of the networks in training: fp32, tf32 or bf16.  [default: the protocol's]"),
    DATA_DIR,
)
RESOURCES = _together(
    click.option(
        "--device", "--devices", "devices", default="auto", show_default=True, help="auto, cpu, cuda; cuda:0,cuda:1."
    ),
    click.option(
        "--runs-per-device", type=click.IntRange(min=1), default=1, show_default=True, help="On each accelerator."
    ),
    click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: cores / threads on a CPU]"),
    THREADS,
)


@click.command()
@GRID
@OUT
@RESOURCES
@COMPILE
@click.option("--dry-run", is_flag=True, help="Print the grid; do nothing.")
@click.option("--remember", is_flag=True, help="Print the grid and keep it in the results folder; run nothing.")
@click.option(
    "--rerun",
    default="missing",
    show_default=True,
    help="Which runs: missing (failed ones too), failed (only those), all (from the start).",
)
@click.option("--yes", is_flag=True, help="Do not ask before work of more than a day on a CPU.")
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Between checkpoints."
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard event files into the runs' folders, too.")
@click.option("--wandb", is_flag=True, help="Log to Weights & Biases, too; offline unless WANDB_MODE says otherwise.")
@click.option("--offline", is_flag=True, help="Download nothing; also by DBENCH_OFFLINE=1.")
@click.option("--executor", default="local", show_default=True, help="Where runs are executed.")
@click.option(
    "--slurm", default="", metavar="KEY=VALUE,...", help="For --executor slurm: partition=...,time=60,gres=gpu:1."
)
@click.option("--ray-address", help="For --executor ray: the cluster's address.  [default: a cluster on this machine]")
def run(
    data_dir: str | None,
    out: Path,
    compile: bool,
    dry_run: bool,
    remember: bool,
    rerun: str,
    yes: bool,
    offline: bool,
    checkpoint_seconds: float,
    tensorboard: bool,
    wandb: bool,
    executor: str,
    slurm: str,
    ray_address: str | None,
    **words: Any,
) -> None:
    """Train and score a grid of models, datasets and seeds. Finished runs are skipped, interrupted ones go on."""
    from disentangle_bench.runner import run as runner
    from disentangle_bench.store import runs, status

    if offline:
        os.environ["DBENCH_OFFLINE"] = "1"
    specs, resources = _asked(words)
    todo = runner.select(specs, out, rerun)
    if remember:
        runner.check_writable(out)
        status.remember(out, specs)
    if dry_run or remember:
        wanted = {spec.run_id for spec in todo}
        for spec in specs:
            click.echo(f"{'to do   ' if spec.run_id in wanted else 'skipped '}  {spec.run_id}")
        return
    if executor == "local" and sum(spec.training.updates for spec in todo) >= LONG_UPDATES:
        _show_plan(todo, data_dir, yes, resources)
    track = tuple(name for name, chosen in {"tensorboard": tensorboard, "wandb": wandb}.items() if chosen)
    options = {"slurm": slurm, "ray_address": ray_address}
    how: dict[str, Any] = {"data": data_dir, "rerun": rerun, "executor": executor, "options": options, "track": track}
    how |= {"checkpoint_seconds": checkpoint_seconds, "compile": compile}
    outcome = runner.run_grid(specs, out, **how, **resources)
    show_leaderboard(out)
    click.echo(f"{len(outcome.finished)} finished, {len(outcome.skipped)} skipped, {len(outcome.failed)} failed")
    for run_id, reason in outcome.left.items():
        click.echo(f"left: {run_id}: {reason}", err=True)
    for run_id, error in outcome.failed.items():
        click.echo(f"failed: {run_id}: {error}", err=True)
        click.echo(f"        traceback and command: {out / 'runs' / run_id / runs.FAILED}", err=True)
    click.echo(f"next: dbench report {out}")
    if outcome.failed:
        sys.exit(1)


def _asked(words: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The specs that the options of GRID ask for, and the other options."""
    from disentangle_bench.config.grids import expand

    names = ("models", "datasets", "seeds", "protocol", "changes", "grid_file", "precision")
    rest = {name: value for name, value in words.items() if name not in names}
    return expand(**{name: words[name] for name in names}), rest


def _show_plan(specs: Any, data_dir: str | None, yes: bool, resources: dict[str, Any]) -> None:
    """Measure and print what long work costs; more than a day of it on a CPU needs ``--yes``."""
    from rich.console import Console

    from disentangle_bench.runner import plan as planning
    from disentangle_bench.runner import run as runner

    measured = runner.estimate(specs, data=data_dir, **resources)
    Console(stderr=True).print(measured.table())
    if measured.hours > planning.LONG_HOURS and measured.device == "cpu" and not yes:
        raise BenchError(
            f"this is about {measured.hours / 24:.1f} days of work on this CPU: give --yes to do it all the same, use "
            "a GPU (--device cuda), or take --protocol cpu, which is made for machines without one"
        )


def show_leaderboard(out: Path) -> None:
    """Write and print the leaderboard of what is finished, if anything is."""
    from rich.console import Console

    from disentangle_bench.report import write_report
    from disentangle_bench.store import runs

    if runs.load_records(out):
        Console().print(write_report(out, figures=False).table())


@click.command()
@GRID
@RESOURCES
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(as_json: bool, data_dir: str | None, **words: Any) -> None:
    """Estimate what a grid costs on this machine in time, memory and disk, from a short measurement."""
    import json

    from rich.console import Console

    from disentangle_bench.runner import run as runner

    specs, resources = _asked(words)
    measured = runner.estimate(specs, data=data_dir, **resources)
    if as_json:
        click.echo(json.dumps(measured.as_json(), indent=1))
    else:
        Console().print(measured.table())


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Refresh every few seconds until nothing is running.")
@click.option("--all", "everything", is_flag=True, help="List finished and missing runs too.")
def status(results: Path, watch: bool, everything: bool) -> None:
    """Say how far the runs in RESULTS are: done, running (with time left), failed, stopped, missing."""
    import time

    from disentangle_bench.store.status import STATES, states

    while True:
        found = list(states(results))
        if watch and sys.stdout.isatty():
            click.clear()
        for state in found:
            if everything or state.state in ("running", "failed", "stopped") or state.detail:
                click.echo(f"{state.state:8} {state.run_id}  {state.detail}".rstrip())
        counts = {name: sum(state.state == name for state in found) for name in STATES}
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
        if not watch or not counts["running"]:
            return
        time.sleep(WATCH_SECONDS)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder that gets all runs.")
def merge(sources: tuple[Path, ...], out: Path) -> None:
    """Copy the runs of several results folders into one. Nothing is overwritten."""
    from disentangle_bench.store.merge import merge as merge_folders

    copied, kept = merge_folders(sources, out)
    click.echo(f"{len(copied)} runs copied to {out}, {len(kept)} were there already")


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("run_ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(results: Path, run_ids: tuple[str, ...], yes: bool) -> None:
    """Remove runs from RESULTS."""
    from disentangle_bench.store.merge import remove

    if not yes:
        click.confirm(f"Remove {len(run_ids)} runs from {results} with all their files?", abort=True)
    remove(results, run_ids)
    click.echo(f"{len(run_ids)} runs removed")


@click.command()
@click.argument("run_id")
@OUT
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
@THREADS
@COMPILE
@DATA_DIR
def worker(run_id: str, out: Path, device: str, threads: int, compile: bool, data_dir: str | None) -> None:
    """Do one run of a results folder in this process, for any scheduler.

    The grid must be known there: dbench run --remember keeps it and prints the ids. Ends with status 0 if the run is
    done, 1 if it failed, 75 if it was stopped or another process has it, and the same command should be given again.
    """
    from disentangle_bench.runner.run import run_single

    kind, text = run_single(run_id, out, device=device, threads=threads, data=data_dir, compile=compile)
    click.echo(f"{run_id} {kind}{': ' if text else ''}{text}", err=kind != "done")
    ctx = click.get_current_context()
    ctx.exit({"done": 0, "failed": 1}.get(kind, 75))
