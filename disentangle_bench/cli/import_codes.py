"""The command import: codes from elsewhere become a row of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from disentangle_bench.cli import options as opt


@click.command("import", cls=opt.SectionedCommand)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@opt.options(
    "What it is",
    opt.option("--model", required=True, metavar="NAME", help="Name of the model in tables; choose any."),
    opt.option("--dataset", required=True, metavar="NAME", help="Dataset of the codes, or the path of an image file."),
    opt.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the training run."),
    opt.PROTOCOL,
)
@opt.options("Input", *opt.INPUT)
@opt.options(
    "Scores and results",
    opt.option("--metrics", metavar="NAMES", help="Metric names, comma-separated.  [default: the protocol's]"),
    opt.VARIANT,
    opt.OUT,
)
def import_codes(
    file: Path | None,
    codes: Path | None,
    factors: Path | None,
    metrics: str | None,
    protocol: str,
    out: Path,
    **given: Any,
) -> None:
    """Put codes into a results folder: they are scored and get a row in its tables, figures and page.

    FILE is an .npz, or a CSV, TSV or Parquet table whose columns are named by --codes-columns and --factors-columns, as
    for dbench score; --codes and --factors take two files instead. The factors are those of the dataset in its order.
    The row appears in the table of the dataset and --protocol. It is marked "external" and never ranked: nobody knows
    how its model was trained. Training seeds of one model that are imported one by one are pooled.
    """
    from disentangle_bench.cli.run import print_leaderboard
    from disentangle_bench.scoring import external
    from disentangle_bench.scoring.tables import read_inputs

    reading = opt.reading(given)
    (evaluation,) = read_inputs([file] if file else [], codes, factors, reading).values()
    record = external.import_codes(
        evaluation,
        external.origin_of([path for path in (file, codes, factors) if path], reading),
        out,
        protocol_name=protocol,
        metrics=metrics,
        progress=lambda metric: click.echo(f"scoring {metric}", err=True),
        **given,
    )
    print_leaderboard(out, metrics=metrics)
    click.echo(click.format_filename(record.folder))
