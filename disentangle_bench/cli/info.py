"""The commands that say what there is: list, show."""

from __future__ import annotations

import click

from disentangle_bench.cli import options as opt


@click.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "protocols"]))
def list_(what: str) -> None:
    """List the names that other commands take, with the group that each belongs to."""
    if what == "protocols":
        from disentangle_bench.config.protocols import protocols

        rows = [(p.name, f"version {p.version}", p.summary) for p in protocols().values()]
    else:
        from disentangle_bench.registry import DATASETS, METRICS, MODELS

        table = {"models": MODELS, "datasets": DATASETS, "metrics": METRICS}[what]
        rows = [(entry.name, entry.group, table.summary(entry.name)) for entry in table.entries.values()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, group, summary in rows:
        click.echo(f"{name:{widths[0]}}  {group:{widths[1]}}  {summary}")


@click.command()
@click.argument("model")
@click.argument("dataset")
@opt.options(
    "Options",
    opt.PROTOCOL,
    opt.option(
        "--against",
        metavar="PROTOCOL",
        help="Print only what differs from the run under this protocol; --set is for both.",
    ),
    opt.SET,
)
def show(model: str, dataset: str, protocol: str, against: str | None, changes: tuple[str, ...]) -> None:
    """Print every value that decides a run of MODEL on DATASET, and where each comes from."""
    from disentangle_bench.config.resolve import comparison, resolve

    resolved = resolve(model, dataset, protocol, 0, changes)
    if against is not None:
        for line in comparison(resolved, resolve(model, dataset, against, 0, changes)):
            click.echo(line)
        return
    values = resolved.values
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key:{width}} = {value!s:<14} # {resolved.sources[key]}")
