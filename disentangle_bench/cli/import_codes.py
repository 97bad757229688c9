"""The command import: codes from elsewhere become a row of a results folder."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle_bench.cli import options as opt


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@opt.options(
    "What it is",
    opt.option("--model", required=True, metavar="NAME", help="Name of the model in tables; choose any."),
    opt.option("--dataset", required=True, metavar="NAME", help="Dataset of the codes, or the path of an image file."),
    opt.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the training run."),
    opt.PROTOCOL,
)
@opt.options(
    "Scores and results",
    opt.option("--metrics", metavar="NAMES", help="Metric names, comma-separated.  [default: the protocol's]"),
    opt.VARIANT,
    opt.OUT,
)
def import_codes(
    file: Path,
    model: str,
    dataset: str,
    seed: int,
    protocol: str,
    metrics: str | None,
    variants: tuple[str, ...],
    out: Path,
) -> None:
    """Put the codes in FILE into a results folder: they are scored and get a row in its tables, figures and page.

    FILE is an .npz that dbench score reads, with the factors of the dataset in its order. The row appears in the table
    of the dataset and --protocol. It is marked "external" and never ranked: nobody knows how its model was trained.
    Training seeds of one model that are imported one by one are pooled.
    """
    from disentangle_bench.cli.run import print_leaderboard
    from disentangle_bench.scoring import external

    record = external.import_codes(
        file,
        out,
        model=model,
        dataset=dataset,
        seed=seed,
        protocol_name=protocol,
        metrics=metrics,
        variants=variants,
        progress=lambda metric: click.echo(f"scoring {metric}", err=True),
    )
    print_leaderboard(out, metrics=metrics)
    click.echo(click.format_filename(record.folder))
