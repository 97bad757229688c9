"""The command score: metrics on codes from any source, or again on the runs of a results folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.cli.run import print_leaderboard, print_scored
from disentangle_bench.errors import BenchError, one_line, unknown

FORMATS = ("csv", "md", "tex")

_INPUT = opt.options(
    "Input",
    *opt.INPUT,
    opt.option(
        "--bins",
        type=click.IntRange(min=2),
        metavar="N",
        help="Cut factors that are real numbers into N intervals of equal width. Without it they are scored by dci's "
        "variant eastwood2018 and by mcc.",
    ),
)
_OUTPUT = opt.options(
    "Output",
    opt.option(
        "--format", "formats", metavar="NAMES", help="Print a row for each file, as csv, md or tex, or several of them."
    ),
    opt.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="JSON file for the scores of files."),
    opt.option(
        "--figure",
        type=click.Path(path_type=Path),
        metavar="STEM",
        help="Draw which latent informs about which factor, by infomec and dci, for one file: STEM.png and STEM.pdf.",
    ),
    opt.option(
        "--jobs", type=click.IntRange(min=1), help="Runs of a results folder to score at a time.  [default: cores]"
    ),
)


@click.command()
@click.argument("targets", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--metrics", metavar="NAMES", help="Metric names, comma-separated.  [default: dci,infomec; for runs, their own]"
)
@opt.options("Options", opt.VARIANT)
@_INPUT
@_OUTPUT
def score(targets: tuple[Path, ...], metrics: str | None, variants: tuple[str, ...], **given: Any) -> None:
    """Score codes without training: files with codes [n, d] and factors [n, k], or all runs of a results folder.

    A file is an .npz with codes and factors, or a CSV, TSV or Parquet table whose columns are named by --codes-columns
    and --factors-columns; --codes and --factors take two files instead. An .npz may also hold n_train, discrete,
    indices and squared_error. Scores are printed, those of several files as a table with a row for each, and only
    --out writes them to a file. The runs of a folder get new scores from their stored codes: their records and
    results.csv are rewritten, and the leaderboard is printed.
    """
    if any(target.is_dir() for target in targets):
        used = [name for name, value in given.items() if value is not None and name != "jobs"]
        if len(targets) > 1 or used:
            option = f"--{used[0].replace('_', '-').replace('formats', 'format')}" if used else "a list"
            raise BenchError(f"{option} is for files of codes; a results folder is given alone, and rewritten")
        _score_results(targets[0], metrics, variants, given["jobs"])
    else:
        _score_files(targets, metrics, variants, given)


def _score_files(targets: Sequence[Path], metrics: str | None, variants: Sequence[str], given: dict[str, Any]) -> None:
    from disentangle_bench.scoring import score as scorer
    from disentangle_bench.scoring.tables import read_inputs
    from disentangle_bench.store import files

    formats = opt.words(given["formats"])
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    for option in ("out", "figure"):
        if given[option] is not None:
            files.check_target(given[option], f"--{option}")
    reading = dataclasses.replace(opt.reading(given), bins=given["bins"])
    evaluations = read_inputs(targets, given["codes"], given["factors"], reading)
    if given["figure"] is not None and len(evaluations) > 1:
        raise BenchError("--figure is for one file; draw each by a command of its own")
    asked = {name: scorer.choose(metrics, variants, scorer.default_metrics(e)) for name, e in evaluations.items()}
    results = {name: scorer.score_file(name, e, asked[name], given["bins"]) for name, e in evaluations.items()}
    if formats:
        _print_rows({name: scores.rows for name, (scores, _) in results.items()}, formats)
    else:
        _print_tables({name: scores for name, (scores, _) in results.items()})
    if given["figure"] is not None:
        ((name, evaluation),) = evaluations.items()
        _draw(given["figure"], name, results[name][0].arrays, evaluation)
    if given["out"] is not None:
        contents = [content for _, content in results.values()]
        files.write_json(given["out"], contents[0] if len(contents) == 1 else {"files": contents})
        click.echo(given["out"], err=bool(formats))


def _print_tables(results: dict[str, Any]) -> None:
    """Print the scores of one file with a row per score, those of several with a row per file; then the notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    if len(results) == 1:
        (scores,) = results.values()
        for name in ("score", "value", "better", "variant", "version"):
            table.add_column(name, no_wrap=True)
        for row in scores.rows:
            better = ("higher" if row["higher_is_better"] else "lower") if row["ranked"] else ""
            value = f"{row['value']:.4g} {row['unit']}".strip()
            cells = f"{row['metric']}.{row['score']}", value, better, row["variant"], str(row["version"])
            table.add_row(*map(Text, cells))  # names may have brackets, which would be read as styles
    else:
        head, *lines = _rows({name: scores.rows for name, scores in results.items()})
        table.add_column("file", overflow="fold")
        for name in head[1:]:
            table.add_column(Text(name.replace(".", ".\n")), justify="right")
        for line in lines:
            table.add_row(Text(line[0]), *map(_short, line[1:]))
    Console().print(table)
    for file, scores in results.items():
        for metric, notes in scores.notes.items():
            for name, note in notes.items():
                click.echo(f"{f'{file}: ' if len(results) > 1 else ''}{metric}.{name}: {note}")


def _rows(results: dict[str, list[dict[str, Any]]]) -> list[list[Any]]:
    """Return the names of columns, then for each file its name and its scores, None where it has none."""
    by_file = {
        file: {f"{row['metric']}.{row['score']}": row["value"] for row in rows} for file, rows in results.items()
    }
    names = list(dict.fromkeys(name for scores in by_file.values() for name in scores))
    return [["file", *names], *([file, *map(scores.get, names)] for file, scores in by_file.items())]


def _print_rows(results: dict[str, list[dict[str, Any]]], formats: Sequence[str]) -> None:
    import csv

    from disentangle_bench.report.tables import latex, markdown

    head, *lines = _rows(results)
    for number, name in enumerate(formats):
        if number:
            click.echo()
        if name == "csv":
            csv.writer(sys.stdout, lineterminator="\n").writerows([head, *lines])
        elif name == "md":
            click.echo(f"| {' | '.join(map(markdown.escape, head))} |\n| --- |{' ---: |' * (len(head) - 1)}")
            for line in lines:
                click.echo(f"| {' | '.join([markdown.escape(line[0]), *map(_short, line[1:])])} |")
        else:
            click.echo(f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule")
            click.echo(f"{' & '.join(map(latex.escape, head))} \\\\\n\\midrule")
            for line in lines:
                click.echo(f"{' & '.join([latex.escape(line[0]), *map(_short, line[1:])])} \\\\")
            click.echo("\\bottomrule\n\\end{tabular}")


def _short(value: float | None) -> str:
    return "" if value is None else "undefined" if value != value else f"{value:.4g}"


def _draw(path: Path, title: str, arrays: dict[str, Any], evaluation: Any) -> None:
    from disentangle_bench.report.figures import runs, style

    factors = evaluation.factor_names or tuple(f"factor {k}" for k in range(evaluation.factors.shape[1]))
    with style.style():
        try:
            figure = runs.matrices_figure(title, arrays, factors, evaluation.latent_names)
        except ValueError as error:
            raise BenchError(f"{path} cannot be drawn: {error}; name dci or infomec in --metrics") from error
        for target in style.save(figure, path):
            click.echo(target, err=True)


def _score_results(out: Path, metrics: str | None, variants: Sequence[str], jobs: int | None) -> None:
    from disentangle_bench.cores import available
    from disentangle_bench.scoring import score as scorer

    records, failed = scorer.score_results(out, metrics, variants, jobs=jobs or available(), progress=print_scored)
    for run_id, error in failed.items():
        click.echo(f"not scored: {one_line(run_id)}: {error}", err=True)
    print_leaderboard(out, metrics=metrics)
    click.echo(f"{len(records) - len(failed)} runs scored, {len(failed)} could not be")
    if failed:
        sys.exit(1)
