"""The command ``dbench``. No logic here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from disentangle_bench import __version__
from disentangle_bench.cli import run as cli_run
from disentangle_bench.cli.data import data
from disentangle_bench.cli.run import PROTOCOL, SET, show_leaderboard
from disentangle_bench.errors import BenchError, one_line


class _Refused(click.ClickException):
    exit_code = 2


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


class _Commands(click.Group):
    """Turns errors that users can mend into one line and status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        # What is to be done at Ctrl-C is to be done when a scheduler or the system ends the command, too.
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except BenchError as error:
            raise _Refused(" ".join(one_line(error).split())) from error
        except OSError as error:
            if error.filename is None and error.strerror is None:
                raise
            raise _Refused(f"{error.strerror}: {error.filename or ''}".rstrip(": ")) from error
        except KeyboardInterrupt as interruption:
            click.echo("interrupted: the same command goes on where it stopped", err=True)
            number = interruption.args[0] if interruption.args else signal.SIGINT
            ctx.exit(128 + number)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dbench")
def main() -> None:
    """Compare disentanglement models under one fair, versioned protocol."""


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--metrics", help="Metrics, groups or single scores, comma-separated; all that is there by default.")
@click.option("--format", "formats", help="Of the tables, comma-separated: csv, md, tex, parquet.  [default: all]")
@click.option("--group-by", default="dataset", show_default=True, help="A table per dataset, score or model.")
@click.option("--no-figures", is_flag=True, help="No figures.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page to this file.")
@click.option("--open", "show_page", is_flag=True, help="Open the page in a browser; RESULTS/report.html by default.")
@click.option("--watch", "keep", is_flag=True, help="Make all of it again whenever a run is finished, until Ctrl-C.")
def report(
    results: Path,
    metrics: str | None,
    formats: str | None,
    group_by: str,
    no_figures: bool,
    html: Path | None,
    show_page: bool,
    keep: bool,
) -> None:
    """Write leaderboards, figures and a page from the runs in RESULTS."""
    from disentangle_bench.cli.report import report as write

    write(results, metrics, formats, group_by, not no_figures, html, show_page, keep)


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--metrics", help="Names, comma-separated.  [default: dci,infomec; of a results folder, each run's own]")
@click.option(
    "--variant", "variants", multiple=True, help="NAME for all metrics that have it, or METRIC=NAME; may be repeated."
)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the scores of an .npz.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs of a results folder at a time.  [default: cores]")
def score(target: Path, metrics: str | None, variants: tuple[str, ...], out: Path | None, jobs: int | None) -> None:
    """Score codes without training: an .npz with codes [n, d] and factors [n, k], or all runs of a results folder.

    An .npz may also hold n_train (rows that fit predictors), discrete (whether codes are symbols), indices and
    squared_error. Runs of a folder get their scores anew from their stored codes.
    """
    from rich.console import Console

    from disentangle_bench.cores import available
    from disentangle_bench.scoring import score as scorer
    from disentangle_bench.store import files

    if not target.is_dir():
        chosen = scorer.choose(metrics or scorer.FILE_METRICS, variants)
        if out is not None:
            files.check_target(out)
        scores, content = scorer.score_file(target, chosen)
        Console().print(_scores_table(scores))
        for metric, notes in scores.notes.items():
            for name, note in notes.items():
                click.echo(f"{metric}.{name}: {note}")
        if out is not None:
            files.write_json(out, content)
            click.echo(out)
        return
    if out is not None:
        raise BenchError("--out is for the scores of one .npz; those of a results folder go into its records")
    jobs = jobs or available()
    records, failed = scorer.score_results(target, metrics, variants, jobs=jobs, progress=_count)
    show_leaderboard(target)
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


@main.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "protocols"]))
def list_(what: str) -> None:
    """List what can be named."""
    if what == "protocols":
        from disentangle_bench.config.protocols import PROTOCOLS

        rows = [(p.name, f"version {p.version}", p.summary) for p in PROTOCOLS.values()]
    else:
        from disentangle_bench.registry import DATASETS, METRICS, MODELS

        table = {"models": MODELS, "datasets": DATASETS, "metrics": METRICS}[what]
        rows = [(entry.name, entry.group, table.summary(entry.name)) for entry in table.entries.values()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, group, summary in rows:
        click.echo(f"{name:{widths[0]}}  {group:{widths[1]}}  {summary}")


@main.command()
@click.argument("model")
@click.argument("dataset")
@PROTOCOL
@click.option(
    "--against", metavar="PROTOCOL", help="Print only what differs from this protocol's run; --set is for both."
)
@SET
def show(model: str, dataset: str, protocol: str, against: str | None, changes: tuple[str, ...]) -> None:
    """Print every value that decides a run of MODEL on DATASET, and where each comes from."""
    from disentangle_bench.config.resolve import comparison, resolve
    from disentangle_bench.spec import flat

    resolved = resolve(model, dataset, protocol, 0, changes)
    if against is not None:
        for line in comparison(resolved, resolve(model, dataset, against, 0, changes)):
            click.echo(line)
        return
    values = flat(resolved.spec)
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key:{width}} = {value!s:<14} # {resolved.sources[key]}")


main.add_command(data)
for command in (cli_run.run, cli_run.plan, cli_run.status, cli_run.merge, cli_run.rm, cli_run.worker):
    main.add_command(command)
